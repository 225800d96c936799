"""Messages of the stream as typed objects: what iterators yield.

Prices and sizes are exact decimal text (also where MessagePack carried mantissas); :meth:`Level.exact` and
:func:`exact` give Decimals. Times are microseconds since the Unix epoch by the gateway's and venues' clocks. An
``epoch`` is decimal text (nanoseconds).
"""

from __future__ import annotations

from decimal import Decimal
from typing import Any, Final, NamedTuple, TypeAlias

import msgspec

from alphapulse.client.errors import ProtocolError
from alphapulse.fixed import decimal_text

BOOK_CHANNELS: Final = frozenset({"book", "l2"})
WITHOUT_SYMBOL: Final = frozenset({"alerts", "status"})
"""Channels whose feeds are venues; an alert may name a symbol all the same."""


def exact(text: str) -> Decimal:
    """Return a price or size as the Decimal that is written there."""
    return Decimal(text)


class Level(NamedTuple):
    """A price level; in a delta, size ``"0"`` deletes it."""

    price: str
    size: str

    def exact(self) -> tuple[Decimal, Decimal]:
        """Return price and size as Decimals."""
        return Decimal(self.price), Decimal(self.size)


class Message(msgspec.Struct, frozen=True, kw_only=True):
    """Base of all messages of feeds."""

    channel: str
    venue: str | None = None
    symbol: str | None = None


class BookSnapshot(Message, frozen=True, kw_only=True):
    """Channels book, l2: replaces everything. Without levels and with ``reason`` if the book is not valid."""

    epoch: str
    sequence: int
    time: int
    valid: bool
    reason: str | None = None
    bids: tuple[Level, ...]
    asks: tuple[Level, ...]
    checksum: int | None = None


class BookDelta(Message, frozen=True, kw_only=True):
    """Channels book, l2: levels that changed since ``previous_sequence`` of the same epoch."""

    epoch: str
    previous_sequence: int
    sequence: int
    time: int
    bids: tuple[Level, ...]
    asks: tuple[Level, ...]
    checksum: int | None = None


class Bbo(Message, frozen=True, kw_only=True):
    """Channel bbo: best bid and offer; None where a side is empty or the book is not valid."""

    epoch: str
    sequence: int
    time: int
    valid: bool
    reason: str | None = None
    bid: Level | None = None
    ask: Level | None = None


class Trade(msgspec.Struct, frozen=True, kw_only=True):
    """One trade; ``side`` is the aggressor's, ``time`` the venue's if it gives one."""

    id: str
    side: str
    price: str
    size: str
    time: int
    received_time: int | None = None


class TradesSnapshot(Message, frozen=True, kw_only=True):
    """Channel trades: the latest, newest last. ``gap``: trades before them were left out."""

    trades: tuple[Trade, ...]
    gap: bool = False


class Trades(Message, frozen=True, kw_only=True):
    """Channel trades: new ones, newest last."""

    trades: tuple[Trade, ...]


class Candle(Message, frozen=True, kw_only=True):
    """Channel candles; ``interval`` in seconds. The highest ``revision`` of an ``open_time`` is the current one."""

    interval: int
    open_time: int
    open: str
    high: str
    low: str
    close: str
    volume: str
    quote_volume: str
    vwap: str
    trades: int
    revision: int
    partial: bool


class Stats(Message, frozen=True, kw_only=True):
    """Channel stats: one window of a book. Latencies in microseconds, None where the venue gives no times."""

    window_start: int
    window_end: int
    epoch: str
    sequence: int
    valid: bool
    snapshots: int
    deltas: int
    level_changes: int
    levels_added: int
    levels_updated: int
    levels_removed: int
    trades: int
    bid_levels: int
    ask_levels: int
    best_bid: str | None = None
    best_ask: str | None = None
    latency_max: int | None = None
    latency_mean: int | None = None


class OpportunityFields(msgspec.Struct, frozen=True, kw_only=True):
    """An arbitrage opportunity; ``state`` is opened, changed or closed."""

    opportunity_id: str
    state: str
    symbol: str
    buy_venue: str
    sell_venue: str
    buy_price: str
    sell_price: str
    buy_limit_price: str
    sell_limit_price: str
    size: str
    gross_profit: str
    net_profit: str
    net_basis_points: float
    buy_fee_basis_points: float
    sell_fee_basis_points: float
    opened_time: int
    updated_time: int
    buy_book_time: int
    sell_book_time: int
    close_reason: str | None = None


class Opportunity(Message, frozen=True, kw_only=True):
    """Channel arbitrage: one opportunity opened, changed or closed."""

    opportunity: OpportunityFields


class OpportunitiesSnapshot(Message, frozen=True, kw_only=True):
    """Channel arbitrage: the open ones; replaces what was open."""

    opportunities: tuple[OpportunityFields, ...]


