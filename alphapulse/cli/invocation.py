"""Command name for hints, as the user can type it."""

from __future__ import annotations

import shlex
import shutil
import sys
from pathlib import Path

NAME = "alphapulse"


def command(started_as: str) -> str:
    """Return the command's name if it is on the PATH, else the path it was started with (``.venv/bin/alphapulse``).

    Args:
        started_as: ``sys.argv[0]``.
    """
    if shutil.which(NAME) is not None:
        return NAME
    if Path(started_as).name == NAME:
        return shlex.quote(started_as)
    return f"{shlex.quote(sys.executable)} -m alphapulse.cli"
