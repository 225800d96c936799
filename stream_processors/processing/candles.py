"""Candles: open, high, low, close and volume of an instrument's trades, for ``md.candles``.

Pure. A trade belongs to the interval of its exchange time (:mod:`stream_processors.processing.market_clock`). A candle
is published (revision 0) when the instrument's trades have passed its end, or, without further trades, when as much
time has elapsed; a later trade makes a new revision. The highest revision does not depend on the order of the trades
(:mod:`stream_processors.processing.bars`). An interval without trades has no candle. The first candle of an
instrument is *partial*, and so is one before all others: earlier trades may have been missed.

A candle is kept, and may change, until no trade of it has arrived for its length plus ``lateness``, by receive time.
Only the arrival of its trades counts, not the market's time: no time in the data makes a trade too late.

Trades must come without duplicates (:class:`~stream_processors.processing.trade_ids.TradeIds`).
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

import msgspec

from schemas.records import Candle, Trade
from stream_processors.processing.bars import Bar, BarState, Place, candle_of, place_of
from stream_processors.processing.market_clock import MarketClock
from stream_processors.processing.number_ranges import NumberRanges

GRACE_NS = 250_000_000
"""How far the trades must be past a candle's end: venues deliver trades slightly out of order."""

TIMER_GRACE_NS = 1_000_000_000
"""The same without trades, by the clock alone."""

LEAST_KEPT: Final = 64
"""Minimum number of candles kept per interval; a replay may bring many in the time of one."""

FORGOTTEN_RANGES: Final = 64
"""Maximum ranges of intervals whose candles were dropped; beyond that the earliest ones are merged."""


@dataclass(frozen=True, slots=True)
class Published:
    """Revision of a candle published by an earlier owner of the partition."""

    revision: int
    trades: int


