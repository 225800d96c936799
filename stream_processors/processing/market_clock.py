"""Event time of one instrument: the time of a trade, and the current time of the market.

The venue's time of a trade (``exchange_time``) is data and may be wrong: a wrong timestamp must not remove other trades
from their candles. Three clocks are used, each for its own purpose (the table in docs/integrity.md):

* *event time* decides the candle of a trade, unless it is missing or impossible: before :data:`EARLIEST_NS`, or ahead
    of
  the receive time by more than :data:`TOLERANCE_NS` (a trade cannot be received before it happened);
* *receive time* replaces it then, and validates it: the market's time is never ahead of the receive time, and a
  timestamp near its receive time, as in any live feed, is accepted. In a replay timestamps are far from their receive
  times; there one that leaps further than the time since the last receipt explains is accepted when :data:`WITNESSES`
  in a row leap;
* the *reader's clock* advances time while no trade arrives (:meth:`MarketClock.at`).

The market's time decides only when a candle is first published; a later trade changes it. So a market's time that is
wrong for a while costs revisions, never a trade.
"""

from __future__ import annotations

from typing import Final

EARLIEST_NS: Final = 946_684_800_000_000_000
"""2000-01-01. Earlier timestamps are errors of the venue (the years 1 and 1970 occur)."""

TOLERANCE_NS: Final = 60_000_000_000
"""Maximum accepted difference of the venue's clock from the collector's, or from the expected market's time."""

WITNESSES: Final = 3
"""Trades in a row after which a leap of the market's time is accepted."""


class MarketClock:
    """Time of one instrument's market. All times are integers in nanoseconds since the Unix epoch.

    Attributes:
        latest: the market's time at the latest accepted trade; 0 before the first.
        received: receive time of that trade.
    """

    __slots__ = ("_arrived", "_witnesses", "latest", "received")

    def __init__(self) -> None:
        self.latest = 0
        self.received = 0
        self._arrived = 0
        self._witnesses: list[int] = []

    def restore(self, latest: int, received: int, now: int) -> None:
        """Restore an earlier owner's state."""
        self.latest, self.received, self._arrived = latest, received, now

    def time_of(self, exchange_time: int, received_time: int) -> tuple[int, bool]:
        """Return the time of a trade, and whether it is the venue's own."""
        if EARLIEST_NS <= exchange_time <= received_time + TOLERANCE_NS:
            return exchange_time, True
        return self.expected(received_time), False

    def expected(self, received_time: int) -> int:
        """Return the expected market's time: the latest plus the time elapsed; the receive time if unknown."""
        if not self.latest:
            return received_time
        return self.latest + max(0, received_time - self.received)

    def observe(self, time: int, received_time: int, now: int) -> None:
        """Record a trade at ``time``.

        Args:
            time: from :meth:`time_of`.
            received_time: its receive time, by the collector's clock.
            now: time of its arrival here, by the reader's clock.
        """
        time = min(time, received_time)
        near_receipt = received_time - time <= TOLERANCE_NS
        if not self.latest or near_receipt or abs(time - self.expected(received_time)) <= TOLERANCE_NS:
            self._witnesses.clear()
            # A late one does not set it back. One far ahead of the receive time was wrong.
            if time >= self.latest or self.latest > received_time + TOLERANCE_NS:
                self._set(time, received_time, now)
            return
        self._witnesses.append(time)
        if len(self._witnesses) >= WITNESSES:
            # The median: one of the three may be wrong itself.
            self._set(sorted(self._witnesses)[WITNESSES // 2], received_time, now)
            self._witnesses.clear()

    def _set(self, time: int, received_time: int, now: int) -> None:
        self.latest, self.received, self._arrived = time, received_time, now

    def at(self, now: int) -> int:
        """Return the market's time at ``now``: the latest trade's plus the time elapsed since its arrival."""
        return self.latest + max(0, now - self._arrived) if self.latest else 0
