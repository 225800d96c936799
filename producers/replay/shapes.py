"""What a recorded frame is about, by the shape of its venue's frames.

Only so much is read as is needed to serve it: which subscription it belongs to, or which request it answers. Whether
its prices make sense is the collector's concern.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeVar
from urllib.parse import parse_qsl, urlsplit

import msgspec
from msgspec import UNSET, Raw, Struct, UnsetType

from alphapulse.errors import FrameRefused
from producers.venue_server.session import BOOK, HEARTBEATS, TRADES, Key
from producers.venues.binance.server import stream_key
from producers.venues.kraken.server import feed_of

_T = TypeVar("_T")

RestKey = tuple[str, str]
"""(path, symbol): requests that differ in other parameters (limit) are the same one."""


@dataclass(frozen=True, slots=True)
class Shape:
    """What a frame is about.

    Attributes:
        keys: the subscriptions it belongs to; none for an answer to a message of the client's.
        rest: the request that it answers, None for a frame of the socket.
        body: of that answer.
        depth: levels a side that the venue confirms a book subscription of; 0: the frame confirms none.
        levels: of the longer side of a book snapshot; 0: it is none.
        conversation: it is the venue's part of a talk with the recorder that each client leads for itself: not sent.
    """

    keys: tuple[Key, ...] = ()
    rest: RestKey | None = None
    body: bytes = b""
    depth: int = 0
    levels: int = 0
    conversation: bool = False


Look = Callable[[bytes], Shape]
"""Reads a frame's shape; raises FrameRefused with a reason."""


def rest_key(target: str) -> RestKey:
    """Return the key of a request's ``path?query``."""
    parts = urlsplit(target)
    return parts.path, dict(parse_qsl(parts.query)).get("symbol", "").upper()


class _Frame(Struct):
    """A REST answer, in every venue's recordings."""

    rest: str | UnsetType = UNSET
    body: Raw | UnsetType = UNSET


class _KrakenFrame(_Frame):
    channel: str | UnsetType = UNSET
    type: Raw | UnsetType = UNSET
    method: str | UnsetType = UNSET
    error: str | UnsetType = UNSET
    data: Raw | UnsetType = UNSET
    result: Raw | UnsetType = UNSET


class _KrakenItem(Struct):
    symbol: str


class _KrakenBook(Struct):
    bids: list[Raw] = []
    asks: list[Raw] = []


class _KrakenResult(Struct):
    channel: str = ""
    depth: int = 0


_KRAKEN = msgspec.json.Decoder(_KrakenFrame)
_KRAKEN_ITEMS = msgspec.json.Decoder(list[_KrakenItem])
_KRAKEN_BOOKS = msgspec.json.Decoder(list[_KrakenBook])
_KRAKEN_RESULT = msgspec.json.Decoder(_KrakenResult)


def kraken(frame: bytes) -> Shape:
    """Read a frame of Kraken's WebSocket v2."""
    seen = _decode("kraken", _KRAKEN, frame)
    if seen.rest is not UNSET:
        return _rest_answer(seen.rest, seen.body)
    if seen.channel is UNSET:
        if seen.method is UNSET and seen.error is UNSET:
            raise FrameRefused("kraken", "neither channel nor method in it")
        return Shape(depth=_confirmed_depth(seen))
    feed = feed_of(seen.channel)
    if feed not in (BOOK, TRADES):
        return Shape(((feed, ""),))
    if seen.data is UNSET:
        raise FrameRefused("kraken", f"{seen.channel} without data")
    items = _decode("kraken", _KRAKEN_ITEMS, seen.data)
    keys = tuple(dict.fromkeys((feed, item.symbol) for item in items))
    return Shape(keys, levels=_snapshot_levels(seen.data) if feed == BOOK and _is_snapshot(seen) else 0)


def _is_snapshot(frame: _KrakenFrame) -> bool:
    return frame.type is not UNSET and bytes(frame.type) == b'"snapshot"'


