"""Coinbase Exchange's frames (https://docs.cdp.coinbase.com/exchange/websocket-feed/channels)."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from uuid import UUID

from producers.endpoint.session import BOOK, TRADES, Subscription, timestamp
from producers.simulator.events import BookChange, Level, Trade, Trades
from producers.simulator.feed import Feed, Topic
from producers.simulator.instrument import SimulatedInstrument
from producers.simulator.listings import Listing

_OTHER_SIDE = {"buy": "sell", "sell": "buy"}


class CoinbaseFeed(Feed):
    """Books without sequence or checksum; matches that name the maker's side."""

    def __init__(self, instruments: Collection[SimulatedInstrument]) -> None:
        super().__init__(instruments)
        self._sequences = dict.fromkeys(self.instruments, 1_000_000)
        self._last: dict[str, tuple[int, int, Trade]] = {}

    def opening(self, subscription: Subscription, time_ns: int) -> list[bytes]:
        product = subscription.symbol
        if subscription.feed == BOOK:
            return [self._snapshot(product, time_ns)]
        if subscription.feed == TRADES and product in self._last:
            return [_match("last_match", self._listing(product), *self._last[product])]
        return []

    def _trades(self, event: Trades, active: Collection[Topic]) -> list[tuple[Topic, bytes]]:
        product = event.listing.venue_symbol
        topic = (TRADES, product, "")
        frames: list[tuple[Topic, bytes]] = []
        for trade in event.trades:
            sequence = self._next_sequence(product)
            self._last[product] = sequence, event.time_ns, trade
            if topic in active:
                frames.append((topic, _match("match", event.listing, sequence, event.time_ns, trade)))
        return frames

    def _book(self, event: BookChange, active: Collection[Topic]) -> list[tuple[Topic, bytes]]:
        product, listing = event.listing.venue_symbol, event.listing
        self._next_sequence(product)
        topic = (BOOK, product, "")
        if topic not in active:
            return []
        changes = [
            f'["{side}","{listing.price_text(price)}","{listing.size_text(size)}"]'
            for side, levels in (("buy", event.bids), ("sell", event.asks))
            for price, size in levels
        ]
        text = (
            f'{{"type":"l2update","product_id":"{product}","changes":[{",".join(changes)}],'
            f'"time":"{timestamp(event.time_ns)}"}}'
        )
        return [(topic, text.encode())]

    def _snapshot(self, product: str, time_ns: int) -> bytes:
        listing, book = self._listing(product), self.instruments[product].book
        return (
            f'{{"type":"snapshot","product_id":"{product}","asks":{_levels(listing, book.asks)},'
            f'"bids":{_levels(listing, book.bids)},"time":"{timestamp(time_ns)}"}}'
        ).encode()

    def _next_sequence(self, product: str) -> int:
        self._sequences[product] += 1
        return self._sequences[product]


def _levels(listing: Listing, levels: Iterable[Level]) -> str:
    price_text, size_text = listing.price_text, listing.size_text
    return "[" + ",".join([f'["{price_text(price)}","{size_text(size)}"]' for price, size in levels]) + "]"


def _match(kind: str, listing: Listing, sequence: int, time_ns: int, trade: Trade) -> bytes:
    maker, taker = (str(UUID(int=(trade.trade_id << 64) + sequence + n)) for n in (1, 2))
    return (
        f'{{"type":"{kind}","trade_id":{trade.trade_id},"maker_order_id":"{maker}","taker_order_id":"{taker}",'
        f'"side":"{_OTHER_SIDE[trade.side]}","size":"{listing.size_text(trade.size)}",'
        f'"price":"{listing.price_text(trade.price)}","product_id":"{listing.venue_symbol}","sequence":{sequence},'
        f'"time":"{timestamp(time_ns)}"}}'
    ).encode()
