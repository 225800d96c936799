"""Server side of OKX's WebSocket v5 (https://www.okx.com/docs-v5/en/#overview-websocket-subscribe)."""

from __future__ import annotations

from typing import Any, Final

import msgspec

from alphapulse.errors import FrameRefused
from producers.venue_server.dialects import Dialect
from producers.venue_server.frames import FrameClass
from producers.venue_server.session import BOOK, TRADES, SessionAnswer, VenueSession, VenueSubscription, encode
from producers.venue_server.session import decode_object as _decode_object
from producers.venues.okx.messages import PONG, decode_frame

FEEDS: Final = {"books": BOOK, "trades": TRADES}
_WITHOUT_DATA = ("tickers", "bbo-tbt", "books5")
_CONNECTION: Final = "a4d3ae55"


class OkxSession(VenueSession):
    """Session with subscribe and unsubscribe, one answer per argument; the text ``ping`` is answered with ``pong``."""

    def is_ping(self, message: bytes) -> bool:
        return message == b"ping"

    def too_many(self, message: bytes, time_ns: int) -> SessionAnswer | None:
        return _error("60014", "Requests too frequent")

    def received(self, message: bytes, time_ns: int) -> SessionAnswer:
        if message == b"ping":
            return SessionAnswer([b"pong"])
        request = _decode_object(message)
        if request is None:
            return _error("60012", "Illegal request: no JSON object")
        operation, arguments = request.get("op"), request.get("args")
        if operation not in ("subscribe", "unsubscribe") or not isinstance(arguments, list) or not arguments:
            return _error("60012", f"Illegal request: {message[:200].decode(errors='replace')}")
        answer = SessionAnswer()
        for argument in arguments:
            self._take(str(operation), argument if isinstance(argument, dict) else {}, answer)
        return answer

    def _take(self, operation: str, argument: dict[str, Any], answer: SessionAnswer) -> None:
        channel, symbol = argument.get("channel"), argument.get("instId")
        known = isinstance(channel, str) and (channel in FEEDS or channel in _WITHOUT_DATA)
        if not known or not isinstance(symbol, str) or not self.knows(symbol):
            text = f"channel:{channel},instId:{symbol} doesn't exist"
            answer.replies += _error("60018", f"Wrong URL or {text}. Please use the correct URL, channel.").replies
            return
        key = FEEDS.get(str(channel), str(channel)), symbol
        if operation == "subscribe" and self.refuses(key):
            answer.replies += _error("50001", "Service temporarily unavailable. Try again later.").replies
            return
        arg = {"channel": channel, "instId": symbol}
        answer.replies.append(encode({"event": operation, "arg": arg, "connId": _CONNECTION}))
        if operation == "unsubscribe":
            self._unsubscribe(key, answer)
        elif key not in self.subscriptions:
            self._subscribe(VenueSubscription(key[0], symbol, str(channel)), answer)


def _error(code: str, text: str) -> SessionAnswer:
    return SessionAnswer([encode({"event": "error", "code": code, "msg": text, "connId": _CONNECTION})])


def classify(frame: bytes) -> FrameClass:
    """Return the class of a recorded frame.

    Raises:
        FrameRefused: not a frame of this venue.
    """
    if frame == PONG:
        return FrameClass()
    try:
        message = decode_frame(frame)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise FrameRefused("okx", f"unknown shape: {error}") from error
    if message.event is not None:
        return FrameClass()
    if message.arg is None or not message.arg.channel:
        raise FrameRefused("okx", "not an OKX frame: neither event nor arg")
    return FrameClass(((FEEDS.get(message.arg.channel, message.arg.channel), message.arg.inst_id),))


DIALECT: Final = Dialect(OkxSession, classify, path="/ws/v5/public")
