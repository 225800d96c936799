"""Open, high, low, close and volume of an instrument's trades: ``md.candles``.

Pure. A trade belongs to the interval of its exchange time (:mod:`stream_processors.market_clock`). A candle is
published (revision 0) when the instrument's trades have gone past its end, or, when no more come, when as much time
has gone by; a trade that comes later makes a new revision. Whatever the order of the trades, the highest revision is
the same (:mod:`stream_processors.bars`). An interval without trades has no candle. The first candle of an instrument
is *partial*, and so is what late trades make before it: there may have been trades that were not seen.

Trades must come without duplicates (:class:`~stream_processors.trade_ids.TradeIds`).
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import msgspec

from schemas.records import Candle, Trade
from stream_processors.bars import Bar, BarState, Place, candle_of, place_of
from stream_processors.market_clock import MarketClock

GRACE_NS = 250_000_000
"""How far the trades must be past a candle's end: venues deliver trades a little out of order."""

TIMER_GRACE_NS = 1_000_000_000
"""The same when no trade comes and the clock alone tells."""


@dataclass(frozen=True, slots=True)
class Published:
    """What an earlier owner of the partition has published of a candle."""

    revision: int
    trades: int


class CandleSeries:
    """The candles of one instrument at one interval.

    Args:
        venue, symbol: the instrument.
        interval: length, nanoseconds.
        lateness: how long after its end a candle may still change, nanoseconds.

    Attributes:
        bars: by open time: those being built and those that may still change.
        published: by open time: what an earlier owner published and this one may not contradict.
        forgotten: end of the newest interval of which nothing is known any more: what belongs before it is too late.
    """

    __slots__ = ("_interval", "_lateness", "_next_close", "_symbol", "_venue", "bars", "forgotten", "published")

    def __init__(self, venue: str, symbol: str, interval: int, lateness: int) -> None:
        self._venue = venue
        self._symbol = symbol
        self._interval = interval
        self._lateness = lateness
        self._next_close: int | None = None
        self.bars: dict[int, Bar] = {}
        self.published: dict[int, Published] = {}
        self.forgotten = 0

    def restore(self, bars: Iterable[Bar]) -> None:
        """Go on with ``bars``."""
        self.bars = {bar.open_time: bar for bar in bars}
        self._find_next_close()

    @property
    def waiting(self) -> bool:
        """Whether a candle has not ended yet."""
        return self._next_close is not None

    def was_published(self, candle: Candle) -> None:
        """Take note of a candle that an earlier owner published."""
        known = self.published.get(candle.open_time)
        if known is None or known.revision <= candle.revision:
            self.published[candle.open_time] = Published(candle.revision, candle.trades)

    def add(self, trade: Trade, place: Place, watermark: int, since: int) -> list[Candle] | None:
        """Count a trade; return the revision it makes, if it is late; None if it is too late to be counted.

        Args:
            trade: not seen before.
            place: its place among the trades.
            watermark: the market's time before it.
            since: time of the first trade seen.
        """
        open_time = place[0] - place[0] % self._interval
        if open_time < self.forgotten or open_time + self._interval + self._lateness < watermark:
            return None
        bar = self.bars.get(open_time)
        if bar is None:
            self.bars[open_time] = Bar.of(open_time, trade, place)
            end = open_time + self._interval
            self._next_close = end if self._next_close is None else min(self._next_close, end)
            return []
        bar.add(trade, place)
        return self._publish(bar, since) if bar.closed else []

    def close(self, time: int, watermark: int, since: int) -> list[Candle]:
        """Return the candles whose end is at or before ``time``, each once; forget those too old for late trades."""
        if self._next_close is None or time < self._next_close:
            return []
        made: list[Candle] = []
        for bar in sorted(self.bars.values(), key=lambda bar: bar.open_time):
            if not bar.closed and bar.open_time + self._interval <= time:
                bar.closed = True
                made += self._publish(bar, since)
        self._forget(watermark)
        self._find_next_close()
        return made

    def flush(self, since: int) -> list[Candle]:
        """Return the candles that have not ended, as they are: the process ends. They go on, with new revisions."""
        made: list[Candle] = []
        for bar in self.bars.values():
            if not bar.closed and (candles := self._publish(bar, since)):
                self.was_published(candles[0])
                made += candles
        return made

    def _find_next_close(self) -> None:
        ends = [bar.open_time + self._interval for bar in self.bars.values() if not bar.closed]
        self._next_close = min(ends, default=None)

    def _forget(self, watermark: int) -> None:
        # As add() judges: what the clock alone says must not let a candle be begun anew by a late trade.
        oldest = watermark - self._lateness - self._interval
        for open_time in [key for key, bar in self.bars.items() if key < oldest and bar.closed]:
            del self.bars[open_time]
            self.forgotten = max(self.forgotten, open_time + self._interval)
        for open_time in [key for key in self.published if key < oldest]:
            del self.published[open_time]
            self.forgotten = max(self.forgotten, open_time + self._interval)

    def _publish(self, bar: Bar, since: int) -> list[Candle]:
        if (earlier := self.published.get(bar.open_time)) is not None:
            # The same trades, read again: a revision that says less must not count as a newer one.
            bar.revision = max(bar.revision, earlier.revision + 1)
            if bar.trades <= earlier.trades:
                return []
        partial = bar.open_time < since
        candle = candle_of(self._venue, self._symbol, self._interval, bar, partial=partial)
        bar.revision += 1
        return [candle]


