"""Server side of Coinbase Advanced Trade's WebSocket feed.

https://docs.cdp.coinbase.com/coinbase-app/advanced-trade-apis/websocket/websocket-overview
"""

from __future__ import annotations

from collections.abc import Collection
from typing import Any, Final

import msgspec

from alphapulse.errors import FrameRefused
from producers.venue_server.dialects import Dialect
from producers.venue_server.frames import FrameClass
from producers.venue_server.session import (
    BOOK,
    HEARTBEATS,
    TRADES,
    SessionAnswer,
    VenueSession,
    VenueSubscription,
    encode,
    timestamp,
)
from producers.venue_server.session import decode_object as _decode_object
from producers.venues.coinbase_advanced.numbering import UNNUMBERED, RecordedNumbers
from producers.venues.coinbase_advanced.symbols import sent_as

_FEEDS: Final = {"level2": BOOK, "market_trades": TRADES, "heartbeats": HEARTBEATS}
_WITHOUT_DATA = ("ticker", "ticker_batch", "status", "candles")
_WITH_KEYS = ("user", "futures_balance_summary")


class CoinbaseAdvancedSession(VenueSession):
    """Session with subscribe and unsubscribe, one channel per message; all frames of the connection are numbered."""

    numbers_frames = True

    def __init__(self, symbols: Collection[str]) -> None:
        super().__init__(symbols)
        self._beats = 0

    def too_many(self, message: bytes, time_ns: int) -> SessionAnswer | None:
        return _error("rate limit exceeded")

    def received(self, message: bytes, time_ns: int) -> SessionAnswer:
        request = _decode_object(message)
        kind = request.get("type") if request is not None else None
        if request is None or kind not in ("subscribe", "unsubscribe"):
            return _error("invalid message: type must be subscribe or unsubscribe")
        channel, products = request.get("channel"), request.get("product_ids", [])
        if not isinstance(channel, str) or (channel not in _FEEDS and channel not in _WITHOUT_DATA):
            return _error("authentication failure" if channel in _WITH_KEYS else f"channel {channel} is not supported")
        if not isinstance(products, list):
            return _error("product_ids must be a list")
        names = [name if name in self.symbols else sent_as(name) for name in map(str, products)]
        if kind == "subscribe" and (unknown := [name for name in names if not self.knows(name)]):
            return _error(f"product {unknown[0]} is not found")
        feed = _FEEDS.get(channel, channel)
        names = list(dict.fromkeys([""] if feed == HEARTBEATS else names))
        if kind == "subscribe" and any(self.refuses((feed, name)) for name in names):
            return _error("failed to subscribe")
        answer = SessionAnswer()
        for name in names:
            if kind == "unsubscribe":
                self._unsubscribe((feed, name), answer)
            elif (feed, name) not in self.subscriptions:
                self._subscribe(VenueSubscription(feed, name, channel), answer)
        answer.replies.append(self._listing(time_ns))
        return answer

    def outgoing(self, frame: bytes) -> bytes:
        if UNNUMBERED not in frame:
            return frame
        number, self.next_number = self.next_number, self.next_number + 1
        return frame.replace(UNNUMBERED, b'"sequence_num":%d' % number, 1)

    def heartbeat(self, time_ns: int, *, idle: bool) -> list[bytes]:
        if (HEARTBEATS, "") not in self.subscriptions:
            return []
        self._beats += 1
        event = {"current_time": timestamp(time_ns), "heartbeat_counter": self._beats}
        return [message("heartbeats", time_ns, [event])]

    def _listing(self, time_ns: int) -> bytes:
        channels: dict[str, list[str]] = {}
        for subscription in self.subscriptions.values():
            channels.setdefault(subscription.channel, []).append(subscription.symbol or "heartbeats")
        return message("subscriptions", time_ns, [{"subscriptions": channels}])


def message(channel: str, time_ns: int, events: list[dict[str, Any]]) -> bytes:
    """Return a frame without a sequence number."""
    return encode({"channel": channel, "timestamp": timestamp(time_ns), "sequence_num": -1, "events": events})


def _error(text: str) -> SessionAnswer:
    return SessionAnswer([encode({"type": "error", "message": text})])


class _Product(msgspec.Struct):
    product_id: str


class _Event(msgspec.Struct):
    product_id: str = ""
    trades: list[_Product] = []


class _Frame(msgspec.Struct):
    channel: str = ""
    type: str = ""
    sequence_num: int | None = None
    events: list[_Event] = []


_FRAME = msgspec.json.Decoder(_Frame)
_FEED_OF_CHANNEL: Final = {"l2_data": BOOK, "market_trades": TRADES}


def classify(frame: bytes) -> FrameClass:
    """Return the class of a recorded frame.

    Raises:
        FrameRefused: not a frame of this venue.
    """
    try:
        seen = _FRAME.decode(frame)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise FrameRefused("coinbase_advanced", f"unknown shape: {error}") from error
    if seen.type == "error" and not seen.channel:
        return FrameClass()
    if not seen.channel or seen.sequence_num is None:
        raise FrameRefused(
            "coinbase_advanced", "not a Coinbase Advanced Trade frame: neither channel and sequence_num nor error"
        )
    feed = _FEED_OF_CHANNEL.get(seen.channel)
    if feed is None:
        return FrameClass(((seen.channel, ""),) if seen.channel != "subscriptions" else ())
    named = [
        name for event in seen.events for name in (event.product_id, *(t.product_id for t in event.trades)) if name
    ]
    return FrameClass(tuple((feed, name) for name in dict.fromkeys(named)))


DIALECT: Final = Dialect(CoinbaseAdvancedSession, classify, subscribe_seconds=5.0, recorded=RecordedNumbers)
