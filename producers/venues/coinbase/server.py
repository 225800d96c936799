"""Server side of Coinbase Exchange's feed (https://docs.cdp.coinbase.com/exchange/websocket-feed/overview)."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any, Final

import msgspec
from msgspec import UNSET, UnsetType

from alphapulse.errors import FrameRefused
from producers.venue_server.dialects import Dialect
from producers.venue_server.frames import FrameClass, RecordedFrame, decode, rest_answer
from producers.venue_server.session import (
    BOOK,
    HEARTBEATS,
    TRADES,
    Key,
    SessionAnswer,
    VenueSession,
    VenueSubscription,
    encode,
    timestamp,
)
from producers.venue_server.session import decode_object as _decode_object

_FEEDS = {"level2": BOOK, "level2_batch": BOOK, "matches": TRADES, "heartbeat": HEARTBEATS}
_WITHOUT_DATA = ("status", "ticker", "ticker_batch", "auctionfeed", "rfq_matches")
_WITH_KEYS = ("level2", "full", "user", "level3")
"""Channels that require an authenticated subscription."""


class _Trade(msgspec.Struct):
    """The last-trade fields of a match, last_match or heartbeat."""

    product_id: str
    sequence: int
    trade_id: int = 0
    last_trade_id: int = 0


_TRADE = msgspec.json.Decoder(_Trade)


class CoinbaseSession(VenueSession):
    """Session with subscribe and unsubscribe; answers list all subscriptions. One invalid product refuses a message."""

    def __init__(self, symbols: Collection[str]) -> None:
        super().__init__(symbols)
        self._last_trades: dict[str, _Trade] = {}

    def too_many(self, message: bytes, time_ns: int) -> SessionAnswer | None:
        return _error("Failed to subscribe", "Rate limit exceeded")

    def received(self, message: bytes, time_ns: int) -> SessionAnswer:
        request = _decode_object(message)
        if request is None:
            return SessionAnswer([encode({"type": "error", "message": "Malformed JSON"})])
        kind = request.get("type")
        if kind not in ("subscribe", "unsubscribe"):
            return _error("Failed to subscribe", "Type has to be either subscribe or unsubscribe")
        wanted = _wanted(request)
        if not wanted:
            return _error(f"Failed to {kind}", "No channels provided")
        answer = SessionAnswer()
        if kind == "unsubscribe":
            for channel, product in wanted:
                for key in self._keys(channel, product):
                    self._unsubscribe(key, answer)
        else:
            reason = self._fault(wanted, signed="signature" in request)
            keys = [(_FEEDS.get(channel, channel), product) for channel, product in wanted]
            if reason is None and any(map(self.refuses, keys)):
                reason = "Too many subscriptions; try again"
            if reason is not None:
                return _error("Failed to subscribe", reason)
            for key, (channel, _) in zip(keys, wanted, strict=True):
                if key not in self.subscriptions:
                    self._subscribe(VenueSubscription(*key, channel), answer)
        answer.replies.append(self._listing())
        return answer

    def outgoing(self, frame: bytes) -> bytes:
        if frame.startswith(b'{"type":"l2update"'):
            return frame
        if b'"match"' in frame or b'"last_match"' in frame or b'"heartbeat"' in frame:
            try:
                trade = _TRADE.decode(frame)
            except msgspec.DecodeError:  # a malformed frame is sent unchanged; it names no trade
                return frame
            self._last_trades[trade.product_id] = trade
        return frame

    def heartbeat(self, time_ns: int, *, idle: bool) -> list[bytes]:
        """Return one heartbeat per subscribed product, with the ids of its last trade if known."""
        beats = []
        for feed, product in self.subscriptions:
            known = self._last_trade(product) if feed == HEARTBEATS else None
            if known is not None:
                numbers = {"last_trade_id": known[0], "sequence": known[1]}
                beats.append(
                    encode({"type": "heartbeat", **numbers, "product_id": product, "time": timestamp(time_ns)})
                )
        return beats

    def _last_trade(self, product: str) -> tuple[int, int] | None:
        sent = self._last_trades.get(product)
        return self.last_trade(product) or (
            (sent.trade_id or sent.last_trade_id, sent.sequence) if sent is not None else None
        )

    def _keys(self, channel: str, product: str) -> list[Key]:
        """Return the keys of an unsubscribe: without products it ends the channel for all of them."""
        feed = _FEEDS.get(channel, channel)
        if product:
            return [(feed, product)]
        return [key for key in self.subscriptions if key[0] == feed]

    def _fault(self, wanted: list[tuple[str, str]], *, signed: bool) -> str | None:
        for channel, product in wanted:
            if channel in _WITH_KEYS and not signed:
                return f"{channel} requires authentication"
            if channel not in _FEEDS and channel not in _WITHOUT_DATA and channel not in _WITH_KEYS:
                return f"{channel} is not a valid channel"
            if channel != "status" and not self.knows(product):
                return f"{product} is not a valid product"
        return None

    def _listing(self) -> bytes:
        channels: dict[str, list[str]] = {}
        for subscription in self.subscriptions.values():
            channels.setdefault(subscription.channel, []).append(subscription.symbol)
        listed = [{"name": name, "product_ids": products, "account_ids": None} for name, products in channels.items()]
        return encode({"type": "subscriptions", "channels": listed})


def _wanted(request: dict[str, Any]) -> list[tuple[str, str]]:
    """Return (channel, product) pairs; a channel's own product_ids are added to the message's."""
    pairs: list[tuple[str, str]] = []
    channels = request.get("channels")
    for channel in channels if isinstance(channels, list) else []:
        own = channel if isinstance(channel, dict) else {"name": channel}
        products = [*_texts(request.get("product_ids")), *_texts(own.get("product_ids"))]
        pairs += [(str(own.get("name")), product) for product in dict.fromkeys(products) or [""]]
    return pairs


def _texts(value: object) -> list[str]:
    return [str(item) for item in value] if isinstance(value, list) else []


def _error(message: str, reason: str) -> SessionAnswer:
    return SessionAnswer([encode({"type": "error", "message": message, "reason": reason})])


# --- recorded frames ---


class _Frame(RecordedFrame):
    type: str | UnsetType = UNSET
    product_id: str | UnsetType = UNSET


_FRAME = msgspec.json.Decoder(_Frame)
_FEED_OF_KIND = {"snapshot": BOOK, "l2update": BOOK, "match": TRADES, "last_match": TRADES, "heartbeat": HEARTBEATS}


def classify(frame: bytes) -> FrameClass:
    """Return the class of a recorded frame.

    Raises:
        FrameRefused: not a frame of this venue.
    """
    seen = decode("coinbase", _FRAME, frame)
    if (answer := rest_answer(seen)) is not None:
        return answer
    if seen.type is UNSET:
        raise FrameRefused("coinbase", "not a Coinbase frame: no type")
    feed = _FEED_OF_KIND.get(seen.type)
    if seen.product_id is UNSET:
        if feed is not None:
            raise FrameRefused("coinbase", f"{seen.type} without product_id")
        return FrameClass()
    return FrameClass(((feed or seen.type, seen.product_id),))


DIALECT: Final = Dialect(CoinbaseSession, classify, subscribe_seconds=5.0)
