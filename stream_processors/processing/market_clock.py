"""Event time of one instrument: which time a trade counts at, and how far the market has come.

The venue's time of a trade (``exchange_time``) is taken from data, so it is doubted: a wrong stamp must not take other
trades out of their candles. Three clocks have a say, each in its own place (the table in docs/integrity.md):

* *event time* decides the candle of a trade, unless it is missing or cannot be: before :data:`EARLIEST_NS`, or ahead of
  the receipt by more than :data:`TOLERANCE_NS` (nobody receives a trade before it happened);
* *receipt time* stands in for it then, and bears it out: the market's time never runs ahead of the receipt, and a stamp
  near its receipt, as of any live feed, is believed. In a replay stamps are far from their receipts; there one that
  leaps further than the time since the last receipt explains is believed when :data:`WITNESSES` in a row leap;
* the *reader's clock* lets time pass while no trade comes (:meth:`MarketClock.at`).

What goes by the market's time is only when a candle is published first; a trade that comes later changes it. So a
market's time that is wrong for a while costs revisions, never a trade.
"""

from __future__ import annotations

from typing import Final

EARLIEST_NS: Final = 946_684_800_000_000_000
"""2000-01-01. What is dated before is a fault of the venue's (the years 1 and 1970 occur)."""

TOLERANCE_NS: Final = 60_000_000_000
"""How far the venue's clock may be from the collector's, or from where the market is expected, and be believed."""

WITNESSES: Final = 3
"""Trades in a row that make a leap of the market's time believed."""


class MarketClock:
    """The time of one instrument's market. All times are integers in nanoseconds since the Unix epoch.

    Attributes:
        latest: the market's time at the latest trade that was believed; 0 before the first.
        received: receipt of that trade.
    """

    __slots__ = ("_arrived", "_witnesses", "latest", "received")

    def __init__(self) -> None:
        self.latest = 0
        self.received = 0
        self._arrived = 0
        self._witnesses: list[int] = []

    def restore(self, latest: int, received: int, now: int) -> None:
        """Go on where an earlier owner stopped."""
        self.latest, self.received, self._arrived = latest, received, now

    def time_of(self, exchange_time: int, received_time: int) -> tuple[int, bool]:
        """Return the time a trade counts at, and whether that is the venue's own."""
        if EARLIEST_NS <= exchange_time <= received_time + TOLERANCE_NS:
            return exchange_time, True
        return self.expected(received_time), False

    def expected(self, received_time: int) -> int:
        """Return the market's time at a receipt: what is known, plus what has gone by; the receipt if nothing is."""
        if not self.latest:
            return received_time
        return self.latest + max(0, received_time - self.received)

    def observe(self, time: int, received_time: int, now: int) -> None:
        """Take note of a trade that counts at ``time``.

        Args:
            time: as :meth:`time_of` says.
            received_time: its receipt, by the collector's clock.
            now: the time of its arrival here, by the reader's clock.
        """
        time = min(time, received_time)
        near_receipt = received_time - time <= TOLERANCE_NS
        if not self.latest or near_receipt or abs(time - self.expected(received_time)) <= TOLERANCE_NS:
            self._witnesses.clear()
            # One that is late does not set it back. What is far ahead of the receipt was never right.
            if time >= self.latest or self.latest > received_time + TOLERANCE_NS:
                self._set(time, received_time, now)
            return
        self._witnesses.append(time)
        if len(self._witnesses) >= WITNESSES:
            # The middle one: one of the three may be wrong itself.
            self._set(sorted(self._witnesses)[WITNESSES // 2], received_time, now)
            self._witnesses.clear()

    def _set(self, time: int, received_time: int, now: int) -> None:
        self.latest, self.received, self._arrived = time, received_time, now

    def at(self, now: int) -> int:
        """Return the market's time at ``now``: the latest trade's plus what has gone by since it came."""
        return self.latest + max(0, now - self._arrived) if self.latest else 0
