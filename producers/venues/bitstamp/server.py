"""Bitstamp's end of its WebSocket v2 (https://www.bitstamp.net/websocket/v2/)."""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping
from typing import Final

import msgspec
from msgspec import UNSET, UnsetType

from alphapulse.errors import FrameRefused
from producers.venue_server.dialects import Dialect
from producers.venue_server.frames import FrameClass, RecordedFrame, decode, rest_answer
from producers.venue_server.session import BOOK, TRADES, SessionAnswer, VenueSession, VenueSubscription, encode
from producers.venue_server.session import decode_object as _decode_object
from producers.venues.bitstamp.messages import split_channel

SNAPSHOT_PATH: Final = "/api/v2/order_book/"

FEEDS: Final = {"diff_order_book": BOOK, "live_trades": TRADES}
_WITHOUT_DATA: Final = ("order_book", "detail_order_book", "live_orders", "funding_rate")
_CHANNEL: Final = re.compile(r"[a-z]+(?:_[a-z]+)*_[a-z0-9-]+", re.ASCII)
_ALIVE: Final = encode({"event": "bts:heartbeat", "channel": "", "data": {"status": "success"}})


class BitstampSession(VenueSession):
    """Subscribe and unsubscribe, one channel and one answer per message; ``bts:heartbeat`` is answered likewise.

    A well-formed channel of a market that does not exist is confirmed and stays silent, as at the venue.
    """

    def is_ping(self, message: bytes) -> bool:
        return b'"bts:heartbeat"' in message

    def received(self, message: bytes, time_ns: int) -> SessionAnswer:
        request = _decode_object(message)
        if request is None:
            return _error("Incorrect JSON format.")
        event, data = request.get("event"), request.get("data")
        if event == "bts:heartbeat":
            return SessionAnswer([_ALIVE])
        channel = data.get("channel") if isinstance(data, dict) else None
        if event not in ("bts:subscribe", "bts:unsubscribe") or not isinstance(channel, str):
            return _error("Bad subscription string.")
        kind, market = split_channel(channel)
        if _CHANNEL.fullmatch(channel) is None or (kind not in FEEDS and kind not in _WITHOUT_DATA):
            return _error("Invalid channel provided.")
        key = FEEDS.get(kind, kind), market
        if event == "bts:subscribe" and self.refuses(key):
            return _error("VenueSubscription failed. Please try again later.")
        answer = SessionAnswer([encode({"event": f"{event[:-2]}ption_succeeded", "channel": channel, "data": {}})])
        if event == "bts:unsubscribe":
            self._unsubscribe(key, answer)
        elif self.knows(market) and key not in self.subscriptions:
            self._subscribe(VenueSubscription(*key, channel), answer)
        return answer


def _error(text: str) -> SessionAnswer:
    return SessionAnswer([encode({"event": "bts:error", "channel": "", "data": {"code": None, "message": text}})])


def rest_error(code: str, text: str) -> bytes:
    """Return the body of a refused REST request: https://www.bitstamp.net/api/#section/Response-codes."""
    return encode({"response_code": code, "response_explanation": text})


UNKNOWN_MARKET: Final = rest_error("404.002", "Currency pair not found.")


def rest_refusal(status: int) -> bytes:
    """Return the body that comes with ``status`` where nothing is wrong with the request."""
    if status == 429:
        return rest_error("400.002", "Request rejected due to exceeded rate limit.")
    return rest_error(f"{status}.001", "The service is unavailable.")


def rest_fault(path: str, query: Mapping[str, str], symbols: Collection[str]) -> bytes | None:
    """Return the body of the refusal of a request for the book of a market that does not exist."""
    named = path.removeprefix(SNAPSHOT_PATH).removesuffix("/")
    return UNKNOWN_MARKET if path.startswith(SNAPSHOT_PATH) and named not in symbols else None


# --- recorded frames ---


class _Frame(RecordedFrame):
    event: str | UnsetType = UNSET
    channel: str = ""


_FRAME = msgspec.json.Decoder(_Frame)
_FEED_OF_EVENT: Final = {"data": BOOK, "trade": TRADES}


def classify(frame: bytes) -> FrameClass:
    """Return what a recorded frame is about.

    The confirmation of a book's subscription is where its stream begins anew: it goes to whom the book goes. What asked
    the recorder to connect again is nobody else's concern.

    Raises:
        FrameRefused: it is no frame of this venue's.
    """
    seen = decode("bitstamp", _FRAME, frame)
    if (answer := rest_answer(seen)) is not None:
        return answer
    if seen.event is UNSET:
        raise FrameRefused("bitstamp", "no event in it")
    kind, market = split_channel(seen.channel)
    feed = FEEDS.get(kind, kind)
    if seen.event == "bts:subscription_succeeded" and feed == BOOK:
        return FrameClass(((BOOK, market),))
    if seen.event.startswith("bts:"):
        return FrameClass(conversation=seen.event == "bts:request_reconnect")
    if not market or (feed in (BOOK, TRADES) and _FEED_OF_EVENT.get(seen.event) != feed):
        raise FrameRefused("bitstamp", f"{seen.event} of {seen.channel or 'no channel'}")
    return FrameClass(((feed, market),))


DIALECT: Final = Dialect(
    BitstampSession,
    classify,
    # Seen on the wire; the documentation does not speak of it.
    ping_seconds=54.0,
    snapshot_path=SNAPSHOT_PATH,
    rest_fault=rest_fault,
    rest_refusal=rest_refusal,
)
