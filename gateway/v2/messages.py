"""Messages to clients: one class each, from which both encodings and the AsyncAPI document are made. Pure.

Times are microseconds since the Unix epoch, UTC. A message of a feed that answers an on-demand ``snapshot`` has the
request's ``id``; otherwise it has none. Levels and best quotes have two forms: decimal text in JSON, integer mantissas
in MessagePack (``Packed…``).
"""

from __future__ import annotations

from typing import Annotated, Literal, TypeAlias

import msgspec
from msgspec import UNSET, Meta, Struct, UnsetType

from alphapulse.freshness import Fault
from gateway.venues import Status

VERSION = 2

DecimalText: TypeAlias = Annotated[str, Meta(description="Exact decimal number as text.", pattern=r"^-?\d+(\.\d+)?$")]
Time: TypeAlias = Annotated[int, Meta(description="Microseconds since the Unix epoch, UTC.")]
Duration: TypeAlias = Annotated[int, Meta(description="Microseconds.")]
Milliseconds: TypeAlias = Annotated[int, Meta(description="Milliseconds.", ge=0)]
Epoch: TypeAlias = Annotated[
    str, Meta(description="Epoch of the book, nanoseconds, as text; 0 without a book.", pattern=r"^\d+$")
]
Sequence: TypeAlias = Annotated[int, Meta(description="Sequence of the last update in the book, within the epoch.")]
Id: TypeAlias = Annotated[int, Meta(ge=-(2**63), le=2**63 - 1)] | Annotated[str, Meta(max_length=64)] | None
OptionalId: TypeAlias = (
    Annotated[int, Meta(ge=-(2**63), le=2**63 - 1)] | Annotated[str, Meta(max_length=64)] | UnsetType | None
)
Level: TypeAlias = tuple[DecimalText, DecimalText]
"""[price, size]"""
Mantissas: TypeAlias = Annotated[
    list[int], Meta(description="price, size, price, size, …: mantissas of price_exponent and size_exponent.")
]
Checksum: TypeAlias = Annotated[
    int, Meta(description="CRC-32 of the best 10 levels a side after this message.", ge=0, le=2**32 - 1)
]
Exponent: TypeAlias = Annotated[int, Meta(description="number = mantissa × 10^exponent.", ge=-100, le=100)]


# --- about the connection ----------------------------------------------------------------------------------


class Limits(Struct, frozen=True):
    """Limits of the client's messages.

    ``message``: characters or bytes of one message; ``subscriptions``: feeds of a connection; ``list``: items of a
    list.
    """

    message: int
    subscriptions: int
    list: int


class Hello(Struct, frozen=True, tag_field="type", tag="hello"):
    """First message."""

    version: Literal[2]
    gateway: Annotated[str, Meta(description="Random id of this gateway process.")]
    time: Annotated[int, Meta(description="The gateway's clock, µs: ages refer to it.")]
    heartbeat_ms: Annotated[int, Meta(description="Maximum interval between messages, ms.")]
    max_book_age_ms: Annotated[int, Meta(description="A book with an older time is stale, ms.")]
    access: Annotated[
        Literal["open", "required"],
        Meta(description="required: auth comes first, unless the handshake had credentials."),
    ]
    limits: Limits


class Heartbeat(Struct, frozen=True, tag_field="type", tag="heartbeat"):
    """Nothing else was sent for a while."""

    time: Time


class Shutdown(Struct, frozen=True, tag_field="type", tag="shutdown"):
    """The gateway stops; close code 1012 follows."""

    reconnect_after_ms: Annotated[
        tuple[int, int], Meta(description="Reconnect after a random time between these two, ms.")
    ]


class Pong(Struct, frozen=True, tag_field="type", tag="pong"):
    """Answer to a ping."""

    id: Id
    time: Time


class Authenticated(Struct, frozen=True, tag_field="type", tag="authenticated"):
    """Answer to auth."""

    id: Id
    identity: str
    scopes: list[str]
    expires: Annotated[int | None, Meta(description="End of the access, µs; null: never.")]


