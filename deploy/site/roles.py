"""Griffe extension: makes our docstrings into what the site's pages can show, which are Markdown.

Roles of reStructuredText become code. An entry for several names (``epoch, sequence: of the last record``) becomes
one for each, since the Google style takes what follows the first name for its type.
"""

from __future__ import annotations

import re
from typing import Any

import griffe

_ROLE = re.compile(r":(?:class|func|meth|mod|exc|data|attr|const):`~?([^`]+)`")
_NAMES = re.compile(r"^( +)(\w+(?:, \w+)+):(?= )", re.MULTILINE)


def _one_by_one(match: re.Match[str]) -> str:
    *others, last = match[2].split(", ")
    return "".join(f"{match[1]}{name}: like ``{last}``.\n" for name in others) + f"{match[1]}{last}:"


class Roles(griffe.Extension):
    """Changes docstrings as they are loaded."""

    def on_object(self, *, obj: griffe.Object, **_: Any) -> None:
        """Change the docstring of one object."""
        if obj.docstring is not None:
            obj.docstring.value = _NAMES.sub(_one_by_one, _ROLE.sub(r"`\1`", obj.docstring.value))
