"""Candle under construction: exact integers, independent of the order of its trades.

Open and close are those of the first and last trade by (time, id), sums are exact, and exponents are the finest that
occurred.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeAlias

from alphapulse.fixed import EXPONENT_LIMIT, INT64_MAX, decimal_text, divided, surplus_digits
from schemas.records import Candle, Trade
from stream_processors.processing.trade_ids import number_of

VWAP_DIGITS = 4
"""Decimals of the average price beyond those of the prices."""

Place: TypeAlias = tuple[int, int, str]
"""(time, number of the trade or -1, its id): total order of an instrument's trades, independent of their arrival."""


STATE_NUMBERS = 16
"""Numbers in a checkpoint; the last one, ``partial``, is missing in those of earlier releases."""

BarState: TypeAlias = tuple[str, str, str]
"""The numbers of a candle as text (they may exceed 64 bits), the ids of its first and last trade."""


def place_of(time: int, trade_id: str) -> Place:
    """Return the sort key of a trade at ``time``."""
    number = number_of(trade_id)
    return time, -1 if number is None else number, trade_id


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
    """Revision of the next publication."""
    closed: bool = False
    partial: bool = False
    """Whether trades before the first one seen may be missing."""

    @classmethod
    def of(cls, open_time: int, trade: Trade, place: Place, *, partial: bool = False) -> Bar:
        """Create the candle of one trade."""
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
            partial=partial,
        )

    def add(self, trade: Trade, place: Place) -> None:
        """Add a trade."""
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
        """Return the state for a later owner."""
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
            int(self.partial),
        )
        return " ".join(map(str, numbers)), self.first[2], self.last[2]

    @classmethod
    def restored(cls, state: BarState) -> Bar:
        """Restore a candle from :meth:`state`.

        Raises:
            ValueError: it is invalid.
        """
        numbers, first, last = state
        values = [int(number) for number in numbers.split()]
        if len(values) == STATE_NUMBERS - 1:
            values.append(0)
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
            partial=bool(values[15]),
        )

    def _refine(self, price_exponent: int, size_exponent: int) -> None:
        """Change to the given exponents where they are finer."""
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


def candle_of(venue: str, symbol: str, interval: int, bar: Bar) -> Candle:
    """Return the record of ``bar``; ``interval`` in nanoseconds.

    It always fits: prices, which share an exponent, and the volume use the finest exponent at which the largest of them
    fits an int64, rounded half to even if not exact. ``quote_volume`` is text, and exact.
    """
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
        first_trade_time=bar.first[0],
        last_trade_time=bar.last[0],
        partial=bar.partial,
    )


def _fit(values: tuple[int, ...], exponent: int) -> tuple[tuple[int, ...], int]:
    """Return ``values`` as 64-bit mantissas and their exponent, coarser if necessary."""
    digits = surplus_digits(*values)
    if not digits:
        return values, exponent
    return tuple(divided(value, 10**digits) for value in values), exponent + digits


def _vwap(bar: Bar) -> tuple[int, int]:
    """Return the volume-weighted average price and its exponent; the last price if all sizes are 0."""
    if bar.volume == 0:
        (close,), exponent = _fit((bar.close,), bar.price_exponent)
        return close, exponent
    digits = min(VWAP_DIGITS, bar.price_exponent + EXPONENT_LIMIT)
    while True:
        mantissa = divided(bar.quote * 10 ** max(0, digits), bar.volume * 10 ** max(0, -digits))
        if abs(mantissa) <= INT64_MAX:
            return mantissa, bar.price_exponent - digits
        digits -= 1
