"""Simulated frames and REST answers of Binance and Binance.US.

https://developers.binance.com/docs/binance-spot-api-docs/web-socket-streams and …/rest-api/market-data-endpoints.
Diffs are sent with every change, whatever interval the stream's name states, so that the rate can be chosen.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from functools import partial
from typing import Any, Final

from producers.feed.venue import Limit
from producers.simulator.events import BookChange, Level, Trades
from producers.simulator.feed import RestReply, SimulatedFeed, Topic
from producers.simulator.instrument import MOST_UNITS, SimulatedInstrument
from producers.simulator.limits import VenueLimits
from producers.simulator.liquidity import VenueMarket
from producers.simulator.listings import SimulatedListing
from producers.simulator.texts import Spelling
from producers.venue_server.session import BOOK, TRADES, VenueSubscription, encode
from producers.venues.binance import server as binance
from producers.venues.binance.server import DEPTH_PATH, rest_refusal

_DECIMALS = 8  # Binance writes all prices and sizes with eight decimals
_DEFAULT_LIMIT, _GREATEST_LIMIT = 100, 5000
_FIRST_UPDATE = 50_000_000_000
_DEPTH_STREAMS = ("depth@100ms", "depth", "depth@1000ms")
_TRADE_STREAMS = ("trade", "aggTrade")


class BinanceFeed(SimulatedFeed):
    """Diff depth with update ids, and trades, per stream; depth snapshots and exchange information by REST."""

    decimals = _DECIMALS

    def __init__(self, instruments: Collection[SimulatedInstrument]) -> None:
        super().__init__(instruments)
        self._updates = dict.fromkeys(self.instruments, _FIRST_UPDATE)
        self._streams = {
            symbol: (_topics(BOOK, symbol, _DEPTH_STREAMS), _topics(TRADES, symbol, _TRADE_STREAMS))
            for symbol in self.instruments
        }

    def topic(self, subscription: VenueSubscription) -> Topic:
        """Return the topic; a feed has several streams, whose names are in the frames."""
        return subscription.feed, subscription.symbol, subscription.channel

    def opening(self, subscription: VenueSubscription, time_ns: int) -> list[bytes]:
        return []

    def rest(self, path: str, query: Mapping[str, str], time_ns: int) -> RestReply | None:
        if path == binance.DEPTH_PATH:
            return self._depth(query)
        if path == "/api/v3/exchangeInfo":
            return RestReply(self._exchange_info(time_ns))
        if path == "/api/v3/time":
            return RestReply(encode({"serverTime": time_ns // 1_000_000}))
        return RestReply(b"{}") if path == "/api/v3/ping" else None

    def _trades(self, event: Trades, active: Collection[Topic]) -> list[tuple[Topic, bytes]]:
        symbol, ms = event.listing.venue_symbol, event.time_ns // 1_000_000
        spelling = self.spelling[symbol]
        frames: list[tuple[Topic, bytes]] = []
        for topic, kind in self._streams[symbol][1]:
            if topic not in active:
                continue
            for trade in event.trades:
                number = f'"t":{trade.trade_id}' if kind == "trade" else _aggregate_number(trade.trade_id)
                text = (
                    f'{{"stream":"{topic[2]}","data":{{"e":"{kind}","E":{ms},"s":"{symbol}",{number},'
                    f'"p":"{spelling.prices[trade.price]}","q":"{spelling.sizes[trade.size]}",'
                    f'"T":{ms},"m":{"true" if trade.side == "sell" else "false"},"M":true}}}}'
                )
                frames.append((topic, text.encode()))
        return frames

    def _book(self, event: BookChange, active: Collection[Topic]) -> list[tuple[Topic, bytes]]:
        symbol = event.listing.venue_symbol
        before = self._updates[symbol]
        last = self._updates[symbol] = before + len(event.bids) + len(event.asks)
        frames: list[tuple[Topic, bytes]] = []
        for topic, _ in self._streams[symbol][0]:
            if topic in active:
                spelling = self.spelling[symbol]
                text = (
                    f'{{"stream":"{topic[2]}","data":{{"e":"depthUpdate","E":{event.time_ns // 1_000_000},'
                    f'"s":"{symbol}","U":{before + 1},"u":{last},'
                    f'"b":{_levels(spelling, event.bids)},"a":{_levels(spelling, event.asks)}}}}}'
                )
                frames.append((topic, text.encode()))
        return frames

    def _depth(self, query: Mapping[str, str]) -> RestReply:
        symbol = query.get("symbol", "")
        if not symbol:
            return RestReply(binance.MISSING_SYMBOL, 400)
        if symbol not in self.instruments:
            return RestReply(binance.INVALID_SYMBOL, 400)
        limit = query.get("limit", str(_DEFAULT_LIMIT))
        if not limit.isdecimal() or not int(limit) > 0:
            return RestReply(binance.rest_error(-1100, "Illegal characters found in parameter 'limit'."), 400)
        depth = min(int(limit), _GREATEST_LIMIT)
        spelling, book = self.spelling[symbol], self.instruments[symbol].book
        text = (
            f'{{"lastUpdateId":{self._updates[symbol]},"bids":{_levels(spelling, book.bids.top(depth))},'
            f'"asks":{_levels(spelling, book.asks.top(depth))}}}'
        )
        return RestReply(text.encode())

    def _exchange_info(self, time_ns: int) -> bytes:
        symbols = [_symbol_info(instrument.listing) for instrument in self.instruments.values()]
        head = {"timezone": "UTC", "serverTime": time_ns // 1_000_000, "rateLimits": [], "exchangeFilters": []}
        return encode({**head, "symbols": symbols})


def _topics(feed: str, symbol: str, kinds: Iterable[str]) -> list[tuple[Topic, str]]:
    return [((feed, symbol, f"{symbol.lower()}@{kind}"), kind) for kind in kinds]


def _levels(spelling: Spelling, levels: Iterable[Level]) -> str:
    prices, sizes = spelling.prices, spelling.sizes
    return "[" + ",".join([f'["{prices[price]}","{sizes[size]}"]' for price, size in levels]) + "]"


def _aggregate_number(trade_id: int) -> str:
    return f'"a":{trade_id},"f":{trade_id},"l":{trade_id}'


def _symbol_info(listing: SimulatedListing) -> dict[str, Any]:
    base, _, quote = listing.symbol.partition("-")
    tick, lot = listing.price_text(1, _DECIMALS), listing.size_text(1, _DECIMALS)
    return {
        "symbol": listing.venue_symbol,
        "status": "TRADING",
        "baseAsset": base,
        "baseAssetPrecision": _DECIMALS,
        "quoteAsset": quote,
        "quotePrecision": _DECIMALS,
        "quoteAssetPrecision": _DECIMALS,
        "orderTypes": ["LIMIT", "MARKET"],
        "isSpotTradingAllowed": True,
        "filters": [
            {"filterType": "PRICE_FILTER", "minPrice": tick, "maxPrice": "1000000000.00000000", "tickSize": tick},
            {"filterType": "LOT_SIZE", "minQty": lot, "maxQty": f"{MOST_UNITS}.00000000", "stepSize": lot},
        ],
    }


FEED: Final = BinanceFeed

# Binance leads; the other venues follow within some hundred milliseconds.
MARKET: Final = VenueMarket(0.0, (2_000_000, 20_000_000))

_WEIGHTS: Final = ((100, 5.0), (500, 25.0), (1000, 50.0), (5000, 250.0))
"""Weights of depth requests, by the maximum limit:
https://developers.binance.com/docs/binance-spot-api-docs/rest-api/market-data-endpoints#order-book"""
_DEFAULT_DEPTH: Final = "100"
_OTHER_WEIGHTS: Final = {"/api/v3/exchangeInfo": 20.0}


def depth_weight(path: str, query: Mapping[str, str], *, weights: Sequence[tuple[int, float]]) -> float:
    """Return the weight of a REST request to Binance."""
    if path != DEPTH_PATH:
        return _OTHER_WEIGHTS.get(path, 1.0)
    limit = query.get("limit", _DEFAULT_DEPTH)
    depth = int(limit) if limit.isdecimal() else 0
    return next((weight for most, weight in weights if depth <= most), weights[-1][1])


LIMITS: Final = VenueLimits(
    # https://developers.binance.com/docs/binance-spot-api-docs/web-socket-streams#websocket-limits
    messages=Limit(5, 1.0),
    pings_count=True,
    connects=Limit(300, 300.0),
    # "Only valid for 24 hours": …/web-socket-streams#general-wss-information
    life_seconds=86_400.0,
    # https://developers.binance.com/docs/binance-spot-api-docs/rest-api/limits
    rest=Limit(6000, 60.0),
    rest_weight=partial(depth_weight, weights=_WEIGHTS),
    rest_refusal=rest_refusal,
    used_header="X-MBX-USED-WEIGHT-1M",
    # "Repeatedly" and "failing to back off": the venue gives no number.
    patience=10,
)