class CandleSeries:
    """The candles of one instrument at one interval.

    Args:
        venue, symbol: the instrument.
        interval: length, nanoseconds.
        lateness: how long after its last trade an ended candle may still change, nanoseconds.

    Attributes:
        bars: by open time: open candles and those that may still change.
        published: by open time: published by an earlier owner; must not be contradicted.
        forgotten: numbers of the intervals whose candles were dropped: trades of them are too late.
        earliest: the earliest open time of all, nanoseconds since the Unix epoch; None before the first.
    """

    __slots__ = (
        "_interval",
        "_kept",
        "_lateness",
        "_next_close",
        "_symbol",
        "_venue",
        "bars",
        "earliest",
        "forgotten",
        "published",
    )

    def __init__(self, venue: str, symbol: str, interval: int, lateness: int) -> None:
        self._venue = venue
        self._symbol = symbol
        self._interval = interval
        self._lateness = lateness
        self._kept = max(LEAST_KEPT, 2 * lateness // interval)
        self._next_close: int | None = None
        self.bars: dict[int, Bar] = {}
        self.published: dict[int, Published] = {}
        self.forgotten = NumberRanges(most=FORGOTTEN_RANGES, join=True)
        self.earliest: int | None = None

    def state(self) -> SeriesState:
        """Return the state for a later owner, without the bars and the published candles."""
        return SeriesState(self.forgotten.pairs, self.earliest)

    def restore(self, bars: Iterable[Bar], published: Iterable[tuple[int, Published]], state: SeriesState) -> None:
        """Restore an earlier owner's state."""
        self.bars = {bar.open_time: bar for bar in bars}
        self.published = dict(published)
        self.forgotten = NumberRanges(state.forgotten, most=FORGOTTEN_RANGES, join=True)
        # Not saved by an earlier release: its earliest candle counts as the first.
        self.earliest = state.earliest if state.earliest is not None else min(self.bars, default=None)
        self._find_next_close()

    @property
    def waiting(self) -> bool:
        """Whether a candle is open."""
        return self._next_close is not None

    def was_published(self, candle: Candle) -> None:
        """Record a candle published by an earlier owner."""
        known = self.published.get(candle.open_time)
        if known is None or known.revision <= candle.revision:
            self.published[candle.open_time] = Published(candle.revision, candle.trades)

    def add(self, trade: Trade, place: Place, market: int) -> list[Candle] | None:
        """Add a trade; return the revision it makes, if it is late; None if it is too late to count.

        Args:
            trade: not seen before.
            place: its sort key among the trades.
            market: the market's time.
        """
        open_time = place[0] - place[0] % self._interval
        bar = self.bars.get(open_time)
        if bar is not None:
            bar.add(trade, place)
            return self._publish(bar) if bar.closed else []
        if open_time // self._interval in self.forgotten:
            return None
        partial = self.earliest is None or open_time < self.earliest
        if partial:
            self.earliest = open_time
        self.bars[open_time] = Bar.of(open_time, trade, place, partial=partial)
        end = open_time + self._interval
        self._next_close = end if self._next_close is None else min(self._next_close, end)
        return self._forget(trade.received_time, market) if len(self.bars) > self._kept else []

    def close(self, time: int | None, received_time: int, market: int) -> list[Candle]:
        """Return the candles that end at or before ``time``, each once (None: all); drop old ones.

        Args:
            time: of the market, with a grace period.
            received_time: of the last trade.
            market: the market's time by its trades alone.
        """
        if self._next_close is None or (time is not None and time < self._next_close):
            return []
        made: list[Candle] = []
        for bar in sorted(self.bars.values(), key=lambda bar: bar.open_time):
            if not bar.closed and (time is None or bar.open_time + self._interval <= time):
                bar.closed = True
                made += self._publish(bar)
        made += self._forget(received_time, market)
        self._find_next_close()
        return made

    def flush(self) -> list[Candle]:
        """Return the open candles as they are, at the end of the process. They continue later with new revisions."""
        made: list[Candle] = []
        for bar in self.bars.values():
            if not bar.closed and (candles := self._publish(bar)):
                self.was_published(candles[0])
                made += candles
        return made

    def _find_next_close(self) -> None:
        ends = [bar.open_time + self._interval for bar in self.bars.values() if not bar.closed]
        self._next_close = min(ends, default=None)

    def _forget(self, received_time: int, market: int) -> list[Candle]:
        """Drop candles unchanged for long, or for longest beyond the bound; return those not published yet.

        Candles ahead of the market stay: a wrong timestamp has begun them, but their trades are still to come.
        """
        made: list[Candle] = []
        idle_since = received_time - self._lateness - self._interval
        surplus = len(self.bars) - self._kept
        for number, bar in enumerate(sorted(self.bars.values(), key=lambda bar: bar.received_time)):
            if number >= surplus:
                if bar.received_time >= idle_since:
                    break
                if bar.open_time + self._interval > market:
                    continue
            if not bar.closed:
                made += self._publish(bar)
            del self.bars[bar.open_time]
            self.published.pop(bar.open_time, None)
            self.forgotten.add(bar.open_time // self._interval)
        return made

    def _publish(self, bar: Bar) -> list[Candle]:
        if (earlier := self.published.get(bar.open_time)) is not None:
            # The same trades, read again: a revision with less content must not count as a newer one.
            bar.revision = max(bar.revision, earlier.revision + 1)
            if bar.trades <= earlier.trades:
                return []
        candle = candle_of(self._venue, self._symbol, self._interval, bar)
        bar.revision += 1
        return [candle]


class SeriesState(msgspec.Struct, array_like=True):
    """State of a :class:`CandleSeries` besides bars and published candles."""

    forgotten: list[tuple[int, int]] = []
    earliest: int | None = None


class CandleState(msgspec.Struct, array_like=True):
    """Saved state of :class:`Candles`: the candles by interval.

    Attributes:
        published: interval → open time → revision and trades, see :class:`CandleSeries`. The next owner reads back only
            what was published after the checkpoint, so what was read back before it is saved in it.
        series: interval → further state; missing in checkpoints of earlier releases, as is the next.
        received: receive time of the trade that set ``latest``.
    """

    latest: int
    bars: dict[int, list[BarState]]
    published: dict[int, dict[int, tuple[int, int]]] = {}
    series: dict[int, SeriesState] = {}
    received: int = 0


class Candles:
    """All candles of one instrument.

    Attributes:
        series: by interval, nanoseconds.
        clock: the time of the market.
        doubted: trades without a credible time from the venue.
        too_late: trades that an interval did not count any more.
    """

    __slots__ = ("_arrived", "_received", "clock", "doubted", "series", "too_late")

    def __init__(self, venue: str, symbol: str, intervals: Iterable[int], lateness: int) -> None:
        self.clock = MarketClock()
        self.series = {interval: CandleSeries(venue, symbol, interval, lateness) for interval in intervals}
        self.doubted = 0
        self.too_late = 0
        # Of the last trade: its arrival here, and its receive time at the collector.
        self._arrived = 0
        self._received = 0

    def state(self) -> CandleState:
        """Return the state for a later owner."""
        bars = {interval: [bar.state() for bar in series.bars.values()] for interval, series in self.series.items()}
        published = {
            interval: {time: (known.revision, known.trades) for time, known in series.published.items()}
            for interval, series in self.series.items()
        }
        series = {interval: series.state() for interval, series in self.series.items()}
        return CandleState(self.clock.latest, bars, published, series, self.clock.received)

    def restore(self, state: CandleState, now: int) -> None:
        """Restore an earlier owner's state; intervals that are no longer configured are left out."""
        # An earlier release saved no receive time: live, it is the trade's own time plus the delay.
        self.clock.restore(state.latest, state.received or state.latest, now)
        self._arrived = now
        self._received = self.clock.received
        for interval, bars in state.bars.items():
            if interval in self.series:
                known = state.published.get(interval, {})
                self.series[interval].restore(
                    map(Bar.restored, bars),
                    ((time, Published(*of)) for time, of in known.items()),
                    state.series.get(interval, SeriesState()),
                )

    def was_published(self, candle: Candle) -> None:
        """Record a candle that an earlier owner published after its last checkpoint."""
        series = self.series.get(candle.interval)
        if series is not None:
            series.was_published(candle)

    @property
    def active(self) -> bool:
        """Whether :meth:`tick` is needed."""
        return any(series.waiting for series in self.series.values())

    def add(self, trade: Trade, now: int) -> list[Candle]:
        """Add a new trade; return the candles to publish (see also :attr:`doubted`, :attr:`too_late`).

        Args:
            trade: the trade.
            now: time of its arrival here, by the reader's clock.
        """
        clock = self.clock
        time, credible = clock.time_of(trade.exchange_time, trade.received_time)
        self.doubted += not credible
        place = place_of(time, trade.trade_id)
        clock.observe(time, trade.received_time, now)
        self._arrived, self._received = now, trade.received_time
        made: list[Candle] = []
        missed = False
        for series in self.series.values():
            revision = series.add(trade, place, clock.latest)
            if revision is None:
                missed = True
            else:
                made += revision
            made += series.close(clock.latest - GRACE_NS, trade.received_time, clock.latest)
        self.too_late += missed
        return made

    def flush(self) -> list[Candle]:
        """Return the open candles as they are."""
        return [candle for series in self.series.values() for candle in series.flush()]

    def tick(self, now: int) -> list[Candle]:
        """Return the candles that end by the clock alone at ``now``."""
        time = self.clock.at(now) - TIMER_GRACE_NS
        made: list[Candle] = []
        for interval, series in self.series.items():
            # Whatever the market's time of the last trades, an interval that long ago is over.
            idle = now - self._arrived >= interval + TIMER_GRACE_NS
            made += series.close(None if idle else time, self._received, self.clock.latest)
        return made
