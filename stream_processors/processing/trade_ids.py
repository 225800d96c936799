"""Duplicate detection for trades: venues repeat trades after a reconnect.

Pure. Most venues number an instrument's trades consecutively, so integers are stored as ranges: a day of trades is one
range. Other ids are stored individually. Both are bounded; the oldest ids are dropped, far behind anything a venue
repeats.
"""

from __future__ import annotations

from collections.abc import Iterable

from alphapulse.recent import RecentIds
from stream_processors.processing.number_ranges import NumberRanges

MAX_RANGES = 4_096
MAX_TEXTS = 4_096
MAX_DIGITS = 18


def number_of(trade_id: str) -> int | None:
    """Return the integer < 10^18 that ``trade_id`` spells canonically, else None (``"007"``, ``"a1"``)."""
    if len(trade_id) <= MAX_DIGITS and trade_id.isdecimal() and trade_id.isascii() and f"{int(trade_id)}" == trade_id:
        return int(trade_id)
    return None


class TradeIds:
    """Bounded set of recent trade ids.

    ``ranges`` (first and last number of each, ascending) and ``texts`` (oldest first) are its entire state.
    """

    __slots__ = ("_numbers", "_texts")

    def __init__(self, ranges: Iterable[tuple[int, int]] = (), texts: Iterable[str] = ()) -> None:
        self._numbers = NumberRanges(ranges, most=MAX_RANGES)
        self._texts = RecentIds(MAX_TEXTS, texts)

    @property
    def ranges(self) -> list[tuple[int, int]]:
        """First and last number of each range."""
        return self._numbers.pairs

    @property
    def texts(self) -> list[str]:
        """Ids that are not integers."""
        return list(self._texts)

    def add(self, trade_id: str) -> bool:
        """Add ``trade_id``; return whether it is new."""
        number = number_of(trade_id)
        return self._texts.add(trade_id) if number is None else self._numbers.add(number)
