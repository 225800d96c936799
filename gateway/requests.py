"""Stream protocol, version 1: messages from clients (to clients: :mod:`gateway.protocol`). Pure."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final, TypeAlias

import orjson

from alphapulse.errors import RequestRefused
from alphapulse.shown import shown
from gateway.channels import CHANNELS
from gateway.protocol import RequestId, Subscription

MAX_MESSAGE: Final = 4096
"""Maximum characters of a client's message; the longest valid one has about 150."""
MAX_ID: Final = 64

OPERATIONS: Final = ("subscribe", "unsubscribe", "ping")


@dataclass(frozen=True, slots=True)
class Subscribe:
    id: RequestId
    subscription: Subscription


@dataclass(frozen=True, slots=True)
class Unsubscribe:
    id: RequestId
    subscription: Subscription


@dataclass(frozen=True, slots=True)
class Ping:
    id: RequestId


ClientMessage: TypeAlias = Subscribe | Unsubscribe | Ping


def parse(text: str | None) -> ClientMessage:
    """Parse the client's message in ``text`` (None: a binary one). Fields unknown to version 1 are ignored.

    Raises:
        RequestRefused: it is invalid; code and message name the key and the reason.
    """
    if text is None:
        raise RequestRefused("not_text", "binary message; the protocol is JSON text")
    if len(text) > MAX_MESSAGE:
        raise RequestRefused("too_long", f"message of {len(text)} characters; the maximum is {MAX_MESSAGE}")
    try:
        fields = orjson.loads(text)
    except orjson.JSONDecodeError as error:
        raise RequestRefused("bad_json", f"not JSON: {error}, found {text[:80]!r}") from error
    if not isinstance(fields, dict):
        raise RequestRefused("bad_json", f"expected a JSON object, found {text[:80]!r}")
    request_id = _request_id(fields)
    try:
        return _message(fields, request_id)
    except RequestRefused as error:
        error.request_id = request_id
        raise


def _message(fields: dict[str, Any], request_id: RequestId) -> ClientMessage:
    operation = _text(fields, "op")
    if operation == "ping":
        return Ping(request_id)
    if operation not in OPERATIONS:
        raise RequestRefused("unknown_op", f"op: {operation[:80]!r} unknown; known: {', '.join(OPERATIONS)}")
    channel = _text(fields, "channel")
    if channel not in CHANNELS:
        raise RequestRefused("unknown_channel", f"channel: {channel[:80]!r} unknown; known: {', '.join(CHANNELS)}")
    venue = None
    if CHANNELS[channel].takes_venue:
        venue = _text(fields, "venue")
    elif fields.get("venue") is not None:
        raise RequestRefused("bad_value", f"venue: not accepted by {channel}, which spans venues")
    subscription = Subscription(channel, venue, _text(fields, "symbol"))
    return Subscribe(request_id, subscription) if operation == "subscribe" else Unsubscribe(request_id, subscription)


def _request_id(fields: dict[str, Any]) -> RequestId:
    value = fields.get("id")
    if value is None or (isinstance(value, int) and not isinstance(value, bool)):
        return value
    if isinstance(value, str) and len(value) <= MAX_ID:
        return value
    raise RequestRefused("bad_value", f"id: expected an integer or up to {MAX_ID} characters, found {shown(value)}")


def _text(fields: dict[str, Any], key: str) -> str:
    if key not in fields:
        raise RequestRefused("missing_key", f"{key}: missing")
    value = fields[key]
    if not isinstance(value, str):
        raise RequestRefused("bad_value", f"{key}: expected text, found {shown(value)}")
    return value
