"""Server side of Kraken's WebSocket v2 (https://docs.kraken.com/api/docs/guides/spot-ws-intro)."""

from __future__ import annotations

from typing import Any, Final

import msgspec
from msgspec import UNSET, Raw, Struct, UnsetType

from alphapulse.errors import FrameRefused
from producers.venue_server.dialects import Dialect
from producers.venue_server.frames import FrameClass, RecordedFrame, decode, rest_answer
from producers.venue_server.session import (
    BOOK,
    INSTRUMENTS,
    TRADES,
    SessionAnswer,
    VenueSession,
    VenueSubscription,
    encode,
    timestamp,
)
from producers.venue_server.session import decode_object as _decode_object

DEPTHS = (10, 25, 100, 500, 1000)
"""https://docs.kraken.com/api/docs/websocket-v2/book"""

_FEEDS = {"book": BOOK, "trade": TRADES, "instrument": INSTRUMENTS}
_WITHOUT_DATA = ("ticker", "ohlc")
"""Channels that can be subscribed and send nothing here."""

HEARTBEAT = b'{"channel":"heartbeat"}'


def feed_of(channel: str) -> str:
    """Return the feed of the venue's ``channel``."""
    return _FEEDS.get(channel, channel)


class KrakenSession(VenueSession):
    """Session with subscribe, unsubscribe and ping; one acknowledgement per symbol."""

    def greeting(self, time_ns: int) -> list[bytes]:
        status = {"version": "2.0.10", "system": "online", "api_version": "v2", "connection_id": time_ns & (2**63 - 1)}
        return [encode({"channel": "status", "type": "update", "data": [status]})]

    def heartbeat(self, time_ns: int, *, idle: bool) -> list[bytes]:
        return [HEARTBEAT] if idle and self.subscriptions else []

    def too_many(self, message: bytes, time_ns: int) -> SessionAnswer | None:
        request = _decode_object(message) or {}
        head: dict[str, Any] = {name: request[name] for name in ("method", "req_id") if name in request}
        return _refusal(head, "Exceeded msg rate", time_ns)

    def received(self, message: bytes, time_ns: int) -> SessionAnswer:
        request = _decode_object(message)
        if request is None:
            return SessionAnswer([encode({"error": "Malformed request", "success": False, **_times(time_ns)})])
        method = request.get("method")
        head: dict[str, Any] = {"method": method}
        if "req_id" in request:
            head["req_id"] = request["req_id"]
        if method == "ping":
            return SessionAnswer([encode({**head, "method": "pong", **_times(time_ns)})])
        if method not in ("subscribe", "unsubscribe"):
            return _refusal(head, f"Unsupported method: {method}", time_ns)
        params = request.get("params")
        if not isinstance(params, dict) or not isinstance(params.get("channel"), str):
            return _refusal(head, "Channel field must be a string", time_ns)
        answer = SessionAnswer()
        take = self._take_subscribe if method == "subscribe" else self._take_unsubscribe
        take(head, params, time_ns, answer)
        return answer

    def _take_subscribe(
        self, head: dict[str, Any], params: dict[str, Any], time_ns: int, answer: SessionAnswer
    ) -> None:
        channel = params["channel"]
        if channel not in _FEEDS and channel not in _WITHOUT_DATA:
            answer.replies += _refusal(head, f"Unsupported channel: {channel}", time_ns).replies
            return
        result: dict[str, Any] = {"channel": channel, "snapshot": params.get("snapshot", channel != "trade") is True}
        if channel == "instrument":
            self._accept(head, result, "", time_ns, answer)
            return
        if channel == "book":
            result["depth"] = params.get("depth", 10)
            if result["depth"] not in DEPTHS:
                answer.replies += _refusal(head, "Subscription depth not supported", time_ns).replies
                return
        for symbol in _symbols(params):
            if not self.knows(symbol):
                self._refuse(head, f"Currency pair not supported {symbol}", symbol, time_ns, answer)
            elif (feed_of(channel), symbol) in self.subscriptions:
                self._refuse(head, "Already subscribed", symbol, time_ns, answer)
            elif self.refuses((feed_of(channel), symbol)):
                self._refuse(head, "Exceeded msg rate", symbol, time_ns, answer)
            else:
                self._accept(head, {**result, "symbol": symbol}, symbol, time_ns, answer)

    def _take_unsubscribe(
        self, head: dict[str, Any], params: dict[str, Any], time_ns: int, answer: SessionAnswer
    ) -> None:
        channel = params["channel"]
        for symbol in [""] if channel == "instrument" else _symbols(params):
            if not self._unsubscribe((feed_of(channel), symbol), answer):
                self._refuse(head, "Subscription Not Found", symbol, time_ns, answer)
                continue
            result = {"channel": channel, **({"symbol": symbol} if symbol else {})}
            answer.replies.append(encode({**head, "result": result, "success": True, **_times(time_ns)}))

    def _accept(
        self, head: dict[str, Any], result: dict[str, Any], symbol: str, time_ns: int, answer: SessionAnswer
    ) -> None:
        channel = result["channel"]
        self._subscribe(
            VenueSubscription(feed_of(channel), symbol, channel, result.get("depth", 0), result["snapshot"]), answer
        )
        answer.replies.append(encode({**head, "result": result, "success": True, **_times(time_ns)}))

    def _refuse(self, head: dict[str, Any], error: str, symbol: str, time_ns: int, answer: SessionAnswer) -> None:
        answer.replies.append(encode({"error": error, **head, "success": False, "symbol": symbol, **_times(time_ns)}))


