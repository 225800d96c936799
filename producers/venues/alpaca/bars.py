"""Conversion of Alpaca's minute bars to candles, and of its quotes and trade ids. Pure.

The bars are published on ``md.candles`` under the venue ``alpaca_bars``: the stream processors also compute minutes
from the trades, under ``alpaca``, and the two differ (a bar excludes odd lots and trades of some conditions, and
includes corrections). An identity (venue, symbol, interval, open time) has one writer.
"""

from __future__ import annotations

from collections import OrderedDict
from typing import Final

from alphapulse.errors import ValueRefused
from alphapulse.fixed import decimal_text
from producers.feed.book import LEAST_DECIMALS
from producers.feed.levels import fitting
from producers.feed.timestamps import iso_nanoseconds
from producers.venues.alpaca import messages
from producers.venues.alpaca.calendar import trading_date
from producers.venues.alpaca.messages import number_text
from schemas.records import Candle, Quote

BARS_VENUE: Final = "alpaca_bars"
MINUTE: Final = 60_000_000_000
_REMEMBERED: Final = 4096
_IDS: Final = 10**19
"""Greater than any int64."""


def trade_number(time: int, exchange: str, number: int) -> int:
    """Return a globally unique number for a trade, where ids restart per exchange and day.

    Its digits: the day in New York (8), the ASCII code of the exchange's letter (3), the venue's id (19).
    """
    day = trading_date(time)
    return ((day.year * 10_000 + day.month * 100 + day.day) * 1000 + ord(exchange)) * _IDS + number


def quote_of(message: messages.AlpacaQuote, venue: str, received_time: int) -> Quote:
    """Return the record of a quote; sizes are in the venue's unit.

    Raises:
        ValueRefused: a value is not a number, is negative or does not fit; or the time is invalid.
    """
    prices, price_exponent = fitting(
        (number_text(message.bp), number_text(message.ap)), -LEAST_DECIMALS, "quote's price"
    )
    sizes, size_exponent = fitting((number_text(message.bs), number_text(message.as_)), -LEAST_DECIMALS, "quote's size")
    return Quote(
        venue=venue,
        symbol=message.symbol,
        bid_price=prices[0],
        bid_size=sizes[0],
        ask_price=prices[1],
        ask_size=sizes[1],
        price_exponent=price_exponent,
        size_exponent=size_exponent,
        exchange_time=iso_nanoseconds(message.t),
        received_time=received_time,
    )


class Bars:
    """Counts the revisions of each minute."""

    def __init__(self) -> None:
        self._revisions: OrderedDict[tuple[str, int], int] = OrderedDict()

    def candle(self, bar: messages.AlpacaBar, received_time: int) -> Candle:
        """Return the record of a bar, a later revision if the minute was published before.

        Raises:
            ValueRefused: a value is not a number, is negative or does not fit; the time is invalid or not a full
                minute.
        """
        open_time = iso_nanoseconds(bar.t)
        if open_time % MINUTE:
            raise ValueRefused(f"bar time is not a full minute: {bar.t[:80]!r}")
        prices, price_exponent = fitting(
            [number_text(raw) for raw in (bar.o, bar.h, bar.l, bar.c)], -LEAST_DECIMALS, "bar's price"
        )
        (volume,), size_exponent = fitting((number_text(bar.v),), -LEAST_DECIMALS, "bar's volume")
        (average,), vwap_exponent = fitting((number_text(bar.vw),), -LEAST_DECIMALS, "bar's vwap")
        opened, high, low, closed = prices
        return Candle(
            venue=BARS_VENUE,
            symbol=bar.symbol,
            interval=MINUTE,
            open_time=open_time,
            open=opened,
            high=high,
            low=low,
            close=closed,
            volume=volume,
            # As exact as the venue's own average.
            quote_volume=decimal_text(average * volume, vwap_exponent + size_exponent),
            vwap=average,
            vwap_exponent=vwap_exponent,
            trades=bar.n,
            price_exponent=price_exponent,
            size_exponent=size_exponent,
            revision=self._revision(bar, open_time),
            received_time=received_time,
        )

    def _revision(self, bar: messages.AlpacaBar, open_time: int) -> int:
        minute = (bar.symbol, open_time)
        first = 1 if isinstance(bar, messages.UpdatedBar) else 0
        revision = self._revisions.get(minute, first - 1) + 1
        self._revisions[minute] = revision
        if len(self._revisions) > _REMEMBERED:
            self._revisions.popitem(last=False)
        return revision
