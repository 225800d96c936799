"""Simulated frames of OKX (https://www.okx.com/docs-v5/en/#order-book-trading-market-data-ws-order-book-channel)."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from typing import Final

from producers.feed.venue import Limit
from producers.simulator.events import BookChange, Level, Trades
from producers.simulator.feed import RestReply, SimulatedFeed, Topic
from producers.simulator.instrument import SimulatedInstrument
from producers.simulator.limits import VenueLimits
from producers.simulator.liquidity import VenueMarket
from producers.simulator.texts import Spelling
from producers.venue_server.session import BOOK, TRADES, VenueSubscription, encode
from producers.venues.okx.protocol import DEPTH


class OkxFeed(SimulatedFeed):
    """Books whose messages refer to the previous one; trades."""

    def __init__(self, instruments: Collection[SimulatedInstrument]) -> None:
        super().__init__(instruments)
        self._sequences = dict.fromkeys(self.instruments, 1_000_000)
        self._said = dict.fromkeys(self.instruments, 0)

    def opening(self, subscription: VenueSubscription, time_ns: int) -> list[bytes]:
        if subscription.feed != BOOK:
            return []
        symbol = subscription.symbol
        book = self.instruments[symbol].book
        bids, asks = book.bids.top(DEPTH), book.asks.top(DEPTH)
        spelling, sequence = self.spelling[symbol], self._sequences[symbol]
        self._said[symbol] = time_ns
        return [_book(symbol, spelling, "snapshot", bids, asks, time_ns, sequence, -1)]

    def alive(self, time_ns: int, active: Collection[Topic]) -> list[tuple[Topic, bytes]]:
        # A message without levels that refers to itself as the previous one:
        # https://www.okx.com/docs-v5/en/#order-book-trading-market-data-ws-order-book-channel
        found = []
        for symbol, said in self._said.items():
            topic = (BOOK, symbol, "")
            if topic in active and time_ns - said >= self.unchanged_ns:
                self._said[symbol], spelling, last = time_ns, self.spelling[symbol], self._sequences[symbol]
                found.append((topic, _book(symbol, spelling, "update", (), (), time_ns, last, last)))
        return found

    def rest(self, path: str, query: Mapping[str, str], time_ns: int) -> RestReply | None:
        if path != "/api/v5/public/instruments":
            return None
        listed = [
            {
                "instType": "SPOT",
                "instId": symbol,
                "tickSz": one.listing.price_text(1),
                "lotSz": one.listing.size_text(1),
                "state": "live",
            }
            for symbol, one in self.instruments.items()
        ]
        if query.get("instType") != "SPOT":
            return RestReply(encode({"code": "51000", "msg": "Parameter instType error", "data": []}))
        return RestReply(encode({"code": "0", "msg": "", "data": listed}))

    def _trades(self, event: Trades, active: Collection[Topic]) -> list[tuple[Topic, bytes]]:
        symbol = event.listing.venue_symbol
        spelling = self.spelling[symbol]
        topic = (TRADES, symbol, "")
        if topic not in active:
            return []
        return [
            (
                topic,
                (
                    f'{{"arg":{{"channel":"trades","instId":"{symbol}"}},"data":[{{"instId":"{symbol}",'
                    f'"tradeId":"{trade.trade_id}","px":"{spelling.prices[trade.price]}",'
                    f'"sz":"{spelling.sizes[trade.size]}","side":"{trade.side}","ts":"{event.time_ns // 1_000_000}",'
                    f'"count":"1","source":"0","seqId":{self._sequences[symbol]}}}]}}'
                ).encode(),
            )
            for trade in event.trades
        ]

    def _book(self, event: BookChange, active: Collection[Topic]) -> list[tuple[Topic, bytes]]:
        symbol = event.listing.venue_symbol
        before = self._sequences[symbol]
        # Numbers increase, but not by one: only the reference to the previous message counts.
        self._sequences[symbol] = before + 1 + len(event.bids) + len(event.asks)
        self._said[symbol] = event.time_ns
        topic = (BOOK, symbol, "")
        if topic not in active:
            return []
        spelling, sequence = self.spelling[symbol], self._sequences[symbol]
        return [
            (topic, _book(symbol, spelling, "update", event.bids, event.asks, event.time_ns, sequence, before)),
        ]


def _book(
    symbol: str,
    spelling: Spelling,
    action: str,
    bids: Iterable[Level],
    asks: Iterable[Level],
    time_ns: int,
    sequence: int,
    before: int,
) -> bytes:
    return (
        f'{{"arg":{{"channel":"books","instId":"{symbol}"}},"action":"{action}","data":[{{'
        f'"asks":{_levels(spelling, asks)},"bids":{_levels(spelling, bids)},"ts":"{time_ns // 1_000_000}",'
        f'"checksum":0,"seqId":{sequence},"prevSeqId":{before}}}]}}'
    ).encode()


def _levels(spelling: Spelling, levels: Iterable[Level]) -> str:
    prices, sizes = spelling.prices, spelling.sizes
    texts = [
        f'["{prices[price]}","{sizes[size]}","0","1"]' if size else f'["{prices[price]}","0","0","0"]'
        for price, size in levels
    ]
    return "[" + ",".join(texts) + "]"


FEED = OkxFeed

MARKET: Final = VenueMarket(thinness=0.1, latency_ns=(5_000_000, 60_000_000))

LIMITS: Final = VenueLimits(
    # Per address, and per connection and hour: https://www.okx.com/docs-v5/en/#overview-websocket-connect
    connects=Limit(3, 1.0),
    requests=Limit(480, 3600.0),
    idle_seconds=30.0,
    # https://www.okx.com/docs-v5/en/#public-data-rest-api-get-instruments
    rest=Limit(20, 2.0),
    rest_refusal=lambda status: b'{"code":"50011","msg":"Too Many Requests","data":[]}',
)
