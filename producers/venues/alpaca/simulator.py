"""Simulated frames of Alpaca (https://docs.alpaca.markets/docs/real-time-stock-pricing-data): trades, quotes, bars."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from typing import Final

from alphapulse.fixed import decimal_text
from producers.simulator.events import BookChange, SimulatedTrade, Trades
from producers.simulator.feed import SimulatedFeed, Topic
from producers.simulator.instrument import SimulatedInstrument
from producers.simulator.limits import VenueLimits
from producers.simulator.liquidity import VenueMarket
from producers.simulator.listings import SimulatedListing
from producers.venue_server.session import BARS, QUOTES, TRADES, VenueSubscription, timestamp
from producers.venues.alpaca.bars import MINUTE

_IEX: Final = "V"


@dataclass(slots=True)
class _Minute:
    start: int
    trades: list[SimulatedTrade]


class AlpacaFeed(SimulatedFeed):
    """Quotes from the best of the simulated book; a minute's bar with the first event of the next minute."""

    def __init__(self, instruments: Collection[SimulatedInstrument]) -> None:
        super().__init__(instruments)
        self._minutes: dict[str, _Minute] = {}

    def opening(self, subscription: VenueSubscription, time_ns: int) -> list[bytes]:
        return []

    def _trades(self, event: Trades, active: Collection[Topic]) -> list[tuple[Topic, bytes]]:
        symbol, listing = event.listing.venue_symbol, event.listing
        frames = self._bar(listing, event.time_ns, active)
        self._minutes.setdefault(symbol, _Minute(_start(event.time_ns), [])).trades.extend(event.trades)
        topic = (TRADES, symbol, "")
        if topic in active:
            prices, sizes = self.spelling[symbol].prices, self.spelling[symbol].sizes
            texts = [
                f'{{"T":"t","S":"{symbol}","i":{trade.trade_id},"x":"{_IEX}","p":{prices[trade.price]},'
                f'"s":{sizes[trade.size]},"c":["@"],"t":"{_time(event.time_ns)}","z":"C"}}'
                for trade in event.trades
            ]
            frames.append((topic, f"[{','.join(texts)}]".encode()))
        return frames

    def _book(self, event: BookChange, active: Collection[Topic]) -> list[tuple[Topic, bytes]]:
        symbol, listing = event.listing.venue_symbol, event.listing
        frames = self._bar(listing, event.time_ns, active)
        topic = (QUOTES, symbol, "")
        if topic in active:
            book = self.instruments[symbol].book
            prices, sizes = self.spelling[symbol].prices, self.spelling[symbol].sizes
            (bid, bid_size), (ask, ask_size) = book.bids.top(1)[0], book.asks.top(1)[0]
            text = (
                f'[{{"T":"q","S":"{symbol}","bx":"{_IEX}","bp":{prices[bid]},"bs":{sizes[bid_size]},'
                f'"ax":"{_IEX}","ap":{prices[ask]},"as":{sizes[ask_size]},"c":["R"],"t":"{_time(event.time_ns)}",'
                f'"z":"C"}}]'
            )
            frames.append((topic, text.encode()))
        return frames

    def _bar(self, listing: SimulatedListing, time_ns: int, active: Collection[Topic]) -> list[tuple[Topic, bytes]]:
        symbol = listing.venue_symbol
        minute = self._minutes.get(symbol)
        if minute is None or minute.start == _start(time_ns):
            return []
        del self._minutes[symbol]
        topic = (BARS, symbol, "")
        if topic not in active:
            return []
        prices = [trade.price for trade in minute.trades]
        volume = sum(trade.size for trade in minute.trades)
        turnover = sum(trade.price * trade.size for trade in minute.trades)
        first, high, low, last = map(listing.price_text, (prices[0], max(prices), min(prices), prices[-1]))
        average = decimal_text(turnover * 10**4 // volume, -listing.price_decimals - 4)
        text = (
            f'[{{"T":"b","S":"{symbol}","o":{first},"h":{high},"l":{low},"c":{last},"v":{listing.size_text(volume)},'
            f'"t":"{_time(minute.start)}","n":{len(prices)},"vw":{average}}}]'
        )
        return [(topic, text.encode())]


def _start(time_ns: int) -> int:
    return time_ns - time_ns % MINUTE


def _time(time_ns: int) -> str:
    return f"{timestamp(time_ns)[:-1]}{time_ns % 1000:03d}Z"


FEED: Final = AlpacaFeed

MARKET: Final = VenueMarket(thinness=0.5, latency_ns=(5_000_000, 40_000_000), size_decimals=0)

# https://docs.alpaca.markets/docs/streaming-market-data#connection-limit; message limits are not documented.
# A dropped connection may count for up to 90 seconds.
LIMITS: Final = VenueLimits(connections=1, linger_seconds=90.0)
