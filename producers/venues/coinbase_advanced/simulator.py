"""Simulated frames of Coinbase Advanced Trade, without sequence numbers, which the session adds (``server.py``).

https://docs.cdp.coinbase.com/coinbase-app/advanced-trade-apis/websocket/websocket-channels
"""

from __future__ import annotations

from collections import deque
from collections.abc import Collection, Iterable, Mapping
from typing import Final

from producers.feed.venue import Limit
from producers.simulator.events import BookChange, Level, SimulatedTrade, Trades
from producers.simulator.feed import RestReply, SimulatedFeed, Topic
from producers.simulator.instrument import SimulatedInstrument
from producers.simulator.limits import VenueLimits
from producers.simulator.liquidity import VenueMarket
from producers.simulator.texts import Spelling
from producers.venue_server.session import BOOK, TRADES, VenueSubscription, encode, timestamp

_REPEATED = 100
"""Trades sent to a new subscriber."""
_MAKER = {"buy": "SELL", "sell": "BUY"}


class CoinbaseAdvancedFeed(SimulatedFeed):
    """Books and trades as events; the last trades, newest first, for a new subscriber."""

    def __init__(self, instruments: Collection[SimulatedInstrument]) -> None:
        super().__init__(instruments)
        self._last: dict[str, deque[str]] = {product: deque(maxlen=_REPEATED) for product in self.instruments}

    def opening(self, subscription: VenueSubscription, time_ns: int) -> list[bytes]:
        product = subscription.symbol
        if subscription.feed == BOOK:
            book = self.instruments[product].book
            return [_book(product, self.spelling[product], "snapshot", book.bids, book.asks, time_ns)]
        if subscription.feed == TRADES:
            return [_trades("snapshot", self._last[product], time_ns)]
        return []

    def rest(self, path: str, query: Mapping[str, str], time_ns: int) -> RestReply | None:
        if path != "/api/v3/brokerage/market/products":
            return None
        products = [
            {
                "product_id": product,
                "price_increment": one.listing.price_text(1),
                "base_increment": one.listing.size_text(1),
                "product_type": "SPOT",
                "is_disabled": False,
                "trading_disabled": False,
            }
            for product, one in self.instruments.items()
        ]
        return RestReply(encode({"products": products, "num_products": len(products)}))

    def _trades(self, event: Trades, active: Collection[Topic]) -> list[tuple[Topic, bytes]]:
        product = event.listing.venue_symbol
        spelling = self.spelling[product]
        new = [_trade(product, spelling, trade, event.time_ns) for trade in event.trades][::-1]
        self._last[product].extendleft(reversed(new))
        topic = (TRADES, product, "")
        return [(topic, _trades("update", new, event.time_ns))] if topic in active else []

    def _book(self, event: BookChange, active: Collection[Topic]) -> list[tuple[Topic, bytes]]:
        product = event.listing.venue_symbol
        topic = (BOOK, product, "")
        if topic not in active:
            return []
        return [(topic, _book(product, self.spelling[product], "update", event.bids, event.asks, event.time_ns))]


def _frame(channel: str, time_ns: int, event: str) -> bytes:
    head = f'"channel":"{channel}","timestamp":"{timestamp(time_ns)}","sequence_num":-1'
    return f'{{{head},"events":[{event}]}}'.encode()


def _book(
    product: str, spelling: Spelling, kind: str, bids: Iterable[Level], asks: Iterable[Level], time_ns: int
) -> bytes:
    prices, sizes = spelling.prices, spelling.sizes
    head = f'{{"side":"bid","event_time":"{timestamp(time_ns)}","price_level":"'
    updates = [f'{head}{prices[price]}","new_quantity":"{sizes[size]}"}}' for price, size in bids]
    head = head.replace("bid", "offer", 1)
    updates += [f'{head}{prices[price]}","new_quantity":"{sizes[size]}"}}' for price, size in asks]
    event = f'{{"type":"{kind}","product_id":"{product}","updates":[{",".join(updates)}]}}'
    return _frame("l2_data", time_ns, event)


def _trade(product: str, spelling: Spelling, trade: SimulatedTrade, time_ns: int) -> str:
    return (
        f'{{"trade_id":"{trade.trade_id}","product_id":"{product}",'
        f'"price":"{spelling.prices[trade.price]}","size":"{spelling.sizes[trade.size]}",'
        f'"side":"{_MAKER[trade.side]}","time":"{timestamp(time_ns)}"}}'
    )


def _trades(kind: str, trades: Iterable[str], time_ns: int) -> bytes:
    return _frame("market_trades", time_ns, f'{{"type":"{kind}","trades":[{",".join(trades)}]}}')


FEED = CoinbaseAdvancedFeed

MARKET: Final = VenueMarket(thinness=0.2, latency_ns=(20_000_000, 90_000_000), size_decimals=8)

LIMITS: Final = VenueLimits(
    # https://docs.cdp.coinbase.com/coinbase-app/advanced-trade-apis/websocket/websocket-rate-limits; what happens
    # beyond is not documented.
    connects=Limit(8, 1.0),
    messages=Limit(8, 1.0),
    messages_by_address=True,
    # "Most channels close within 60-90 seconds if no updates are sent": .../websocket/websocket-channels
    idle_seconds=90.0,
    # https://docs.cdp.coinbase.com/coinbase-app/advanced-trade-apis/rest-api#rate-limits
    rest=Limit(10, 1.0),
)