def _snapshot_levels(data: Raw) -> int:
    try:
        books = _KRAKEN_BOOKS.decode(data)
    except msgspec.DecodeError:  # whoever reads the levels will say so
        return 0
    return max((len(side) for book in books for side in (book.bids, book.asks)), default=0)


def _confirmed_depth(frame: _KrakenFrame) -> int:
    if frame.method != "subscribe" or frame.result is UNSET:
        return 0
    try:
        result = _KRAKEN_RESULT.decode(frame.result)
    except msgspec.DecodeError:  # nor does it confirm anything
        return 0
    return result.depth if result.channel == "book" else 0


class _CoinbaseFrame(_Frame):
    type: str | UnsetType = UNSET
    product_id: str | UnsetType = UNSET


_COINBASE = msgspec.json.Decoder(_CoinbaseFrame)
_COINBASE_FEEDS = {"snapshot": BOOK, "l2update": BOOK, "match": TRADES, "last_match": TRADES, "heartbeat": HEARTBEATS}


def coinbase(frame: bytes) -> Shape:
    """Read a frame of Coinbase Exchange's feed."""
    seen = _decode("coinbase", _COINBASE, frame)
    if seen.rest is not UNSET:
        return _rest_answer(seen.rest, seen.body)
    if seen.type is UNSET:
        raise FrameRefused("coinbase", "no type in it")
    feed = _COINBASE_FEEDS.get(seen.type)
    if seen.product_id is UNSET:
        if feed is not None:
            raise FrameRefused("coinbase", f"{seen.type} without product_id")
        return Shape()
    return Shape(((feed or seen.type, seen.product_id),))


class _BinanceEvent(Struct):
    e: str = ""
    s: str = ""


class _BinanceFrame(_Frame):
    stream: str | UnsetType = UNSET
    data: _BinanceEvent | UnsetType = UNSET
    e: str | UnsetType = UNSET
    s: str = ""
    u: int | UnsetType = UNSET
    id: Raw | UnsetType = UNSET


_BINANCE = msgspec.json.Decoder(_BinanceFrame)
_BINANCE_FEEDS = {"depthUpdate": BOOK, "trade": TRADES, "aggTrade": TRADES}


def binance(frame: bytes) -> Shape:
    """Read a frame of Binance's combined or raw streams."""
    seen = _decode("binance", _BINANCE, frame)
    if seen.rest is not UNSET:
        return _rest_answer(seen.rest, seen.body)
    if seen.stream is not UNSET:
        if seen.data is UNSET:
            raise FrameRefused("binance", "stream without data")
        feed, symbol = stream_key(seen.stream)
        if feed in (BOOK, TRADES) and (_BINANCE_FEEDS.get(seen.data.e) != feed or seen.data.s != symbol):
            raise FrameRefused("binance", f"{seen.stream} carries {seen.data.e or 'no event'} of {seen.data.s or '?'}")
        return Shape(((feed, symbol),))
    if seen.e is not UNSET:
        return Shape(((_BINANCE_FEEDS.get(seen.e, seen.e), seen.s),))
    if seen.u is not UNSET:  # a raw book ticker: the one event without a name
        return Shape((("bookTicker", seen.s),))
    if seen.id is UNSET:
        raise FrameRefused("binance", "neither stream nor event nor id in it")
    return Shape()


LOOKS: dict[str, Look] = {"kraken": kraken, "coinbase": coinbase, "binance": binance, "binance_us": binance}
"""Of the venues that have no look of their own (:mod:`producers.replay.looks`)."""


def _rest_answer(target: str, body: Raw | UnsetType) -> Shape:
    if body is UNSET:
        raise FrameRefused("rest", f"answer to {target} without body")
    return Shape(rest=rest_key(target), body=bytes(body))


def _decode(venue: str, decoder: msgspec.json.Decoder[_T], data: bytes | Raw) -> _T:
    try:
        return decoder.decode(data)
    except msgspec.ValidationError as error:
        raise FrameRefused(venue, f"unknown shape: {error}") from error
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise FrameRefused(venue, f"no JSON: {error}") from error