class CandleState(msgspec.Struct, array_like=True):
    """What is kept of :class:`Candles` over a restart: the candles by interval.

    Attributes:
        published: interval → open time → revision and trades, see :class:`CandleSeries`. The next owner reads back only
            what was published after the checkpoint, so what was read back before it is kept in it.
        forgotten: interval → see there.
        received, standing_in: see :class:`~stream_processors.market_clock.MarketClock`.
        since: time of the first trade; 0 in a checkpoint of an earlier release: not known, so nothing is partial.
    """

    latest: int
    bars: dict[int, list[BarState]]
    published: dict[int, dict[int, tuple[int, int]]] = {}
    forgotten: dict[int, int] = {}
    received: int = 0
    since: int = 0
    standing_in: bool = False


class Candles:
    """All candles of one instrument.

    Attributes:
        series: by interval, nanoseconds.
        clock: the time of the trades.
        since: time of the first trade seen; None before it.
        doubted: trades that had no credible time of the venue's.
        too_late: trades that an interval did not count any more.
    """

    __slots__ = ("clock", "doubted", "series", "since", "too_late")

    def __init__(self, venue: str, symbol: str, intervals: Iterable[int], lateness: int) -> None:
        self.clock = MarketClock(lateness)
        self.series = {interval: CandleSeries(venue, symbol, interval, lateness) for interval in intervals}
        self.since: int | None = None
        self.doubted = 0
        self.too_late = 0

    def state(self) -> CandleState:
        """Return what a later owner needs to go on."""
        bars = {interval: [bar.state() for bar in series.bars.values()] for interval, series in self.series.items()}
        published = {
            interval: {time: (known.revision, known.trades) for time, known in series.published.items()}
            for interval, series in self.series.items()
        }
        forgotten = {interval: series.forgotten for interval, series in self.series.items()}
        clock = self.clock
        return CandleState(
            clock.latest, bars, published, forgotten, clock.received, self.since or 0, standing_in=clock.standing_in
        )

    def restore(self, state: CandleState, now: int) -> None:
        """Go on where an earlier owner stopped; intervals that are no longer configured are left out."""
        # An earlier release kept no receipt: live, it is the trade's own time but for the delay.
        self.clock.restore(state.latest, state.received or state.latest, now, standing_in=state.standing_in)
        if state.latest or state.since:
            self.since = state.since
        for interval, bars in state.bars.items():
            if interval in self.series:
                series = self.series[interval]
                series.restore(map(Bar.restored, bars))
                known = state.published.get(interval, {})
                series.published = {time: Published(*of) for time, of in known.items()}
                series.forgotten = state.forgotten.get(interval, 0)

    def was_published(self, candle: Candle) -> None:
        """Take note of a candle that an earlier owner published after its last checkpoint."""
        series = self.series.get(candle.interval)
        if series is not None:
            series.was_published(candle)

    @property
    def active(self) -> bool:
        """Whether :meth:`tick` has something to wait for."""
        return any(series.waiting for series in self.series.values())

    def add(self, trade: Trade, now: int) -> list[Candle]:
        """Count a trade not seen before; return the candles to publish (:attr:`doubted`, :attr:`too_late` tell more).

        Args:
            trade: the trade.
            now: the time of its arrival here, by the reader's clock.
        """
        clock = self.clock
        time, credible = clock.time_of(trade.exchange_time, trade.received_time)
        if not credible:
            self.doubted += 1
        if self.since is None:
            self.since = time
        place = place_of(time, trade.trade_id)
        watermark, since = clock.watermark, self.since
        clock.observe(time, trade.received_time, now, own=credible)
        made: list[Candle] = []
        missed = False
        for series in self.series.values():
            revision = series.add(trade, place, watermark, since)
            if revision is None:
                missed = True
            else:
                made += revision
            made += series.close(clock.latest - GRACE_NS, clock.latest, since)
        self.too_late += missed
        return made

    def flush(self) -> list[Candle]:
        """Return the candles that have not ended, as they are."""
        return [candle for series in self.series.values() for candle in series.flush(self.since or 0)]

    def tick(self, now: int) -> list[Candle]:
        """Return the candles that end by the clock alone at ``now``."""
        clock = self.clock
        time = clock.at(now) - TIMER_GRACE_NS
        return [
            candle for series in self.series.values() for candle in series.close(time, clock.latest, self.since or 0)
        ]
