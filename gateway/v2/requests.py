"""Messages from clients: one class each, which the parser and the AsyncAPI document share. Pure."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Annotated, Any, Final, Literal, TypeAlias, get_args

import msgspec
from msgspec import Meta, Struct

from alphapulse.errors import RequestRefused
from alphapulse.shown import shown
from gateway.v2.messages import Id

MAX_MESSAGE: Final = 32 * 1024
"""Maximum characters (JSON) or bytes (MessagePack) of a client's message: a full list of positions fits."""
MAX_LIST: Final = 200
"""Maximum items of a list."""
MAX_NAME: Final = 64
"""Maximum characters of a venue, a symbol, or a pattern."""

Name: TypeAlias = Annotated[str, Meta(min_length=1, max_length=MAX_NAME)]
Names: TypeAlias = Name | Annotated[list[Name], Meta(min_length=1, max_length=MAX_LIST)]
"""A name, a pattern (``*``: any characters), or a list of them."""
LevelCount: TypeAlias = Literal[1, 5, 10, 20]
Interval: TypeAlias = Literal[0, 100, 250, 1000]
"""Milliseconds; 0: each change."""


class BookPosition(Struct, frozen=True, forbid_unknown_fields=True):
    """Position of a client in a book: of its last message."""

    venue: Name
    symbol: Name
    epoch: Annotated[str, Meta(pattern=r"^\d{1,20}$")]
    sequence: Annotated[int, Meta(ge=-1, le=2**63 - 1)]


class TradePosition(Struct, frozen=True, forbid_unknown_fields=True):
    """Position of a client in the trades of an instrument: the last one it got."""

    venue: Name
    symbol: Name
    trade_id: Annotated[str, Meta(max_length=256)]


BookPositions: TypeAlias = Annotated[list[BookPosition], Meta(max_length=MAX_LIST)]
TradePositions: TypeAlias = Annotated[list[TradePosition], Meta(max_length=MAX_LIST)]
Position: TypeAlias = BookPosition | TradePosition


