"""Ages in the unit of the REST interface."""

from __future__ import annotations


def milliseconds(age: int | None) -> int | None:
    """Return an age of nanoseconds in milliseconds (rounded down)."""
    return None if age is None else age // 1_000_000
