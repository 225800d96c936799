"""Simulated frames of Kraken (WebSocket v2: https://docs.kraken.com/api/docs/websocket-v2/book and following)."""

from __future__ import annotations

from bisect import bisect_left
from collections import deque
from collections.abc import Collection, Iterable, Mapping, Sequence
from math import inf
from typing import Final
from zlib import crc32

from alphapulse.book import BookSide, OrderBook
from producers.feed.venue import Limit
from producers.simulator.events import BookChange, Level, SimulatedTrade, Trades
from producers.simulator.feed import RestReply, SimulatedFeed, Topic
from producers.simulator.instrument import SimulatedInstrument
from producers.simulator.limits import VenueLimits
from producers.simulator.liquidity import VenueMarket
from producers.simulator.listings import SimulatedListing
from producers.simulator.texts import Spelling
from producers.venue_server.session import BOOK, INSTRUMENTS, TRADES, VenueSubscription, encode, timestamp

_CHECKSUM_LEVELS = 10
_TRADES_KEPT = 50  # of the trade channel's snapshot


class KrakenFeed(SimulatedFeed):
    """Books of 10 to 1000 levels with checksums; trades; instruments."""

    def __init__(self, instruments: Collection[SimulatedInstrument]) -> None:
        super().__init__(instruments)
        self._scopes: dict[str, dict[Topic, _Scope]] = {symbol: {} for symbol in self.instruments}
        self._digits = {symbol: _Digits(one.book) for symbol, one in self.instruments.items()}
        self._last_trades: dict[str, deque[tuple[int, SimulatedTrade]]] = {
            symbol: deque(maxlen=_TRADES_KEPT) for symbol in self.instruments
        }

    def topic(self, subscription: VenueSubscription) -> Topic:
        """Return the topic; books have one per depth."""
        return subscription.feed, subscription.symbol, str(subscription.depth or "")

    def opening(self, subscription: VenueSubscription, time_ns: int) -> list[bytes]:
        symbol = subscription.symbol
        if subscription.feed == BOOK:
            topic = self.topic(subscription)
            scopes = self._scopes[symbol]
            if topic not in scopes:
                scopes[topic] = _Scope(self.instruments[symbol].book, subscription.depth)
            if subscription.snapshot:
                return [self._snapshot(symbol, subscription.depth)]
        elif subscription.feed == INSTRUMENTS and subscription.snapshot:
            return [self._reference()]
        elif subscription.feed == TRADES and subscription.snapshot and self._last_trades[symbol]:
            return [_trade_frame("snapshot", symbol, self.spelling[symbol], self._last_trades[symbol])]
        return []

    def rest(self, path: str, query: Mapping[str, str], time_ns: int) -> RestReply | None:
        if path != "/0/public/AssetPairs":
            return None
        pairs = {
            symbol.replace("/", ""): {
                "altname": symbol.replace("/", ""),
                "wsname": symbol,
                "pair_decimals": one.listing.price_decimals,
                "lot_decimals": one.listing.size_decimals,
                "status": "online",
            }
            for symbol, one in self.instruments.items()
        }
        return RestReply(encode({"error": [], "result": pairs}))

    def _trades(self, event: Trades, active: Collection[Topic]) -> list[tuple[Topic, bytes]]:
        symbol = event.listing.venue_symbol
        trades = [(event.time_ns, trade) for trade in event.trades]
        self._last_trades[symbol].extend(trades)
        topic = (TRADES, symbol, "")
        if topic not in active:
            return []
        return [(topic, _trade_frame("update", symbol, self.spelling[symbol], trades))]

    def _book(self, event: BookChange, active: Collection[Topic]) -> list[tuple[Topic, bytes]]:
        symbol = event.listing.venue_symbol
        digits, scopes = self._digits[symbol], self._scopes[symbol]
        digits.changed(event)
        frames: list[tuple[Topic, bytes]] = []
        for topic, scope in list(scopes.items()):
            if topic not in active:  # no subscriber left; a new one starts it again
                del scopes[topic]
                continue
            bids, asks = scope.update(event)
            if bids or asks:
                spelling = self.spelling[symbol]
                text = (
                    f'{{"channel":"book","type":"update","data":[{{"symbol":"{symbol}",'
                    f'"bids":{_levels(spelling, bids)},"asks":{_levels(spelling, asks)},'
                    f'"checksum":{digits.checksum()},"timestamp":"{timestamp(event.time_ns)}"}}]}}'
                )
                frames.append((topic, text.encode()))
        return frames

    def _snapshot(self, symbol: str, depth: int) -> bytes:
        spelling, book = self.spelling[symbol], self.instruments[symbol].book
        bids, asks = _levels(spelling, book.bids.top(depth)), _levels(spelling, book.asks.top(depth))
        return (
            f'{{"channel":"book","type":"snapshot","data":[{{"symbol":"{symbol}","bids":{bids},"asks":{asks},'
            f'"checksum":{checksum(book)}}}]}}'
        ).encode()

    def _reference(self) -> bytes:
        pairs = [_pair(instrument.listing) for instrument in self.instruments.values()]
        assets = sorted({part for symbol in self.instruments for part in symbol.split("/")})
        listed = ",".join(
            f'{{"id":"{asset}","status":"enabled","precision":10,"precision_display":5}}' for asset in assets
        )
        return (
            f'{{"channel":"instrument","type":"snapshot","data":{{"assets":[{listed}],"pairs":[{",".join(pairs)}]}}}}'
        ).encode()


