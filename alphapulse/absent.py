"""Packages that libraries import wherever they are installed, though no program here needs them.

pyarrow imports pandas, which chDB brings, for its first array: a quarter of a second of processor time and 54 MB for
each process.
"""

from __future__ import annotations

import sys
from importlib.abc import MetaPathFinder
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Sequence
    from types import ModuleType

NAMES: Final = frozenset({"pandas"})


class _Absent(MetaPathFinder):
    """Finds nothing for the names, so that an import of them fails as if they were not installed."""

    def find_spec(self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None) -> None:
        """Return that another finder may know the module.

        Raises:
            ModuleNotFoundError: it is one of the names.
        """
        if fullname in NAMES:
            raise ModuleNotFoundError(f"{fullname} is not imported by this program", name=fullname)


def leave_out() -> None:
    """Let every later import of one of the names in this process fail."""
    if not any(isinstance(finder, _Absent) for finder in sys.meta_path):
        sys.meta_path.insert(0, _Absent())
