"""Coinbase Advanced Trade's frames, not numbered yet: that is the connection's part (``endpoint.py``).

https://docs.cdp.coinbase.com/coinbase-app/advanced-trade-apis/websocket/websocket-channels
"""

from __future__ import annotations

from collections import deque
from collections.abc import Collection, Iterable

from producers.endpoint.session import BOOK, TRADES, Subscription, timestamp
from producers.simulator.events import BookChange, Level, Trade, Trades
from producers.simulator.feed import Feed, Topic
from producers.simulator.instrument import SimulatedInstrument
from producers.simulator.listings import Listing

_REPEATED = 100
"""Trades that a new subscriber gets."""
_MAKER = {"buy": "SELL", "sell": "BUY"}


class CoinbaseAdvancedFeed(Feed):
    """Books and trades in events; the last trades, newest first, for a new subscriber."""

    def __init__(self, instruments: Collection[SimulatedInstrument]) -> None:
        super().__init__(instruments)
        self._last: dict[str, deque[str]] = {product: deque(maxlen=_REPEATED) for product in self.instruments}

    def opening(self, subscription: Subscription, time_ns: int) -> list[bytes]:
        product = subscription.symbol
        if subscription.feed == BOOK:
            book = self.instruments[product].book
            return [_book(self._listing(product), "snapshot", book.bids, book.asks, time_ns)]
        if subscription.feed == TRADES:
            return [_trades("snapshot", self._last[product], time_ns)]
        return []

    def _trades(self, event: Trades, active: Collection[Topic]) -> list[tuple[Topic, bytes]]:
        product = event.listing.venue_symbol
        new = [_trade(event.listing, trade, event.time_ns) for trade in event.trades][::-1]
        self._last[product].extendleft(reversed(new))
        topic = (TRADES, product, "")
        return [(topic, _trades("update", new, event.time_ns))] if topic in active else []

    def _book(self, event: BookChange, active: Collection[Topic]) -> list[tuple[Topic, bytes]]:
        topic = (BOOK, event.listing.venue_symbol, "")
        if topic not in active:
            return []
        return [(topic, _book(event.listing, "update", event.bids, event.asks, event.time_ns))]


def _frame(channel: str, time_ns: int, event: str) -> bytes:
    head = f'"channel":"{channel}","timestamp":"{timestamp(time_ns)}","sequence_num":-1'
    return f'{{{head},"events":[{event}]}}'.encode()


def _book(listing: Listing, kind: str, bids: Iterable[Level], asks: Iterable[Level], time_ns: int) -> bytes:
    time, price_text, size_text = timestamp(time_ns), listing.price_text, listing.size_text
    updates = ",".join(
        f'{{"side":"{side}","event_time":"{time}","price_level":"{price_text(price)}","new_quantity":"{size_text(size)}"}}'
        for side, levels in (("bid", bids), ("offer", asks))
        for price, size in levels
    )
    event = f'{{"type":"{kind}","product_id":"{listing.venue_symbol}","updates":[{updates}]}}'
    return _frame("l2_data", time_ns, event)


def _trade(listing: Listing, trade: Trade, time_ns: int) -> str:
    return (
        f'{{"trade_id":"{trade.trade_id}","product_id":"{listing.venue_symbol}",'
        f'"price":"{listing.price_text(trade.price)}","size":"{listing.size_text(trade.size)}",'
        f'"side":"{_MAKER[trade.side]}","time":"{timestamp(time_ns)}"}}'
    )


def _trades(kind: str, trades: Iterable[str], time_ns: int) -> bytes:
    return _frame("market_trades", time_ns, f'{{"type":"{kind}","trades":[{",".join(trades)}]}}')


FEED = CoinbaseAdvancedFeed
