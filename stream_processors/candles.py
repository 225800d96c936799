"""Open, high, low, close and volume of an instrument's trades: ``md.candles``.

Pure. A trade belongs to the interval of its exchange time. A candle is published (revision 0) when the instrument's
trades have gone past its end, or, when no more come, when as much time has gone by; a trade that comes later makes
a new revision. Whatever the order of the trades, the highest revision is the same (:mod:`stream_processors.bars`).

Trades must come without duplicates (:class:`~stream_processors.trade_ids.TradeIds`).
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import msgspec

from schemas.records import Candle, Trade
from stream_processors.bars import Bar, BarState, Place, candle_of, place_of, time_of
from stream_processors.stream_clock import StreamClock

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
        too_late: trades that came after that.
    """

    __slots__ = ("_interval", "_lateness", "_next_close", "_symbol", "_venue", "bars", "published", "too_late")

    def __init__(self, venue: str, symbol: str, interval: int, lateness: int) -> None:
        self._venue = venue
        self._symbol = symbol
        self._interval = interval
        self._lateness = lateness
        self._next_close: int | None = None
        self.bars: dict[int, Bar] = {}
        self.published: dict[int, Published] = {}
        self.too_late = 0

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

    def add(self, trade: Trade, place: Place, watermark: int) -> list[Candle]:
        """Count a trade; return the revision it makes, if it is late.

        Args:
            trade: not seen before.
            place: its place among the trades.
            watermark: the latest trade time before it.
        """
        open_time = place[0] - place[0] % self._interval
        if open_time + self._interval + self._lateness < watermark:
            self.too_late += 1
            return []
        bar = self.bars.get(open_time)
        if bar is None:
            self.bars[open_time] = Bar.of(open_time, trade, place)
            end = open_time + self._interval
            self._next_close = end if self._next_close is None else min(self._next_close, end)
            return []
        bar.add(trade, place)
        return self._publish(bar) if bar.closed else []

    def close(self, time: int, watermark: int) -> list[Candle]:
        """Return the candles whose end is at or before ``time``, each once; forget those too old for late trades."""
        if self._next_close is None or time < self._next_close:
            return []
        made: list[Candle] = []
        for bar in sorted(self.bars.values(), key=lambda bar: bar.open_time):
            if not bar.closed and bar.open_time + self._interval <= time:
                bar.closed = True
                made += self._publish(bar)
        self._forget(watermark)
        self._find_next_close()
        return made

    def flush(self) -> list[Candle]:
        """Return the candles that have not ended, as they are: the process ends. They go on, with new revisions."""
        made: list[Candle] = []
        for bar in self.bars.values():
            if not bar.closed and (candles := self._publish(bar)):
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
        for open_time in [key for key in self.published if key < oldest]:
            del self.published[open_time]

    def _publish(self, bar: Bar) -> list[Candle]:
        if (earlier := self.published.get(bar.open_time)) is not None:
            # The same trades, read again: a revision that says less must not count as a newer one.
            bar.revision = max(bar.revision, earlier.revision + 1)
            if bar.trades <= earlier.trades:
                return []
        candle = candle_of(self._venue, self._symbol, self._interval, bar)
        bar.revision += 1
        return [candle]


class CandleState(msgspec.Struct, array_like=True):
    """What is kept of :class:`Candles` over a restart: the candles by interval.

    Attributes:
        published: interval → open time → revision and trades, see :class:`CandleSeries`. The next owner reads back only
            what was published after the checkpoint, so what was read back before it is kept in it.
    """

    latest: int
    bars: dict[int, list[BarState]]
    published: dict[int, dict[int, tuple[int, int]]] = {}


class Candles:
    """All candles of one instrument.

    Attributes:
        series: by interval, nanoseconds.
        clock: the time of the trades.
    """

    __slots__ = ("clock", "series")

    def __init__(self, venue: str, symbol: str, intervals: Iterable[int], lateness: int) -> None:
        self.clock = StreamClock()
        self.series = {interval: CandleSeries(venue, symbol, interval, lateness) for interval in intervals}

    def state(self) -> CandleState:
        """Return what a later owner needs to go on."""
        bars = {interval: [bar.state() for bar in series.bars.values()] for interval, series in self.series.items()}
        published = {
            interval: {time: (known.revision, known.trades) for time, known in series.published.items()}
            for interval, series in self.series.items()
        }
        return CandleState(self.clock.latest, bars, published)

    def restore(self, state: CandleState, now: int) -> None:
        """Go on where an earlier owner stopped; intervals that are no longer configured are left out."""
        self.clock.advance(state.latest, now)
        for interval, bars in state.bars.items():
            if interval in self.series:
                self.series[interval].restore(map(Bar.restored, bars))
                known = state.published.get(interval, {})
                self.series[interval].published = {time: Published(*of) for time, of in known.items()}

    def was_published(self, candle: Candle) -> None:
        """Take note of a candle that an earlier owner published after its last checkpoint."""
        series = self.series.get(candle.interval)
        if series is not None:
            series.was_published(candle)

    @property
    def active(self) -> bool:
        """Whether :meth:`tick` has something to wait for."""
        return any(series.waiting for series in self.series.values())

    @property
    def too_late(self) -> int:
        """Trades that could change no candle any more, by interval and trade."""
        return sum(series.too_late for series in self.series.values())

    def add(self, trade: Trade, now: int) -> list[Candle]:
        """Count a trade not seen before; return the candles to publish.

        Raises:
            MantissaOverflow: a candle does not fit its record.
        """
        time = time_of(trade)
        place = place_of(time, trade.trade_id)
        made: list[Candle] = []
        watermark = self.clock.latest
        self.clock.advance(time, now)
        for series in self.series.values():
            made += series.add(trade, place, watermark)
            made += series.close(self.clock.latest - GRACE_NS, self.clock.latest)
        return made

    def flush(self) -> list[Candle]:
        """Return the candles that have not ended, as they are.

        Raises:
            MantissaOverflow: a candle does not fit its record.
        """
        return [candle for series in self.series.values() for candle in series.flush()]

    def tick(self, now: int) -> list[Candle]:
        """Return the candles that end by the clock alone at ``now``.

        Raises:
            MantissaOverflow: a candle does not fit its record.
        """
        time = self.clock.at(now) - TIMER_GRACE_NS
        return [candle for series in self.series.values() for candle in series.close(time, self.clock.latest)]
