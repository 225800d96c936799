"""Which trades of an instrument have been seen: venues repeat trades after a reconnect.

Pure. Most venues number an instrument's trades one by one, so whole numbers are kept as ranges: a day of trades is one
range. Other ids are remembered one by one. Both are bounded; what falls out is the oldest, far behind anything a
venue repeats.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable

MAX_RANGES = 4_096
MAX_TEXTS = 4_096
MAX_DIGITS = 18


def number_of(trade_id: str) -> int | None:
    """Return the whole number < 10^18 that ``trade_id`` is the usual spelling of, else None (``"007"``, ``"a1"``)."""
    if len(trade_id) <= MAX_DIGITS and trade_id.isdecimal() and trade_id.isascii() and f"{int(trade_id)}" == trade_id:
        return int(trade_id)
    return None


class TradeIds:
    """A set of trade ids that remembers the recent ones.

    ``ranges`` (first and last number of each, ascending) and ``texts`` (oldest first) are its whole state.
    """

    __slots__ = ("_first", "_last", "_texts")

    def __init__(self, ranges: Iterable[tuple[int, int]] = (), texts: Iterable[str] = ()) -> None:
        pairs = list(ranges)
        self._first = [first for first, _ in pairs]
        self._last = [last for _, last in pairs]
        self._texts = dict.fromkeys(texts)

    @property
    def ranges(self) -> list[tuple[int, int]]:
        """First and last number of each range."""
        return list(zip(self._first, self._last, strict=True))

    @property
    def texts(self) -> list[str]:
        """The ids that are no whole numbers."""
        return list(self._texts)

    def add(self, trade_id: str) -> bool:
        """Remember ``trade_id``; return whether it is new."""
        number = number_of(trade_id)
        if number is None:
            return self._add_text(trade_id)
        firsts, lasts = self._first, self._last
        at = bisect_right(firsts, number)  # the range that may hold it is at - 1
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
            if len(firsts) > MAX_RANGES:
                del firsts[0], lasts[0]
        return True

    def _add_text(self, trade_id: str) -> bool:
        if trade_id in self._texts:
            return False
        self._texts[trade_id] = None
        if len(self._texts) > MAX_TEXTS:
            del self._texts[next(iter(self._texts))]
        return True