class TokenExpiring(Struct, frozen=True, tag_field="type", tag="token_expiring"):
    """The access ends in 30 s unless a new token is sent by auth."""

    expires: Time


class Error(Struct, frozen=True, tag_field="type", tag="error"):
    """A message of the client was refused; nothing of it was done."""

    id: Id
    code: Annotated[str, Meta(description="For programs.")]
    message: Annotated[str, Meta(description="For people: what is wrong, with its value.")]
    retry_after_ms: Annotated[int | UnsetType, Meta(description="With rate_limited, ms.")] = UNSET


# --- subscriptions ------------------------------------------------------------------------------------------


class SubscribedFeed(Struct, frozen=True):
    """A feed that a subscription matched.

    ``recovered``: true: what was missed since the client's position follows, or nothing was; false: it could not be
    recovered, a snapshot follows; null: no position was given.
    """

    recovered: bool | None
    venue: str | UnsetType | None = UNSET
    symbol: str | UnsetType = UNSET


class FeedName(Struct, frozen=True):
    """A feed within a channel; ``venue`` null: services (alerts, status)."""

    venue: str | UnsetType | None = UNSET
    symbol: str | UnsetType = UNSET


class Subscribed(Struct, frozen=True, tag_field="type", tag="subscribed"):
    """Answer to subscribe, and sent again with the same id for each later instrument that a pattern matches."""

    id: Id
    channel: str
    feeds: list[SubscribedFeed]
    levels: int | UnsetType = UNSET
    interval_ms: int | UnsetType = UNSET
    checksum: bool | UnsetType = UNSET
    candle_interval: int | UnsetType | None = UNSET


class Unsubscribed(Struct, frozen=True, tag_field="type", tag="unsubscribed"):
    """Answer to unsubscribe (id null: feeds that new credentials do not cover): nothing of the feeds follows."""

    id: Id
    channel: str
    feeds: list[FeedName]


class Done(Struct, frozen=True, tag_field="type", tag="done"):
    """End of the answer to snapshot."""

    id: Id
    feeds: int


# --- books --------------------------------------------------------------------------------------------------


class BookSnapshot(Struct, frozen=True, tag_field="type", tag="snapshot"):
    """A whole book: it replaces everything. ``valid`` false: no levels, ``reason`` says why."""

    channel: Literal["book", "l2"]
    venue: str
    symbol: str
    epoch: Epoch
    sequence: Sequence
    time: Annotated[int, Meta(description="When the book was last known to match the venue, µs.")]
    valid: bool
    reason: Fault | None
    bids: Annotated[list[Level], Meta(description="[price, size], best first.")]
    asks: Annotated[list[Level], Meta(description="[price, size], best first.")]
    checksum: Checksum | UnsetType = UNSET
    id: OptionalId = UNSET


class BookDelta(Struct, frozen=True, tag_field="type", tag="delta"):
    """Levels that changed since ``previous_sequence``; size "0" deletes."""

    channel: Literal["book", "l2"]
    venue: str
    symbol: str
    epoch: Epoch
    previous_sequence: Sequence
    sequence: Sequence
    time: Annotated[int, Meta(description="When the book was last known to match the venue, µs.")]
    bids: list[Level]
    asks: list[Level]
    checksum: Checksum | UnsetType = UNSET


class PackedBookSnapshot(Struct, frozen=True, tag_field="type", tag="snapshot"):
    """:class:`BookSnapshot` in MessagePack."""

    channel: Literal["book", "l2"]
    venue: str
    symbol: str
    epoch: Epoch
    sequence: Sequence
    time: Time
    valid: bool
    reason: Fault | None
    price_exponent: Exponent
    size_exponent: Exponent
    bids: Mantissas
    asks: Mantissas
    checksum: Checksum | UnsetType = UNSET
    id: OptionalId = UNSET


class PackedBookDelta(Struct, frozen=True, tag_field="type", tag="delta"):
    """:class:`BookDelta` in MessagePack."""

    channel: Literal["book", "l2"]
    venue: str
    symbol: str
    epoch: Epoch
    previous_sequence: Sequence
    sequence: Sequence
    time: Time
    price_exponent: Exponent
    size_exponent: Exponent
    bids: Mantissas
    asks: Mantissas
    checksum: Checksum | UnsetType = UNSET