def _symbols(params: dict[str, Any]) -> list[str]:
    symbols = params.get("symbol")
    return [str(symbol) for symbol in symbols] if isinstance(symbols, list) else [str(symbols)]


def _refusal(head: dict[str, Any], error: str, time_ns: int) -> SessionAnswer:
    return SessionAnswer([encode({"error": error, **head, "success": False, **_times(time_ns)})])


def _times(time_ns: int) -> dict[str, str]:
    return {"time_in": timestamp(time_ns), "time_out": timestamp(time_ns)}


# --- recorded frames ---


class _Frame(RecordedFrame):
    channel: str | UnsetType = UNSET
    type: Raw | UnsetType = UNSET
    method: str | UnsetType = UNSET
    error: str | UnsetType = UNSET
    data: Raw | UnsetType = UNSET
    result: Raw | UnsetType = UNSET


class _Item(Struct):
    symbol: str


class _Book(Struct):
    bids: list[Raw] = []
    asks: list[Raw] = []


class _Result(Struct):
    channel: str = ""
    depth: int = 0


_FRAME = msgspec.json.Decoder(_Frame)
_ITEMS = msgspec.json.Decoder(list[_Item])
_BOOKS = msgspec.json.Decoder(list[_Book])
_RESULT = msgspec.json.Decoder(_Result)


def classify(frame: bytes) -> FrameClass:
    """Return the class of a recorded frame.

    Raises:
        FrameRefused: not a frame of this venue.
    """
    seen = decode("kraken", _FRAME, frame)
    if (answer := rest_answer(seen)) is not None:
        return answer
    if seen.channel is UNSET:
        if seen.method is UNSET and seen.error is UNSET:
            raise FrameRefused("kraken", "not a Kraken frame: neither channel nor method")
        return FrameClass(depth=_confirmed_depth(seen))
    feed = feed_of(seen.channel)
    if feed not in (BOOK, TRADES):
        return FrameClass(((feed, ""),))
    if seen.data is UNSET:
        raise FrameRefused("kraken", f"{seen.channel} without data")
    items = decode("kraken", _ITEMS, seen.data)
    keys = tuple(dict.fromkeys((feed, item.symbol) for item in items))
    return FrameClass(keys, levels=_snapshot_levels(seen.data) if feed == BOOK and _is_snapshot(seen) else 0)


def _is_snapshot(frame: _Frame) -> bool:
    return frame.type is not UNSET and bytes(frame.type) == b'"snapshot"'


def _snapshot_levels(data: Raw) -> int:
    try:
        books = _BOOKS.decode(data)
    except msgspec.DecodeError:  # reported when the levels are parsed
        return 0
    return max((len(side) for book in books for side in (book.bids, book.asks)), default=0)


def _confirmed_depth(frame: _Frame) -> int:
    if frame.method != "subscribe" or frame.result is UNSET:
        return 0
    try:
        result = _RESULT.decode(frame.result)
    except msgspec.DecodeError:  # malformed: confirms nothing
        return 0
    return result.depth if result.channel == "book" else 0


DIALECT: Final = Dialect(KrakenSession, classify, path="/v2", depths=DEPTHS)
