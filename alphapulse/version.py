"""The version that runs."""

from __future__ import annotations

from importlib import metadata
from typing import Final

SOURCE_TREE: Final = "source-tree"
"""Told where no distribution is installed: the packages are imported from a checkout by ``PYTHONPATH`` alone."""


def installed_version(distribution: str = "alphapulse") -> str:
    """Return the version of the installed distribution, or :data:`SOURCE_TREE` where there is none."""
    try:
        return metadata.version(distribution)
    except metadata.PackageNotFoundError:
        return SOURCE_TREE