class Bbo(Struct, frozen=True, tag_field="type", tag="bbo"):
    """Best bid and offer; null: the side is empty, or the book not valid."""

    channel: Literal["bbo"]
    venue: str
    symbol: str
    epoch: Epoch
    sequence: Sequence
    time: Time
    valid: bool
    reason: Fault | None
    bid: Level | None
    ask: Level | None
    id: OptionalId = UNSET


class PackedBbo(Struct, frozen=True, tag_field="type", tag="bbo"):
    """:class:`Bbo` in MessagePack: mantissas."""

    channel: Literal["bbo"]
    venue: str
    symbol: str
    epoch: Epoch
    sequence: Sequence
    time: Time
    valid: bool
    reason: Fault | None
    price_exponent: Exponent
    size_exponent: Exponent
    bid: tuple[int, int] | None
    ask: tuple[int, int] | None
    id: OptionalId = UNSET


# --- trades, candles, statistics, opportunities --------------------------------------------------------------


class TradeItem(Struct, frozen=True):
    """One trade; ``side`` is the taker's."""

    id: Annotated[str, Meta(description="The venue's id, unique within venue and symbol.")]
    side: Literal["buy", "sell", "unknown"]
    price: DecimalText
    size: Annotated[str, Meta(description="In the base asset.")]
    time: Annotated[
        int, Meta(description="The venue's time of the trade, µs; its receive time if the venue gives none.")
    ]
    received_time: Annotated[int, Meta(description="When the collector received it, µs.")]


class TradesSnapshot(Struct, frozen=True, tag_field="type", tag="snapshot"):
    """The latest trades (at most 50), the newest last. ``gap``: trades were left out before them."""

    channel: Literal["trades"]
    venue: str
    symbol: str
    trades: list[TradeItem]
    gap: Literal[True] | UnsetType = UNSET
    id: OptionalId = UNSET


class Trades(Struct, frozen=True, tag_field="type", tag="trades"):
    """New trades, the newest last."""

    channel: Literal["trades"]
    venue: str
    symbol: str
    trades: list[TradeItem]


class CandleMessage(Struct, frozen=True, tag_field="type", tag="candle"):
    """A candle; the highest ``revision`` of an ``open_time`` is the current one."""

    channel: Literal["candles"]
    venue: str
    symbol: str
    interval: Annotated[int, Meta(description="Seconds.")]
    open_time: Time
    open: DecimalText
    high: DecimalText
    low: DecimalText
    close: DecimalText
    volume: Annotated[str, Meta(description="Sum of the sizes, base asset.")]
    quote_volume: Annotated[str, Meta(description="Sum of price × size, quote currency.")]
    vwap: Annotated[str, Meta(description="Volume-weighted average price.")]
    trades: Annotated[int, Meta(description="Number of trades.")]
    revision: Annotated[int, Meta(description="0 at first; higher: corrected by late trades.")]
    partial: Annotated[bool, Meta(description="It began before the first trade seen.")]
    id: OptionalId = UNSET


class Stats(Struct, frozen=True, tag_field="type", tag="stats"):
    """Statistics of one book over one window (a second by default)."""

    channel: Literal["stats"]
    venue: str
    symbol: str
    window_start: Time
    window_end: Time
    epoch: Epoch
    sequence: Sequence
    valid: Annotated[bool, Meta(description="Whether the book was valid at the end of the window.")]
    snapshots: Annotated[int, Meta(description="Snapshots received.")]
    deltas: Annotated[int, Meta(description="Deltas received.")]
    level_changes: Annotated[int, Meta(description="Levels added, updated and removed.")]
    levels_added: int
    levels_updated: int
    levels_removed: int
    trades: Annotated[int, Meta(description="Trades received.")]
    bid_levels: Annotated[int, Meta(description="Bids in the book at the end of the window.")]
    ask_levels: Annotated[int, Meta(description="Asks in the book at the end of the window.")]
    best_bid: DecimalText | None
    best_ask: DecimalText | None
    latency_max: Annotated[
        int | None, Meta(description="Receive time minus the venue's time, µs; null if the venue gives no times.")
    ]
    latency_mean: Annotated[int | None, Meta(description="As latency_max.")]
    id: OptionalId = UNSET


