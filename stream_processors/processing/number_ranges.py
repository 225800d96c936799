"""Bounded set of integers, stored as ranges: consecutive numbers take one entry. Pure."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable


class NumberRanges:
    """Set of integers.

    Args:
        pairs: first and last number of each range, ascending.
        most: maximum number of ranges.
        join: what happens to the lowest two beyond that: merge them, including the numbers between, or drop the lowest
            one.
    """

    __slots__ = ("_first", "_join", "_last", "_most")

    def __init__(self, pairs: Iterable[tuple[int, int]] = (), *, most: int, join: bool = False) -> None:
        given = list(pairs)
        self._first = [first for first, _ in given]
        self._last = [last for _, last in given]
        self._most = most
        self._join = join

    @property
    def pairs(self) -> list[tuple[int, int]]:
        """First and last number of each range."""
        return list(zip(self._first, self._last, strict=True))

    def __contains__(self, number: int) -> bool:
        at = bisect_right(self._first, number)  # the range that may contain it is at - 1
        return at > 0 and self._last[at - 1] >= number

    def add(self, number: int) -> bool:
        """Add ``number``; return whether it is new."""
        firsts, lasts = self._first, self._last
        at = bisect_right(firsts, number)
        if at and lasts[at - 1] >= number:
            return False
        joins_left = at > 0 and lasts[at - 1] == number - 1
        joins_right = at < len(firsts) and firsts[at] == number + 1
        if joins_left and joins_right:
            lasts[at - 1] = lasts[at]
            del firsts[at], lasts[at]
        elif joins_left:
            lasts[at - 1] = number
        elif joins_right:
            firsts[at] = number
        else:
            firsts.insert(at, number)
            lasts.insert(at, number)
            if len(firsts) > self._most:
                self._shorten()
        return True

    def _shorten(self) -> None:
        if self._join:
            del self._first[1], self._last[0]
        else:
            del self._first[0], self._last[0]
