"""Griffe extension: roles of reStructuredText in docstrings become code, since the site's pages are Markdown."""

from __future__ import annotations

import re
from typing import Any

import griffe

_ROLE = re.compile(r":(?:class|func|meth|mod|exc|data|attr|const):`~?([^`]+)`")


class Roles(griffe.Extension):
    """Writes ``:class:`~a.b.C``` as ``a.b.C`` in code."""

    def on_object(self, *, obj: griffe.Object, **_: Any) -> None:
        """Change the docstring of each object that is loaded."""
        if obj.docstring is not None:
            obj.docstring.value = _ROLE.sub(r"`\1`", obj.docstring.value)
