"""Bitstamp's frames and REST answers: https://www.bitstamp.net/websocket/v2/ and https://www.bitstamp.net/api/.

Diffs come with every change, so that the rate can be chosen; the venue gathers changes for up to a second.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from typing import Any, Final

import msgspec

from producers.feed.venue import Limit
from producers.simulator.events import BookChange, Level, Trades
from producers.simulator.feed import RestReply, SimulatedFeed, Topic
from producers.simulator.instrument import SimulatedInstrument
from producers.simulator.limits import VenueLimits
from producers.simulator.liquidity import VenueMarket
from producers.simulator.listings import SimulatedListing
from producers.simulator.texts import Spelling
from producers.venue_server.session import BOOK, TRADES, VenueSubscription
from producers.venues.bitstamp.server import SNAPSHOT_PATH, UNKNOWN_MARKET, rest_refusal

_SECOND_US: Final = 1_000_000
_FIRST_ORDER: Final = 1_500_000_000_000_000


class BitstampFeed(SimulatedFeed):
    """Diffs and trades by stream, stamped with microseconds that rise; whole books and the list of markets by REST."""

    def __init__(self, instruments: Collection[SimulatedInstrument]) -> None:
        super().__init__(instruments)
        self._updates = dict.fromkeys(self.instruments, 0)
        """Stamp of each book's last change; 0: none yet."""

    def opening(self, subscription: VenueSubscription, time_ns: int) -> list[bytes]:
        return []

    def rest(self, path: str, query: Mapping[str, str], time_ns: int) -> RestReply | None:
        if path == "/api/v2/trading-pairs-info/":
            return RestReply(msgspec.json.encode([_pair(one.listing) for one in self.instruments.values()]))
        if not path.startswith(SNAPSHOT_PATH):
            return None
        market = path.removeprefix(SNAPSHOT_PATH).removesuffix("/")
        if market not in self.instruments:
            return RestReply(UNKNOWN_MARKET, 404)
        # As of the last change: a change that is stamped earlier than now may still be to come.
        stamp = self._updates[market] or time_ns // 1000 - _SECOND_US
        spelling, book = self.spelling[market], self.instruments[market].book
        return RestReply(f"{{{_stamped(stamp)},{_sides(spelling, book.bids, book.asks)}}}".encode())

    def _trades(self, event: Trades, active: Collection[Topic]) -> list[tuple[Topic, bytes]]:
        market = event.listing.venue_symbol
        topic = (TRADES, market, "")
        if topic not in active:
            return []
        spelling, stamp = self.spelling[market], event.time_ns // 1000
        frames: list[tuple[Topic, bytes]] = []
        for trade in event.trades:
            price, size = spelling.prices[trade.price], spelling.sizes[trade.size]
            order = _FIRST_ORDER + 2 * trade.trade_id
            text = (
                f'{{"data":{{"id":{trade.trade_id},"amount":{size},"amount_str":"{size}","price":{price},'
                f'"price_str":"{price}","type":{int(trade.side == "sell")},{_stamped(stamp)},'
                f'"buy_order_id":{order},"sell_order_id":{order + 1}}},'
                f'"channel":"live_trades_{market}","event":"trade"}}'
            )
            frames.append((topic, text.encode()))
        return frames

    def _book(self, event: BookChange, active: Collection[Topic]) -> list[tuple[Topic, bytes]]:
        market = event.listing.venue_symbol
        stamp = self._updates[market] = max(event.time_ns // 1000, self._updates[market] + 1)
        topic = (BOOK, market, "")
        if topic not in active:
            return []
        sides = _sides(self.spelling[market], event.bids, event.asks)
        text = f'{{"data":{{{_stamped(stamp)},{sides}}},"channel":"diff_order_book_{market}","event":"data"}}'
        return [(topic, text.encode())]


def _stamped(stamp: int) -> str:
    return f'"timestamp":"{stamp // _SECOND_US}","microtimestamp":"{stamp}"'


def _sides(spelling: Spelling, bids: Iterable[Level], asks: Iterable[Level]) -> str:
    prices, sizes = spelling.prices, spelling.sizes
    texts = (",".join([f'["{prices[price]}","{sizes[size]}"]' for price, size in side]) for side in (bids, asks))
    return '"bids":[{}],"asks":[{}]'.format(*texts)


def _pair(listing: SimulatedListing) -> dict[str, Any]:
    return {
        "name": listing.symbol.replace("-", "/"),
        "url_symbol": listing.venue_symbol,
        "base_decimals": listing.size_decimals,
        "counter_decimals": listing.price_decimals,
        "minimum_order": "10.0 USD",
        "trading": "Enabled",
        "description": listing.symbol,
    }


FEED: Final = BitstampFeed

MARKET: Final = VenueMarket(0.6, (40_000_000, 200_000_000), price_decimals=0, size_decimals=8)

LIMITS: Final = VenueLimits(
    # "Maximum connection age is 90 days": https://www.bitstamp.net/websocket/v2/
    life_seconds=90 * 86_400.0,
    # 400 a second as well, which the collector keeps to: https://www.bitstamp.net/api/#section/Request-limits
    rest=Limit(10_000, 600.0),
    rest_refusal=rest_refusal,
)