class _Request(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    id: Id = None


class _OfInstruments(_Request, frozen=True, kw_only=True, forbid_unknown_fields=True):
    venue: Names
    symbol: Names


# --- subscribe: one class per channel ------------------------------------------------------------------------


class SubscribeBook(_OfInstruments, frozen=True, kw_only=True, forbid_unknown_fields=True):
    op: Literal["subscribe"]
    channel: Literal["book"]
    levels: LevelCount = 20
    interval_ms: Interval = 0
    checksum: bool = False
    since: BookPositions = []


class SubscribeBbo(_OfInstruments, frozen=True, kw_only=True, forbid_unknown_fields=True):
    op: Literal["subscribe"]
    channel: Literal["bbo"]
    interval_ms: Interval = 0
    since: BookPositions = []


class SubscribeL2(_OfInstruments, frozen=True, kw_only=True, forbid_unknown_fields=True):
    op: Literal["subscribe"]
    channel: Literal["l2"]
    interval_ms: Interval = 0
    checksum: bool = False
    since: BookPositions = []


class SubscribeTrades(_OfInstruments, frozen=True, kw_only=True, forbid_unknown_fields=True):
    op: Literal["subscribe"]
    channel: Literal["trades"]
    interval_ms: Interval = 0
    snapshot: bool = True
    since: TradePositions = []


class SubscribeCandles(_OfInstruments, frozen=True, kw_only=True, forbid_unknown_fields=True):
    op: Literal["subscribe"]
    channel: Literal["candles"]
    candle_interval: Annotated[int, Meta(ge=1, le=604_800, description="Seconds; null: every interval.")] | None = None
    snapshot: bool = True


class SubscribeStats(_OfInstruments, frozen=True, kw_only=True, forbid_unknown_fields=True):
    op: Literal["subscribe"]
    channel: Literal["stats"]
    interval_ms: Interval = 0
    snapshot: bool = True


class SubscribeArbitrage(_Request, frozen=True, kw_only=True, forbid_unknown_fields=True):
    op: Literal["subscribe"]
    channel: Literal["arbitrage"]
    symbol: Names
    snapshot: bool = True


class SubscribeAlerts(_Request, frozen=True, kw_only=True, forbid_unknown_fields=True):
    op: Literal["subscribe"]
    channel: Literal["alerts"]
    venue: Names = "*"


class SubscribeStatus(_Request, frozen=True, kw_only=True, forbid_unknown_fields=True):
    op: Literal["subscribe"]
    channel: Literal["status"]
    venue: Names = "*"


Subscribe: TypeAlias = (
    SubscribeBook
    | SubscribeBbo
    | SubscribeL2
    | SubscribeTrades
    | SubscribeCandles
    | SubscribeStats
    | SubscribeArbitrage
    | SubscribeAlerts
    | SubscribeStatus
)


# --- the other operations ------------------------------------------------------------------------------------

InstrumentChannelName: TypeAlias = Literal["book", "bbo", "l2", "trades", "candles", "stats"]


class UnsubscribeInstruments(_OfInstruments, frozen=True, kw_only=True, forbid_unknown_fields=True):
    op: Literal["unsubscribe"]
    channel: InstrumentChannelName


class UnsubscribeArbitrage(_Request, frozen=True, kw_only=True, forbid_unknown_fields=True):
    op: Literal["unsubscribe"]
    channel: Literal["arbitrage"]
    symbol: Names


class UnsubscribeVenues(_Request, frozen=True, kw_only=True, forbid_unknown_fields=True):
    op: Literal["unsubscribe"]
    channel: Literal["alerts", "status"]
    venue: Names = "*"


class SnapshotBook(_OfInstruments, frozen=True, kw_only=True, forbid_unknown_fields=True):
    op: Literal["snapshot"]
    channel: Literal["book"]
    levels: LevelCount = 20


class SnapshotInstruments(_OfInstruments, frozen=True, kw_only=True, forbid_unknown_fields=True):
    op: Literal["snapshot"]
    channel: Literal["bbo", "l2", "trades", "candles", "stats"]


class SnapshotArbitrage(_Request, frozen=True, kw_only=True, forbid_unknown_fields=True):
    op: Literal["snapshot"]
    channel: Literal["arbitrage"]
    symbol: Names


class SnapshotStatus(_Request, frozen=True, kw_only=True, forbid_unknown_fields=True):
    op: Literal["snapshot"]
    channel: Literal["status"]
    venue: Names = "*"


class Ping(_Request, frozen=True, kw_only=True, forbid_unknown_fields=True):
    op: Literal["ping"]


class Auth(_Request, frozen=True, kw_only=True, forbid_unknown_fields=True):
    op: Literal["auth"]
    token: Annotated[str, Meta(min_length=1, max_length=16_384, description="A token or an API key.")]


Unsubscribe: TypeAlias = UnsubscribeInstruments | UnsubscribeArbitrage | UnsubscribeVenues
Snapshot: TypeAlias = SnapshotBook | SnapshotInstruments | SnapshotArbitrage | SnapshotStatus
Selecting: TypeAlias = Subscribe | Unsubscribe | Snapshot
"""Requests that select feeds."""
Request: TypeAlias = Selecting | Ping | Auth

CHANNELS: Final = ("book", "bbo", "l2", "trades", "candles", "stats", "arbitrage", "alerts", "status")


def _by_channel(kinds: Any) -> dict[str, type[Struct]]:
    """Return channel → class of a union of requests."""
    found: dict[str, type[Struct]] = {}
    for kind in get_args(kinds):
        (channels,) = (field.type for field in msgspec.structs.fields(kind) if field.name == "channel")
        found |= dict.fromkeys(get_args(channels), kind)
    return found


_BY_CHANNEL: Final[Mapping[str, Mapping[str, type[Struct]]]] = {
    "subscribe": _by_channel(Subscribe),
    "unsubscribe": _by_channel(Unsubscribe),
    "snapshot": _by_channel(Snapshot),
}
_WITHOUT_CHANNEL: Final[Mapping[str, type[Struct]]] = {"ping": Ping, "auth": Auth}
OPERATIONS: Final = (*_BY_CHANNEL, *_WITHOUT_CHANNEL)

_PLACE: Final = re.compile(r"(?P<reason>.*?)(?: - at `\$\.?(?P<path>.*)`)?", re.DOTALL)


def check_length(length: int) -> None:
    """Check the length of a message (characters or bytes).

    Raises:
        RequestRefused: it is too long.
    """
    if length > MAX_MESSAGE:
        raise RequestRefused("too_long", f"message of length {length}; the maximum is {MAX_MESSAGE}")


def parse(fields: Any) -> Request:
    """Return the request in a decoded message.

    Raises:
        RequestRefused: it is invalid; code and message name the key and the reason.
    """
    if not isinstance(fields, dict) or any(not isinstance(key, str) for key in fields):
        raise RequestRefused("bad_value", f"expected an object with text as keys, found {shown(fields)}")
    request_id = _request_id(fields)
    try:
        request: Request = _converted(_kind(fields), fields)  # type: ignore[assignment]
    except RequestRefused as error:
        error.request_id = request_id
        raise
    return request


def _request_id(fields: dict[str, Any]) -> int | str | None:
    value = fields.get("id")
    try:
        request_id: int | str | None = msgspec.convert(value, Id)
    except msgspec.ValidationError as error:
        raise RequestRefused(
            "bad_value", f"id: expected a 64-bit integer or up to 64 characters, found {shown(value)}"
        ) from error
    return request_id


def _kind(fields: dict[str, Any]) -> type[Struct]:
    operation = _text(fields, "op")
    if operation in _WITHOUT_CHANNEL:
        return _WITHOUT_CHANNEL[operation]
    of_channel = _BY_CHANNEL.get(operation)
    if of_channel is None:
        raise RequestRefused("unknown_op", f"op: {operation[:80]!r} unknown; known: {', '.join(OPERATIONS)}")
    channel = _text(fields, "channel")
    if channel not in of_channel:
        where = "" if operation == "subscribe" else f" for {operation}"
        raise RequestRefused(
            "unknown_channel", f"channel: {channel[:80]!r} unknown{where}; known: {', '.join(of_channel)}"
        )
    return of_channel[channel]


def _text(fields: dict[str, Any], key: str) -> str:
    if key not in fields:
        raise RequestRefused("missing_key", f"{key}: missing")
    value = fields[key]
    if not isinstance(value, str):
        raise RequestRefused("bad_value", f"{key}: expected text, found {shown(value)}")
    return value


def _converted(kind: type[Struct], fields: dict[str, Any]) -> Struct:
    known = {field.name: field for field in msgspec.structs.fields(kind)}
    if (unknown := next((key for key in fields if key not in known), None)) is not None:
        what = " ".join(str(fields[key]) for key in ("op", "channel") if key in known)
        raise RequestRefused("unknown_key", f"{unknown[:80]!r}: not a key of {what}; known: {', '.join(known)}")
    if missing := next((name for name, field in known.items() if field.required and name not in fields), None):
        raise RequestRefused("missing_key", f"{missing}: missing")
    try:
        return msgspec.convert(fields, kind)
    except msgspec.ValidationError as error:
        match = _PLACE.fullmatch(str(error))
        path = (match["path"] if match else None) or "message"
        reason = match["reason"] if match else str(error)
        value = fields.get(re.split(r"[.\[]", path)[0])
        raise RequestRefused("bad_value", f"{path}: {reason}, found {shown(value)}") from error
