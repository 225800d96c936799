"""Open, high, low, close and volume of an instrument's trades: ``md.candles``.

Pure. A trade belongs to the interval of its exchange time. A candle is published (revision 0) when the instrument's
trades have gone past its end, or, when no more come, when as much time has gone by; a trade that comes later makes
a new revision. Whatever the order of the trades, the highest revision is the same: open and close are those with the
first and last (time, id), sums are exact integers, and exponents are the finest that occurred.

Trades must come without duplicates (:class:`~stream_processors.trade_ids.TradeIds`).
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import TypeAlias

import msgspec

from alphapulse.errors import MantissaOverflow
from alphapulse.fixed import INT64_MAX, decimal_text
from schemas.records import Candle, Trade
from stream_processors.stream_clock import StreamClock
from stream_processors.trade_ids import number_of

GRACE_NS = 250_000_000
"""How far the trades must be past a candle's end: venues deliver trades a little out of order."""

TIMER_GRACE_NS = 1_000_000_000
"""The same when no trade comes and the clock alone tells."""

CREDIBLE_NS = 3_600_000_000_000
"""An exchange time further from the received time than this is a fault (the year 0001 occurs); the latter counts."""

VWAP_DIGITS = 4
"""Decimals of the average price beyond those of the prices."""

Place: TypeAlias = tuple[int, int, str]
"""(time, number of the trade or -1, its id): orders the trades of an instrument, whatever order they came in."""


STATE_NUMBERS = 15

BarState: TypeAlias = tuple[str, str, str]
"""The numbers of a candle as text (they may exceed 64 bits), the ids of its first and last trade."""


def place_of(time: int, trade_id: str) -> Place:
    """Return the place of a trade that counts at ``time``."""
    number = number_of(trade_id)
    return time, -1 if number is None else number, trade_id


def time_of(trade: Trade) -> int:
    """Return the time a trade counts at: the venue's own if it is credible, else that of its receipt."""
    if trade.exchange_time > 0 and abs(trade.exchange_time - trade.received_time) <= CREDIBLE_NS:
        return trade.exchange_time
    return trade.received_time


@dataclass(slots=True)
class Bar:
    """A candle being built: mantissas at ``price_exponent``, ``size_exponent`` and, ``quote``, at their sum."""

    open_time: int
    price_exponent: int
    size_exponent: int
    first: Place
    last: Place
    open: int
    high: int
    low: int
    close: int
    volume: int
    quote: int
    trades: int
    received_time: int
    revision: int = 0
    """Of the next publication."""
    closed: bool = False

    @classmethod
    def of(cls, open_time: int, trade: Trade, place: Place) -> Bar:
        """Return the candle of one trade."""
        return cls(
            open_time=open_time,
            price_exponent=trade.price_exponent,
            size_exponent=trade.size_exponent,
            first=place,
            last=place,
            open=trade.price,
            high=trade.price,
            low=trade.price,
            close=trade.price,
            volume=trade.size,
            quote=trade.price * trade.size,
            trades=1,
            received_time=trade.received_time,
        )

    def add(self, trade: Trade, place: Place) -> None:
        """Count one more trade."""
        self._refine(trade.price_exponent, trade.size_exponent)
        price = trade.price * int(10 ** (trade.price_exponent - self.price_exponent))
        size = trade.size * int(10 ** (trade.size_exponent - self.size_exponent))
        if place < self.first:
            self.first, self.open = place, price
        if place > self.last:
            self.last, self.close = place, price
        self.high = max(self.high, price)
        self.low = min(self.low, price)
        self.volume += size
        self.quote += price * size
        self.trades += 1
        self.received_time = max(self.received_time, trade.received_time)

    def state(self) -> BarState:
        """Return what a later owner needs to go on."""
        numbers = (
            self.open_time,
            self.price_exponent,
            self.size_exponent,
            self.first[0],
            self.last[0],
            self.open,
            self.high,
            self.low,
            self.close,
            self.volume,
            self.quote,
            self.trades,
            self.received_time,
            self.revision,
            int(self.closed),
        )
        return " ".join(map(str, numbers)), self.first[2], self.last[2]

    @classmethod
    def restored(cls, state: BarState) -> Bar:
        """Return the candle that :meth:`state` described.

        Raises:
            ValueError: it describes none.
        """
        numbers, first, last = state
        values = [int(number) for number in numbers.split()]
        if len(values) != STATE_NUMBERS:
            raise ValueError(f"{len(values)} numbers instead of {STATE_NUMBERS} in {numbers[:200]!r}")
        return cls(
            open_time=values[0],
            price_exponent=values[1],
            size_exponent=values[2],
            first=place_of(values[3], first),
            last=place_of(values[4], last),
            open=values[5],
            high=values[6],
            low=values[7],
            close=values[8],
            volume=values[9],
            quote=values[10],
            trades=values[11],
            received_time=values[12],
            revision=values[13],
            closed=bool(values[14]),
        )

    def _refine(self, price_exponent: int, size_exponent: int) -> None:
        """Go to finer exponents if these are."""
        prices = int(10 ** max(0, self.price_exponent - price_exponent))
        sizes = int(10 ** max(0, self.size_exponent - size_exponent))
        if prices != 1:
            self.price_exponent = price_exponent
            self.open, self.close = self.open * prices, self.close * prices
            self.high, self.low = self.high * prices, self.low * prices
        if sizes != 1:
            self.size_exponent = size_exponent
            self.volume *= sizes
        self.quote *= prices * sizes


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
        candle = _candle(self._venue, self._symbol, self._interval, bar)
        bar.revision += 1
        return [candle]