class AlertFields(msgspec.Struct, frozen=True, kw_only=True):
    """An operational event of severity WARNING or more."""

    time: int
    service: str
    kind: str
    severity: str
    venue: str | None = None
    symbol: str | None = None
    detail: Any = None


class Alert(Message, frozen=True, kw_only=True):
    """Channel alerts: a new one."""

    alert: AlertFields


class AlertsSnapshot(Message, frozen=True, kw_only=True):
    """Channel alerts: the latest, at subscription."""

    alerts: tuple[AlertFields, ...]
    gap: bool = False


class Status(Message, frozen=True, kw_only=True):
    """Channel status: of a venue, or of a ``service`` (then without ``venue``)."""

    status: str
    time: int
    service: str | None = None
    valid_books: int | None = None
    stale_books: int | None = None
    invalid_books: int | None = None
    book_age_ms: float | None = None
    lag_records: int | None = None
    lag_seconds: float | None = None


class Gap(Message, frozen=True, kw_only=True):
    """Made by the client: messages of this feed may be missing before what follows.

    ``reason``: ``not_recovered`` (after a reconnection), ``sequence`` (a delta did not follow), ``checksum``,
    ``unreadable`` (a message broke the protocol), ``dropped`` (the gateway left trades out, because
    we read too slowly), ``forbidden`` (the latest credentials do not cover it: nothing follows). Of a book a snapshot
    follows.
    """

    reason: str


FeedMessage: TypeAlias = (
    BookSnapshot
    | BookDelta
    | Bbo
    | TradesSnapshot
    | Trades
    | Candle
    | Stats
    | Opportunity
    | OpportunitiesSnapshot
    | Alert
    | AlertsSnapshot
    | Status
    | Gap
)

_TYPES: Final[dict[tuple[str, str], type[FeedMessage]]] = {
    ("snapshot", "book"): BookSnapshot,
    ("snapshot", "l2"): BookSnapshot,
    ("delta", "book"): BookDelta,
    ("delta", "l2"): BookDelta,
    ("bbo", "bbo"): Bbo,
    ("snapshot", "trades"): TradesSnapshot,
    ("trades", "trades"): Trades,
    ("candle", "candles"): Candle,
    ("stats", "stats"): Stats,
    ("opportunity", "arbitrage"): Opportunity,
    ("snapshot", "arbitrage"): OpportunitiesSnapshot,
    ("alert", "alerts"): Alert,
    ("snapshot", "alerts"): AlertsSnapshot,
    ("status", "status"): Status,
}
_NESTED: Final = {Opportunity: "opportunity", Alert: "alert"}


def read(fields: dict[str, Any]) -> FeedMessage | None:
    """Return the message in ``fields`` of either encoding; None if this version of the client does not know it.

    Raises:
        ProtocolError: a field is missing or has a wrong type; the message names it.
    """
    channel = fields.get("channel")
    if not isinstance(channel, str):
        return None
    kind = _TYPES.get((fields["type"], channel))
    if kind is None:
        return None
    if (nested := _NESTED.get(kind)) is not None:
        fields = fields | {nested: fields}
    try:
        return msgspec.convert(_as_text(fields, channel), type=kind)
    except (msgspec.ValidationError, ValueError, TypeError, KeyError) as error:
        raise ProtocolError(f"{fields['type']} of {channel}: {error}", feed_of(fields)) from error


def feed_of(fields: dict[str, Any]) -> tuple[str, str | None, str | None]:
    """Return (channel, venue, symbol) of the message's feed, as far as it tells them."""
    channel, venue, symbol = str(fields["channel"]), fields.get("venue"), fields.get("symbol")
    return (
        channel,
        venue if isinstance(venue, str) else None,
        symbol if isinstance(symbol, str) and channel not in WITHOUT_SYMBOL else None,
    )


def _as_text(fields: dict[str, Any], channel: str) -> dict[str, Any]:
    """Replace mantissas (MessagePack) by decimal text."""
    if "price_exponent" not in fields:
        return fields
    price_exponent, size_exponent = fields["price_exponent"], fields["size_exponent"]

    def level(price: int, size: int) -> tuple[str, str]:
        return decimal_text(price, price_exponent), decimal_text(size, size_exponent)

    changed = dict(fields)
    if channel in BOOK_CHANNELS:
        for side in ("bids", "asks"):
            flat = fields[side]
            if len(flat) % 2:
                raise ValueError(f"{side}: {len(flat)} integers, expected pairs")
            changed[side] = [level(flat[at], flat[at + 1]) for at in range(0, len(flat), 2)]
    elif channel == "bbo":
        for side in ("bid", "ask"):
            if fields.get(side) is not None:
                changed[side] = level(*fields[side])
    return changed
