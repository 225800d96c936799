"""Server side of Binance's and Binance.US's market streams.

https://developers.binance.com/docs/binance-spot-api-docs/web-socket-streams
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any, Final

import msgspec
from msgspec import UNSET, Raw, Struct, UnsetType

from alphapulse.errors import FrameRefused
from producers.venue_server.dialects import Dialect
from producers.venue_server.frames import FrameClass, RecordedFrame, decode, rest_answer
from producers.venue_server.session import BOOK, TRADES, Key, SessionAnswer, VenueSession, VenueSubscription, encode
from producers.venue_server.session import decode_object as _decode_object

DEPTH_PATH = "/api/v3/depth"
STREAMS_PER_CONNECTION = 1024

_METHODS = ("SUBSCRIBE", "UNSUBSCRIBE", "LIST_SUBSCRIPTIONS", "SET_PROPERTY", "GET_PROPERTY")


class _Combined(msgspec.Struct):
    stream: str
    data: msgspec.Raw


_COMBINED = msgspec.json.Decoder(_Combined)


def stream_key(stream: str) -> Key:
    """Return feed and symbol of a stream name: ``btcusdt@depth@100ms`` → (book, ``BTCUSDT``)."""
    symbol, _, channel = stream.partition("@")
    if channel == "depth" or channel.startswith("depth@"):  # depth5, depth10, depth20 are not diffs
        return BOOK, symbol.upper()
    if channel in ("trade", "aggTrade"):
        return TRADES, symbol.upper()
    return channel, symbol.upper()


class BinanceSession(VenueSession):
    """Session with subscriptions by address or by message. As at the venue, an unknown symbol is accepted but silent.

    ``/stream`` sends frames as ``{"stream", "data"}``, ``/ws`` sends the data alone.
    """

    def __init__(self, symbols: Collection[str]) -> None:
        super().__init__(symbols)
        self.combined = True
        self._streams: dict[str, VenueSubscription] = {}

    def opened(self, path: str, query: Mapping[str, str]) -> SessionAnswer:
        answer = SessionAnswer()
        self.combined = not path.startswith("/ws")
        names = query.get("streams", "") if self.combined else path.removeprefix("/ws")
        # The venue does not document what happens beyond the streams that a connection carries.
        self._add([name for name in names.split("/") if name][:STREAMS_PER_CONNECTION], answer)
        return answer

    def outgoing(self, frame: bytes) -> bytes:
        if self.combined:
            return frame
        try:
            return bytes(_COMBINED.decode(frame).data)
        except msgspec.DecodeError:  # recorded raw, or malformed: sent unchanged
            return frame

    def received(self, message: bytes, time_ns: int) -> SessionAnswer:
        request = _decode_object(message)
        if request is None:
            return _error(3, "Invalid JSON: expected value at line 1 column 1", None)
        number = request.get("id")
        if not isinstance(number, int | str):
            return _error(2, "Invalid request: request ID must be an unsigned integer", None)
        method, params = request.get("method"), request.get("params")
        if method not in _METHODS:
            known = ", ".join(_METHODS)
            return _error(2, f"Invalid request: unknown variant {method}, expected one of {known}", number)
        if method == "LIST_SUBSCRIPTIONS":
            return SessionAnswer([encode({"result": list(self._streams), "id": number})])
        if method.endswith("PROPERTY"):
            return self._property(method, params, number)
        if not isinstance(params, list) or not all(isinstance(name, str) for name in params):
            return _error(2, "Invalid request: params must be an array of strings", number)
        return self._change(method, params, number)

    def _change(self, method: str, names: list[str], number: int | str) -> SessionAnswer:
        answer = SessionAnswer()
        if method == "UNSUBSCRIBE":
            self._drop(names, answer)
        elif len(set(names) | set(self._streams)) > STREAMS_PER_CONNECTION:
            return _error(2, f"Invalid request: more than {STREAMS_PER_CONNECTION} streams", number)
        else:
            self._add(names, answer)
        answer.replies.append(encode({"result": None, "id": number}))
        return answer

    def _property(self, method: str, params: object, number: int | str) -> SessionAnswer:
        if not isinstance(params, list) or not params or params[0] != "combined":
            return _error(0, "Unknown property", number)
        if method == "GET_PROPERTY":
            return SessionAnswer([encode({"result": self.combined, "id": number})])
        if len(params) < 2 or not isinstance(params[1], bool):
            return _error(1, "Invalid value type: expected Boolean", number)
        self.combined = params[1]
        return SessionAnswer([encode({"result": None, "id": number})])

    def _add(self, names: list[str], answer: SessionAnswer) -> None:
        for name in names:
            key = stream_key(name)
            # A refused stream stays silent.
            if name not in self._streams and not self.misses(key[1]) and not self.refuses(key):
                self._streams[name] = VenueSubscription(*key, name)
                self._subscribe(self._streams[name], answer)

    def _drop(self, names: list[str], answer: SessionAnswer) -> None:
        for name in names:
            dropped = self._streams.pop(name, None)
            # depth@100ms and depth@1000ms of a symbol are two streams of one feed.
            if dropped is not None and all(other.key != dropped.key for other in self._streams.values()):
                self._unsubscribe(dropped.key, answer)


def _error(code: int, text: str, number: Any) -> SessionAnswer:
    return SessionAnswer([encode({"error": {"code": code, "msg": text}, "id": number})])


def rest_error(code: int, text: str) -> bytes:
    """Return the body of a refused REST request."""
    return encode({"code": code, "msg": text})


INVALID_SYMBOL = rest_error(-1121, "Invalid symbol.")
MISSING_SYMBOL = rest_error(-1102, "Mandatory parameter 'symbol' was not sent, was empty/null, or malformed.")
SERVER_BUSY = rest_error(
    -1008, "Server is currently overloaded with other requests. Please try again in a few minutes."
)
"""Answered with status 503."""


def rest_refusal(status: int) -> bytes:
    """Return the body sent with ``status`` for a valid request that is refused.

    https://developers.binance.com/docs/binance-spot-api-docs/rest-api/limits
    """
    if status in (418, 429):
        return rest_error(-1003, "Too many requests; please use the websocket for live updates.")
    return (
        SERVER_BUSY if status == 503 else rest_error(-1000, "An unknown error occurred while processing the request.")
    )


def rest_fault(path: str, query: Mapping[str, str], symbols: Collection[str]) -> bytes | None:
    """Return the body of the refusal (status 400) of an invalid request; None if it is valid."""
    if path != DEPTH_PATH:
        return None
    symbol = query.get("symbol", "").upper()
    return (INVALID_SYMBOL if symbol not in symbols else None) if symbol else MISSING_SYMBOL


# --- recorded frames ---


class _Event(Struct):
    e: str = ""
    s: str = ""


class _Frame(RecordedFrame):
    stream: str | UnsetType = UNSET
    data: _Event | UnsetType = UNSET
    e: str | UnsetType = UNSET
    s: str = ""
    u: int | UnsetType = UNSET
    id: Raw | UnsetType = UNSET


_FRAME = msgspec.json.Decoder(_Frame)
_FEED_OF_EVENT = {"depthUpdate": BOOK, "trade": TRADES, "aggTrade": TRADES}


def classify(frame: bytes) -> FrameClass:
    """Return the class of a recorded frame of combined or raw streams.

    Raises:
        FrameRefused: not a frame of this venue.
    """
    seen = decode("binance", _FRAME, frame)
    if (answer := rest_answer(seen)) is not None:
        return answer
    if seen.stream is not UNSET:
        if seen.data is UNSET:
            raise FrameRefused("binance", "stream without data")
        feed, symbol = stream_key(seen.stream)
        if feed in (BOOK, TRADES) and (_FEED_OF_EVENT.get(seen.data.e) != feed or seen.data.s != symbol):
            raise FrameRefused("binance", f"{seen.stream} carries {seen.data.e or 'no event'} of {seen.data.s or '?'}")
        return FrameClass(((feed, symbol),))
    if seen.e is not UNSET:
        return FrameClass(((_FEED_OF_EVENT.get(seen.e, seen.e), seen.s),))
    if seen.u is not UNSET:  # a raw book ticker: the only event without "e"
        return FrameClass((("bookTicker", seen.s),))
    if seen.id is UNSET:
        raise FrameRefused("binance", "not a Binance frame: neither stream nor event nor id")
    return FrameClass()


def dialect(ping_seconds: float) -> Dialect:
    """Return the dialect of a venue with Binance's protocol that pings its clients every ``ping_seconds``."""
    return Dialect(
        BinanceSession,
        classify,
        ping_seconds=ping_seconds,
        snapshot_path=DEPTH_PATH,
        rest_fault=rest_fault,
        rest_refusal=rest_refusal,
    )


DIALECT: Final = dialect(20.0)