class OpportunityItem(Struct, frozen=True):
    """An arbitrage opportunity: a price difference between two venues that pays after fees."""

    opportunity_id: str
    state: Literal["opened", "changed", "closed"]
    symbol: str
    buy_venue: str
    sell_venue: str
    buy_price: Annotated[str, Meta(description="Mean price paid over the levels taken.")]
    sell_price: Annotated[str, Meta(description="Mean price received over the levels hit.")]
    buy_limit_price: Annotated[str, Meta(description="Worst ask taken.")]
    sell_limit_price: Annotated[str, Meta(description="Worst bid hit.")]
    size: Annotated[str, Meta(description="Base asset.")]
    gross_profit: Annotated[str, Meta(description="Before fees, quote currency.")]
    net_profit: Annotated[str, Meta(description="After both taker fees, quote currency.")]
    net_basis_points: Annotated[float, Meta(description="Net profit relative to the amount bought, 1/100 %.")]
    buy_fee_basis_points: float
    sell_fee_basis_points: float
    opened_time: Time
    updated_time: Time
    buy_book_time: Annotated[int, Meta(description="Time of the buying venue's book, µs.")]
    sell_book_time: Annotated[int, Meta(description="Time of the selling venue's book, µs.")]
    close_reason: Annotated[str | None, Meta(description="Null while open.")]


class Opportunity(OpportunityItem, frozen=True, kw_only=True, tag_field="type", tag="opportunity"):
    """A change of an opportunity."""

    channel: Literal["arbitrage"] = "arbitrage"


class OpportunitiesSnapshot(Struct, frozen=True, tag_field="type", tag="snapshot"):
    """The open opportunities of a symbol: it replaces all before."""

    channel: Literal["arbitrage"]
    symbol: str
    opportunities: list[OpportunityItem]
    id: OptionalId = UNSET


# --- alerts, status -----------------------------------------------------------------------------------------


class AlertItem(Struct, frozen=True):
    """An event of severity WARNING or ERROR."""

    time: Time
    service: Annotated[str, Meta(description="The service that reports it.")]
    venue: str | None
    symbol: str | None
    kind: Annotated[str, Meta(description="For programs: gap, late, disconnected, …")]
    severity: Literal["warning", "error"]
    detail: Annotated[str, Meta(description="For people.")]


class AlertsSnapshot(Struct, frozen=True, tag_field="type", tag="snapshot"):
    """The latest alerts of a venue (``venue`` null: those without a venue), at most 50, the newest last."""

    channel: Literal["alerts"]
    venue: str | None
    alerts: list[AlertItem]
    gap: Literal[True] | UnsetType = UNSET


class Alert(AlertItem, frozen=True, kw_only=True, tag_field="type", tag="alert"):
    """A new alert."""

    channel: Literal["alerts"] = "alerts"


class VenueStatus(Struct, frozen=True, tag_field="type", tag="status"):
    """Status of a venue."""

    channel: Literal["status"]
    venue: str
    status: Status
    valid_books: int
    stale_books: int
    invalid_books: int
    book_age_ms: Annotated[int | None, Meta(description="Age of its newest book, ms; null without one.")]
    time: Time
    id: OptionalId = UNSET


class ServiceStatus(Struct, frozen=True, tag_field="type", tag="status"):
    """Status of a service, and the lag of its reading."""

    channel: Literal["status"]
    service: str
    status: Literal["ok", "degraded", "down"]
    lag_records: Annotated[int | None, Meta(description="Unread records; null if it reads none or is not known.")]
    lag_seconds: Annotated[float | None, Meta(description="Minimum age of the oldest unread record.")]
    time: Time
    id: OptionalId = UNSET


def with_id(message: Struct, request_id: int | str | None) -> Struct:
    """Return ``message`` with the id of the request that it answers."""
    return msgspec.structs.replace(message, id=request_id)
