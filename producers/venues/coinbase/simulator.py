"""Simulated frames of Coinbase Exchange (https://docs.cdp.coinbase.com/exchange/websocket-feed/channels)."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from typing import Final

import msgspec

from producers.feed.venue import Limit
from producers.simulator.events import BookChange, Level, SimulatedTrade, Trades
from producers.simulator.feed import RestReply, SimulatedFeed, Topic
from producers.simulator.instrument import SimulatedInstrument
from producers.simulator.limits import VenueLimits
from producers.simulator.liquidity import VenueMarket
from producers.simulator.texts import Spelling
from producers.venue_server.session import BOOK, TRADES, VenueSubscription, timestamp

_OTHER_SIDE = {"buy": "sell", "sell": "buy"}


class CoinbaseFeed(SimulatedFeed):
    """Books without sequence or checksum; matches with the maker's side."""

    def __init__(self, instruments: Collection[SimulatedInstrument]) -> None:
        super().__init__(instruments)
        self._sequences = dict.fromkeys(self.instruments, 1_000_000)
        self._last: dict[str, tuple[int, int, SimulatedTrade]] = {}

    def opening(self, subscription: VenueSubscription, time_ns: int) -> list[bytes]:
        product = subscription.symbol
        if subscription.feed == BOOK:
            return [self._snapshot(product, time_ns)]
        if subscription.feed == TRADES and product in self._last:
            return [_match("last_match", product, self.spelling[product], *self._last[product])]
        return []

    def last_trade(self, symbol: str) -> tuple[int, int] | None:
        trade_id = self._last[symbol][2].trade_id if symbol in self._last else 0
        return trade_id, self._sequences[symbol]

    def rest(self, path: str, query: Mapping[str, str], time_ns: int) -> RestReply | None:
        if path != "/products":
            return None
        products = [
            {
                "id": product,
                "quote_increment": one.listing.price_text(1),
                "base_increment": one.listing.size_text(1),
                "status": "online",
                "trading_disabled": False,
            }
            for product, one in self.instruments.items()
        ]
        return RestReply(msgspec.json.encode(products))

    def _trades(self, event: Trades, active: Collection[Topic]) -> list[tuple[Topic, bytes]]:
        product = event.listing.venue_symbol
        topic = (TRADES, product, "")
        frames: list[tuple[Topic, bytes]] = []
        for trade in event.trades:
            sequence = self._next_sequence(product)
            self._last[product] = sequence, event.time_ns, trade
            if topic in active:
                match = _match("match", product, self.spelling[product], sequence, event.time_ns, trade)
                frames.append((topic, match))
        return frames

    def _book(self, event: BookChange, active: Collection[Topic]) -> list[tuple[Topic, bytes]]:
        product = event.listing.venue_symbol
        self._next_sequence(product)
        topic = (BOOK, product, "")
        if topic not in active:
            return []
        prices, sizes = self.spelling[product].prices, self.spelling[product].sizes
        changes = [f'["buy","{prices[price]}","{sizes[size]}"]' for price, size in event.bids]
        changes += [f'["sell","{prices[price]}","{sizes[size]}"]' for price, size in event.asks]
        text = (
            f'{{"type":"l2update","product_id":"{product}","changes":[{",".join(changes)}],'
            f'"time":"{timestamp(event.time_ns)}"}}'
        )
        return [(topic, text.encode())]

    def _snapshot(self, product: str, time_ns: int) -> bytes:
        spelling, book = self.spelling[product], self.instruments[product].book
        return (
            f'{{"type":"snapshot","product_id":"{product}","asks":{_levels(spelling, book.asks)},'
            f'"bids":{_levels(spelling, book.bids)},"time":"{timestamp(time_ns)}"}}'
        ).encode()

    def _next_sequence(self, product: str) -> int:
        self._sequences[product] += 1
        return self._sequences[product]


def _levels(spelling: Spelling, levels: Iterable[Level]) -> str:
    prices, sizes = spelling.prices, spelling.sizes
    return "[" + ",".join([f'["{prices[price]}","{sizes[size]}"]' for price, size in levels]) + "]"


def _match(kind: str, product: str, spelling: Spelling, sequence: int, time_ns: int, trade: SimulatedTrade) -> bytes:
    order = (trade.trade_id << 64) + sequence
    return (
        f'{{"type":"{kind}","trade_id":{trade.trade_id},"maker_order_id":"{_uuid(order + 1)}",'
        f'"taker_order_id":"{_uuid(order + 2)}","side":"{_OTHER_SIDE[trade.side]}",'
        f'"size":"{spelling.sizes[trade.size]}","price":"{spelling.prices[trade.price]}",'
        f'"product_id":"{product}","sequence":{sequence},"time":"{timestamp(time_ns)}"}}'
    ).encode()


def _uuid(number: int) -> str:
    """Return ``number`` in the format of an order id."""
    digits = f"{number:032x}"
    return f"{digits[:8]}-{digits[8:12]}-{digits[12:16]}-{digits[16:20]}-{digits[20:]}"


FEED: Final = CoinbaseFeed

MARKET: Final = VenueMarket(0.2, (20_000_000, 90_000_000), size_decimals=8)

LIMITS: Final = VenueLimits(
    # "Requests per second per IP: 8" (bursts to 20), 100 messages per second and address:
    # https://docs.cdp.coinbase.com/exchange/websocket-feed/rate-limits. What happens beyond is not documented.
    connects=Limit(8, 1.0),
    messages=Limit(100, 1.0),
    messages_by_address=True,
    # Bursts to 15: https://docs.cdp.coinbase.com/exchange/rest-api/rate-limits
    rest=Limit(10, 1.0),
)
