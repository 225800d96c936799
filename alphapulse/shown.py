"""Values that others sent, as messages show them. Pure."""

from __future__ import annotations

import reprlib
from typing import Final

MAX_SHOWN: Final = 80
"""Maximum characters."""

_DEPTH: Final = 4
_ITEMS: Final = 20


def _short() -> reprlib.Repr:
    short = reprlib.Repr()
    short.maxlevel = _DEPTH
    for kind in ("list", "tuple", "dict", "set", "frozenset"):
        setattr(short, f"max{kind}", _ITEMS)
    for kind in ("string", "long", "other"):
        setattr(short, f"max{kind}", 1000)  # shown() cuts
    return short


_SHORT: Final = _short()


def shown(value: object, most: int = MAX_SHOWN) -> str:
    """Return ``value`` as Python writes it, at most ``most`` characters.

    It never raises, however deep the value is nested: ``repr`` gives up with RecursionError where it is deeper than the
    stack. What lies below the fourth level is shown as ``...``; keys are sorted.
    """
    try:
        text = repr(value[:most]) if isinstance(value, str | bytes) else _SHORT.repr(value)
    except (RecursionError, ValueError):  # ValueError: a number of thousands of digits
        text = type(value).__name__
    return text[:most]