class _Scope:
    """The best ``depth`` levels as a subscriber holds them, and the messages that keep them current.

    A level that leaves the scope is not deleted by a message (subscribers truncate); one that enters because another
    was removed is sent.
    """

    def __init__(self, book: OrderBook, depth: int) -> None:
        self._book = book
        self._depth = depth
        self._bids = self._held(book.bids)
        self._asks = self._held(book.asks)

    def update(self, event: BookChange) -> tuple[Sequence[Level], Sequence[Level]]:
        """Return the levels to send after ``event``."""
        depth, book = self._depth, self._book
        if self._bids is None is self._asks and len(book.bids) <= depth >= len(book.asks):
            return event.bids, event.asks  # the whole book, before and now
        bids, self._bids = self._changes(self._book.bids, self._bids, event.bids)
        asks, self._asks = self._changes(self._book.asks, self._asks, event.asks)
        return bids, asks

    def _held(self, side: BookSide) -> dict[int, int] | None:
        """Return the levels held; None: the whole book, which is usual and needs no comparison."""
        return None if len(side) <= self._depth else dict(side.top(self._depth))

    def _changes(
        self, side: BookSide, before: dict[int, int] | None, event: Sequence[Level]
    ) -> tuple[Sequence[Level], dict[int, int] | None]:
        now = self._held(side)
        if before is None:
            # The whole book was held: only the event's levels can be new, except those now beyond the scope.
            return [level for level in event if now is None or level[0] in now or not level[1]], now
        held = now if now is not None else dict(side)
        changed = [(price, size) for price, size in held.items() if before.get(price) != size]
        gone = [(price, 0) for price in before if not side.size_at(price)]
        return changed + gone, now


def checksum(book: OrderBook) -> int:
    """Return the CRC-32 of the ten best levels, asks first, digits only.

    Mantissas at the venue's precision are the digits, without dot and leading zeros, that the venue prescribes:
    https://docs.kraken.com/api/docs/guides/spot-ws-book-v2
    """
    levels = [*book.asks.top(_CHECKSUM_LEVELS), *book.bids.top(_CHECKSUM_LEVELS)]
    return crc32("".join([f"{price}{size}" for price, size in levels]).encode())


class _Digits:
    """:func:`checksum` of a changing book; unchanged digits are cached."""

    def __init__(self, book: OrderBook) -> None:
        self._bids, self._asks = _BestDigits(book.bids, +1), _BestDigits(book.asks, -1)

    def changed(self, event: BookChange) -> None:
        """Handle an event; all events must be passed."""
        if event.bids:
            self._bids.changed(event.bids)
        if event.asks:
            self._asks.changed(event.asks)

    def checksum(self) -> int:
        """Return the checksum after the last event."""
        return crc32(self._bids.text(), crc32(self._asks.text()))