class CandleState(msgspec.Struct, array_like=True):
    """What is kept of :class:`Candles` over a restart: the candles by interval."""

    latest: int
    bars: dict[int, list[BarState]]


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
        return CandleState(self.clock.latest, bars)

    def restore(self, state: CandleState, now: int) -> None:
        """Go on where an earlier owner stopped; intervals that are no longer configured are left out."""
        self.clock.advance(state.latest, now)
        for interval, bars in state.bars.items():
            if interval in self.series:
                self.series[interval].restore(map(Bar.restored, bars))

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

    def tick(self, now: int) -> list[Candle]:
        """Return the candles that end by the clock alone at the monotonic time ``now``.

        Raises:
            MantissaOverflow: a candle does not fit its record.
        """
        time = self.clock.at(now) - TIMER_GRACE_NS
        return [candle for series in self.series.values() for candle in series.close(time, self.clock.latest)]


def _candle(venue: str, symbol: str, interval: int, bar: Bar) -> Candle:
    prices, price_exponent = _fit((bar.open, bar.high, bar.low, bar.close), bar.price_exponent)
    (volume,), size_exponent = _fit((bar.volume,), bar.size_exponent)
    vwap, vwap_exponent = _vwap(bar)
    return Candle(
        venue=venue,
        symbol=symbol,
        interval=interval,
        open_time=bar.open_time,
        open=prices[0],
        high=prices[1],
        low=prices[2],
        close=prices[3],
        volume=volume,
        quote_volume=decimal_text(bar.quote, bar.price_exponent + bar.size_exponent),
        vwap=vwap,
        vwap_exponent=vwap_exponent,
        trades=bar.trades,
        price_exponent=price_exponent,
        size_exponent=size_exponent,
        revision=bar.revision,
        received_time=bar.received_time,
    )


def _fit(values: tuple[int, ...], exponent: int) -> tuple[tuple[int, ...], int]:
    """Return ``values`` as 64-bit mantissas, at a coarser exponent if that is needed and exact.

    Raises:
        MantissaOverflow: it is needed, but not exact.
    """
    while any(abs(value) > INT64_MAX for value in values):
        if any(value % 10 for value in values):
            raise MantissaOverflow(decimal_text(max(values, key=abs), exponent), exponent)
        values, exponent = tuple(value // 10 for value in values), exponent + 1
    return values, exponent


def _vwap(bar: Bar) -> tuple[int, int]:
    """Return the volume-weighted average price and its exponent; the last price where all sizes are 0."""
    if bar.volume == 0:
        (close,), exponent = _fit((bar.close,), bar.price_exponent)
        return close, exponent
    for digits in range(VWAP_DIGITS, -1, -1):
        mantissa = _divide(bar.quote * int(10**digits), bar.volume)
        if abs(mantissa) <= INT64_MAX:
            return mantissa, bar.price_exponent - digits
    raise MantissaOverflow(decimal_text(bar.quote // bar.volume, bar.price_exponent), bar.price_exponent)


def _divide(dividend: int, divisor: int) -> int:
    """Return the quotient, rounded half to even."""
    quotient, rest = divmod(dividend, divisor)
    twice = 2 * rest
    if twice > divisor or (twice == divisor and quotient % 2):
        return quotient + 1
    return quotient
