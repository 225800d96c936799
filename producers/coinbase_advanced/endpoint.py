"""Coinbase Advanced Trade's end of its WebSocket feed.

https://docs.cdp.coinbase.com/coinbase-app/advanced-trade-apis/websocket/websocket-overview
"""

from __future__ import annotations

from collections.abc import Collection
from typing import Any, Final

from producers.coinbase_advanced.symbols import sent_as
from producers.endpoint.dialects import Dialect
from producers.endpoint.session import BOOK, HEARTBEATS, TRADES, Answer, Session, Subscription, encode, timestamp
from producers.endpoint.session import decode_object as _decode_object

UNNUMBERED: Final = b'"sequence_num":-1,'
"""In a frame that all clients get: each connection puts its own number there."""

_FEEDS: Final = {"level2": BOOK, "market_trades": TRADES, "heartbeats": HEARTBEATS}
_WITHOUT_DATA = ("ticker", "ticker_batch", "status", "candles")
_WITH_KEYS = ("user", "futures_balance_summary")


class CoinbaseAdvancedSession(Session):
    """Subscribe and unsubscribe, one channel a message; all frames of the connection are numbered."""

    numbers_frames = True

    def __init__(self, symbols: Collection[str]) -> None:
        super().__init__(symbols)
        self._number = 0
        self._beats = 0

    def received(self, message: bytes, time_ns: int) -> Answer:
        request = _decode_object(message)
        kind = request.get("type") if request is not None else None
        if request is None or kind not in ("subscribe", "unsubscribe"):
            return _error("invalid message: type must be subscribe or unsubscribe")
        channel, products = request.get("channel"), request.get("product_ids", [])
        if not isinstance(channel, str) or (channel not in _FEEDS and channel not in _WITHOUT_DATA):
            return _error("authentication failure" if channel in _WITH_KEYS else f"channel {channel} is not supported")
        if not isinstance(products, list):
            return _error("product_ids must be a list")
        names = [sent_as(str(product)) for product in products]
        if unknown := [name for name in names if name not in self.symbols]:
            return _error(f"product {unknown[0]} is not found")
        if kind == "subscribe" and self.refuses():
            return _error("failed to subscribe")
        answer = Answer()
        feed = _FEEDS.get(channel, channel)
        for name in dict.fromkeys([""] if feed == HEARTBEATS else names):
            if kind == "unsubscribe":
                self._unsubscribe((feed, name), answer)
            elif (feed, name) not in self.subscriptions:
                self._subscribe(Subscription(feed, name, channel), answer)
        answer.replies.append(self._listing(time_ns))
        return answer

    def outgoing(self, frame: bytes) -> bytes:
        if UNNUMBERED not in frame:
            return frame
        number, self._number = self._number, self._number + 1
        return frame.replace(UNNUMBERED, b'"sequence_num":%d,' % number, 1)

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
    """Return a frame without a number."""
    return encode({"channel": channel, "timestamp": timestamp(time_ns), "sequence_num": -1, "events": events})


def _error(text: str) -> Answer:
    return Answer([encode({"type": "error", "message": text})])


DIALECT: Final = Dialect(CoinbaseAdvancedSession, subscribe_seconds=5.0)