class _BestDigits:
    """Digits of a side's ten best levels, best first, updated with each change. Sign as in :class:`BookSide`."""

    def __init__(self, side: BookSide, sign: int) -> None:
        self._side = side
        self._sign = sign
        self._keys: list[int] = []  # -sign * price, ascending
        self._texts: list[str] = []
        self._followed = False  # since the first call of text()
        self._digits: bytes | None = None

    def changed(self, levels: Iterable[Level]) -> None:
        if not self._followed:
            return
        keys, texts, sign = self._keys, self._texts, self._sign
        last = keys[-1] if len(keys) >= _CHECKSUM_LEVELS else inf
        for price, size in levels:
            key = -sign * price
            if key > last:  # it can enter the ten best only if others are removed
                continue
            self._digits = None
            at = bisect_left(keys, key)
            known = at < len(keys) and keys[at] == key
            if size and known:
                texts[at] = f"{price}{size}"
            elif size:
                keys.insert(at, key)
                texts.insert(at, f"{price}{size}")
            elif known:
                del keys[at], texts[at]
        if self._digits is None:
            self._fill_up()

    def _fill_up(self) -> None:
        """Keep ten levels: those held are the side's best, so others can only follow them."""
        keys, texts, side = self._keys, self._texts, self._side
        del keys[_CHECKSUM_LEVELS:], texts[_CHECKSUM_LEVELS:]
        if len(keys) < _CHECKSUM_LEVELS:
            for price in side.prices(_CHECKSUM_LEVELS)[len(keys) :]:
                keys.append(-self._sign * price)
                texts.append(f"{price}{side.size_at(price)}")

    def text(self) -> bytes:
        if not self._followed:
            self._followed = True
            self._fill_up()
        if self._digits is None:
            self._digits = "".join(self._texts).encode()
        return self._digits


def _levels(spelling: Spelling, levels: Iterable[Level]) -> str:
    prices, sizes = spelling.prices, spelling.sizes
    return "[" + ",".join([f'{{"price":{prices[price]},"qty":{sizes[size]}}}' for price, size in levels]) + "]"


def _trade_frame(kind: str, symbol: str, spelling: Spelling, trades: Iterable[tuple[int, SimulatedTrade]]) -> bytes:
    items = [
        f'{{"symbol":"{symbol}","side":"{trade.side}","price":{spelling.prices[trade.price]},'
        f'"qty":{spelling.sizes[trade.size]},"ord_type":"market","trade_id":{trade.trade_id},'
        f'"timestamp":"{timestamp(time_ns)}"}}'
        for time_ns, trade in trades
    ]
    return f'{{"channel":"trade","type":"{kind}","data":[{",".join(items)}]}}'.encode()


def _pair(listing: SimulatedListing) -> str:
    base, _, quote = listing.venue_symbol.partition("/")
    head = encode({"symbol": listing.venue_symbol, "base": base, "quote": quote, "status": "online"}).decode()
    return (
        f'{head[:-1]},"price_precision":{listing.price_decimals},"qty_precision":{listing.size_decimals},'
        f'"price_increment":{listing.price_text(1)},"qty_increment":{listing.size_text(1)},'
        f'"qty_min":{listing.size_text(1)},"marginable":false,"has_index":true}}'
    )


FEED: Final = KrakenFeed

MARKET: Final = VenueMarket(0.3, (60_000_000, 200_000_000), price_decimals=1, size_decimals=8)


def _rest_refusal(status: int) -> bytes:
    return b'{"error":["EAPI:Rate limit exceeded"]}'


LIMITS: Final = VenueLimits(
    # The limit is dynamic; the venue gives no number: https://docs.kraken.com/api/docs/guides/spot-ratelimits
    messages=Limit(20, 1.0),
    # "Approximately 150 attempts per rolling 10 minutes", then the address is banned for as long:
    # https://support.kraken.com/articles/360022326871-kraken-websocket-api-frequently-asked-questions
    connects=Limit(150, 600.0),
    ban_seconds=600.0,
    # https://docs.kraken.com/api/docs/guides/spot-rest-ratelimits: one per second, public endpoints.
    rest=Limit(1, 1.0),
    rest_refusal=_rest_refusal,
)
