"""Server side of Alpaca's stream (https://docs.alpaca.markets/docs/streaming-market-data). Any key is accepted."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from math import inf
from typing import Any, Final

import msgspec

from alphapulse.errors import FrameRefused
from producers.venue_server.dialects import Dialect
from producers.venue_server.frames import FrameClass
from producers.venue_server.session import BARS, QUOTES, TRADES, SessionAnswer, VenueSession, VenueSubscription
from producers.venue_server.session import decode_object as _decode_object

SYMBOLS_ON_IEX: Final = 30
_CHANNELS: Final = ("trades", "quotes", "bars", "updatedBars", "dailyBars", "statuses", "lulds")
_FEEDS: Final = {"trades": TRADES, "quotes": QUOTES, "bars": BARS}
_FEED_OF_KIND: Final = {
    **dict.fromkeys(("t", "c", "x"), TRADES), "q": QUOTES, "b": BARS, "u": "updatedBars", "d": "dailyBars",
    "s": "statuses", "l": "lulds", "i": "imbalances",
}  # fmt: skip
"""A subscription to trades includes corrections and cancels."""
_CONVERSATION: Final = frozenset({"success", "error", "subscription"})


class AlpacaSession(VenueSession):
    """Session with authentication, subscribe and unsubscribe; each answer lists all subscriptions."""

    def __init__(self, symbols: Collection[str]) -> None:
        super().__init__(symbols)
        self._authenticated = False
        self._most_symbols: float = SYMBOLS_ON_IEX

    def opened(self, path: str, query: Mapping[str, str]) -> SessionAnswer:
        self._most_symbols = SYMBOLS_ON_IEX if path.endswith("/iex") else inf
        return SessionAnswer()

    def greeting(self, time_ns: int) -> list[bytes]:
        return [_encode({"T": "success", "msg": "connected"})]

    def received(self, message: bytes, time_ns: int) -> SessionAnswer:
        request = _decode_object(message)
        if request is None:
            return _error(400, "invalid syntax")
        match request.get("action"):
            case "auth":
                return self._authenticate(request)
            case "subscribe" | "unsubscribe" as action:
                return self._change(action, request)
            case _:
                return _error(400, "invalid syntax")

    def _authenticate(self, request: dict[str, Any]) -> SessionAnswer:
        if self._authenticated:
            return _error(403, "already authenticated")
        if not request.get("key") or not request.get("secret"):
            return _error(402, "auth failed")
        if self.refuses(("", "")):
            return _error(406, "connection limit exceeded")
        self._authenticated = True
        return SessionAnswer([_encode({"T": "success", "msg": "authenticated"})])

    def _change(self, action: str, request: dict[str, Any]) -> SessionAnswer:
        if not self._authenticated:
            return _error(401, "not authenticated")
        wanted = {channel: request.get(channel, []) for channel in _CHANNELS}
        if not all(isinstance(names, list) for names in wanted.values()):
            return _error(400, "invalid syntax")
        keys = [(_FEEDS.get(channel, channel), str(name)) for channel in _CHANNELS for name in wanted[channel]]
        answer = SessionAnswer()
        if action == "unsubscribe":
            for key in keys:
                self._unsubscribe(key, answer)
        else:
            if len({name for feed, name in {*keys, *self.subscriptions} if feed == TRADES}) > self._most_symbols:
                return _error(405, "symbol limit exceeded")
            for feed, name in keys:
                if (feed, name) not in self.subscriptions and self.knows(name) and not self.refuses((feed, name)):
                    self._subscribe(VenueSubscription(feed, name, feed), answer)
        answer.replies.append(self._listing())
        return answer

    def _listing(self) -> bytes:
        of = {channel: [name for feed, name in self.subscriptions if feed == _FEEDS.get(channel, channel)]
              for channel in _CHANNELS}  # fmt: skip
        return _encode({"T": "subscription", **of, "corrections": of["trades"], "cancelErrors": of["trades"]})


def _error(code: int, text: str) -> SessionAnswer:
    return SessionAnswer([_encode({"T": "error", "code": code, "msg": text})])


def _encode(message: dict[str, Any]) -> bytes:
    return msgspec.json.encode([message])


class _Item(msgspec.Struct):
    T: str
    S: str = ""


_ITEMS = msgspec.json.Decoder(list[_Item])


def classify(frame: bytes) -> FrameClass:
    """Return the class of a recorded frame. The venue's answers to the recorder are not replayed.

    Raises:
        FrameRefused: not a frame of this venue.
    """
    try:
        items = _ITEMS.decode(frame)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise FrameRefused("alpaca", f"unknown shape: {error}") from error
    if unknown := [item.T for item in items if item.T not in _FEED_OF_KIND and item.T not in _CONVERSATION]:
        raise FrameRefused("alpaca", f"unknown message type {unknown[0][:80]!r}")
    data = [item for item in items if item.T in _FEED_OF_KIND]
    return FrameClass(tuple(dict.fromkeys((_FEED_OF_KIND[item.T], item.S) for item in data)), conversation=not data)


DIALECT: Final = Dialect(AlpacaSession, classify, path="/v2/iex", ping_seconds=10.0, key="any", recorded_path="/v2/sip")
