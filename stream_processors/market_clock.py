"""Event time of one instrument: which time a trade counts at, and how far the market's own time has come.

The venue's time of a trade (``exchange_time``) is taken from data, so it is doubted: one wrong stamp must neither end
candles that are not over nor make right trades "too late". Three clocks have a say, each in its own place (the table
in docs/integrity.md):

* *event time* decides the candle of a trade, unless it is missing or cannot be: before :data:`EARLIEST_NS`, or ahead of
  the receipt by more than :data:`TOLERANCE_NS` (nobody receives a trade before it happened);
* *receipt time* stands in for it then, and bears it out: the watermark never runs ahead of the receipt, and a stamp
  near its receipt (as of any live feed) moves it at once. In a replay stamps are far from their receipts; there a jump
  that the time gone by since the last receipt does not explain needs :data:`WITNESSES` trades in a row;
* the *reader's clock* lets time pass while no trade comes (:meth:`MarketClock.at`).
"""

from __future__ import annotations

from typing import Final

EARLIEST_NS: Final = 946_684_800_000_000_000
"""2000-01-01. What is dated before is a fault of the venue's (the years 1 and 1970 occur)."""

TOLERANCE_NS: Final = 60_000_000_000
"""How far the venue's clock may be from the collector's and still be believed."""

WITNESSES: Final = 3
"""Trades in a row that make a jump of the market's time believed."""


class MarketClock:
    """The watermark of one instrument's trades. All times are integers in nanoseconds since the Unix epoch.

    Args:
        lateness: how late a trade may be and still count, nanoseconds: no single stamp moves the watermark so far that
            a trade in time would be later.

    Attributes:
        latest: the watermark: the latest trade time that is believed; 0 before there is one.
        received: receipt of the trade that set it.
        standing_in: whether that was the receipt itself, because no trade had a time of its own yet.
    """

    __slots__ = ("_arrived", "_lateness", "_leap", "_witnesses", "latest", "received", "standing_in")

    def __init__(self, lateness: int) -> None:
        self.latest = 0
        self.received = 0
        self.standing_in = False
        self._lateness = lateness
        self._leap = min(TOLERANCE_NS, lateness)
        self._arrived = 0
        self._witnesses: list[int] = []

    def restore(self, latest: int, received: int, now: int, *, standing_in: bool = False) -> None:
        """Go on where an earlier owner stopped."""
        self.latest, self.received, self._arrived, self.standing_in = latest, received, now, standing_in

    @property
    def watermark(self) -> int:
        """What a trade's own time is held against: 0 while only receipts are known, which say nothing of it."""
        return 0 if self.standing_in else self.latest

    def time_of(self, exchange_time: int, received_time: int) -> tuple[int, bool]:
        """Return the time a trade counts at, and whether that is the venue's own."""
        if EARLIEST_NS <= exchange_time <= received_time + TOLERANCE_NS:
            return exchange_time, True
        return self.expected(received_time), False

    def expected(self, received_time: int) -> int:
        """Return the market's time at a receipt: the watermark and what has gone by, or what else is known."""
        if not self.latest:
            return self._witnesses[-1] if self._witnesses else received_time
        return self.latest + max(0, received_time - self.received)

    def observe(self, time: int, received_time: int, now: int, *, own: bool = True) -> None:
        """Take note of a trade that counts at ``time``.

        Args:
            time, own: as :meth:`time_of` says.
            received_time: its receipt, by the collector's clock.
            now: the time of its arrival here, by the reader's clock.
        """
        if not own:
            # It says nothing new of the market's time, but where no trade has one, the receipts must do.
            if (self.standing_in or not (self.latest or self._witnesses)) and time > self.latest:
                self._set(time, received_time, now)
                self.standing_in = True
            return
        time = min(time, received_time)
        if received_time - time <= TOLERANCE_NS:
            self.standing_in = False
        elif self.standing_in:
            self.latest, self.standing_in = 0, False
        if received_time - time > TOLERANCE_NS and not self._follows(time, received_time):
            self._doubt(time, received_time, now)
            return
        self._witnesses.clear()
        if time >= self.latest:
            self._set(time, received_time, now)

    def _follows(self, time: int, received_time: int) -> bool:
        """Return whether ``time`` is near the watermark, or late only, as far as can be told."""
        if not self.latest or time > self.expected(received_time) + self._leap:
            return False
        # A watermark that its receipt bears out is right: what is older is late, however much of it comes.
        borne_out = self.received - self.latest <= TOLERANCE_NS
        return borne_out or time >= self.latest - max(self._lateness, TOLERANCE_NS)

    def _doubt(self, time: int, received_time: int, now: int) -> None:
        self._witnesses.append(time)
        if len(self._witnesses) >= WITNESSES:
            # The middle one: one of the three may be wrong itself.
            self._set(sorted(self._witnesses)[WITNESSES // 2], received_time, now)
            self._witnesses.clear()

    def _set(self, time: int, received_time: int, now: int) -> None:
        self.latest, self.received, self._arrived = time, received_time, now

    def at(self, now: int) -> int:
        """Return the market's time at ``now``: the watermark plus what has gone by since it was set."""
        return self.latest + max(0, now - self._arrived) if self.latest else 0
