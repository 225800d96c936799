"""Records on the topics, as typed classes; each has an `.avsc` file in ``schemas/avro`` with the same field order.

Times are nanoseconds since the Unix epoch, UTC. Prices and sizes are integer mantissas with an exponent. Records
are plain dataclasses, not frozen ones, because the codec passes their ``__dict__`` to fastavro without a copy (half
the cost of a record would be copying); treat them as immutable.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Final, Literal, TypeAlias

from alphapulse import topics
from schemas.lazy_levels import LazyLevels

Side: TypeAlias = Literal["UNKNOWN", "BUY", "SELL"]
L2Kind: TypeAlias = Literal["SNAPSHOT", "DELTA", "INVALID", "HEARTBEAT"]
OpportunityState: TypeAlias = Literal["OPENED", "CHANGED", "CLOSED"]
Severity: TypeAlias = Literal["INFO", "WARNING", "ERROR"]


@dataclass(kw_only=True)
class Trade:
    """One trade as the venue published it; (venue, symbol, trade_id) is its identity."""

    venue: str
    symbol: str
    trade_id: str
    side: Side
    price: int
    size: int
    price_exponent: int
    size_exponent: int
    exchange_time: int
    received_time: int


@dataclass(kw_only=True)
class L2Update:
    """A whole book (SNAPSHOT), changed levels (DELTA), word of doubt (INVALID) or that nothing changed (HEARTBEAT)."""

    venue: str
    symbol: str
    kind: L2Kind
    epoch: int
    sequence: int
    exchange_sequence: int | None = None
    exchange_time: int
    received_time: int
    price_exponent: int
    size_exponent: int
    bid_prices: list[int]
    bid_sizes: list[int]
    ask_prices: list[int]
    ask_sizes: list[int]
    checksum: int | None = None


@dataclass(kw_only=True)
class Quote:
    """Best bid and offer of a venue that publishes no deeper book."""

    venue: str
    symbol: str
    bid_price: int
    bid_size: int
    ask_price: int
    ask_size: int
    price_exponent: int
    size_exponent: int
    exchange_time: int
    received_time: int


@dataclass(kw_only=True)
class Depth(LazyLevels):
    """The best levels of a book after a change of them, as the stream processor holds it."""

    venue: str
    symbol: str
    valid: bool
    epoch: int
    sequence: int
    exchange_time: int
    received_time: int
    price_exponent: int
    size_exponent: int
    bid_prices: list[int]
    bid_sizes: list[int]
    ask_prices: list[int]
    ask_sizes: list[int]


@dataclass(kw_only=True)
class Candle:
    """Open, high, low, close and volume of the trades of an interval, by exchange time (else received time)."""

    venue: str
    symbol: str
    interval: int
    open_time: int
    open: int
    high: int
    low: int
    close: int
    volume: int
    quote_volume: str
    vwap: int
    vwap_exponent: int
    trades: int
    price_exponent: int
    size_exponent: int
    revision: int
    received_time: int
    first_trade_time: int = 0
    last_trade_time: int = 0
    partial: bool = False


@dataclass(kw_only=True)
class DeltaStatistics:
    """What happened to one book in one window (a second by default)."""

    venue: str
    symbol: str
    window_start: int
    window_end: int
    epoch: int
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
    best_bid: int | None = None
    best_ask: int | None = None
    price_exponent: int
    size_exponent: int
    latency_max: int
    latency_mean: int


@dataclass(kw_only=True)
class ArbitrageOpportunity:
    """A price difference between two venues that pays after fees: opened, changed, closed."""

    opportunity_id: str
    state: OpportunityState
    symbol: str
    buy_venue: str
    sell_venue: str
    buy_price: int
    sell_price: int
    buy_limit_price: int
    sell_limit_price: int
    size: int
    price_exponent: int
    size_exponent: int
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


@dataclass(kw_only=True)
class Event:
    """Something an operator wants to know: the audit log."""

    time: int
    service: str
    kind: str
    severity: Severity
    venue: str | None = None
    symbol: str | None = None
    message: str
    details: dict[str, str] = field(default_factory=dict)


@dataclass(kw_only=True)
class DeadLetter:
    """Input that was refused: its untouched bytes, where they came from and why."""

    time: int
    service: str
    source: str
    partition: int | None = None
    offset: int | None = None
    key: bytes | None = None
    value: bytes
    venue: str | None = None
    symbol: str | None = None
    error: str
    reason: str


Record: TypeAlias = (
    Trade | L2Update | Quote | Depth | Candle | DeltaStatistics | ArbitrageOpportunity | Event | DeadLetter
)

TOPIC_OF: Final[dict[type[Record], str]] = {
    Trade: topics.TRADES,
    L2Update: topics.L2,
    Quote: topics.QUOTES,
    Depth: topics.DEPTH,
    Candle: topics.CANDLES,
    DeltaStatistics: topics.STATS,
    ArbitrageOpportunity: topics.ARBITRAGE,
    Event: topics.EVENTS,
    DeadLetter: topics.DEAD_LETTERS,
}
"""Topic of each record class."""


def key_of(record: Record) -> bytes:
    """Return the Kafka key of ``record``: records with the same key stay in order."""
    match record:
        case Depth() | ArbitrageOpportunity():
            return record.symbol.encode()
        case Event():
            return record.service.encode()
        case DeadLetter():
            return record.source.encode()
        case _:
            return f"{record.venue}|{record.symbol}".encode()
