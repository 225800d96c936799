"""Response models of the REST interface; FastAPI generates the OpenAPI document from them.

Prices and sizes are decimal text, never JSON numbers: most clients would parse those as floats.
"""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field

from alphapulse.freshness import Fault as BookFault
from gateway.venues import Status

DecimalText = str
Microseconds = int
Milliseconds = int
Level = Annotated[list[DecimalText], Field(min_length=2, max_length=2)]
"""[price, size]"""


class Rows(BaseModel):
    """What every answer with rows of a result set has besides them."""

    next: str | None = Field(
        default=None, description="Cursor of the following rows: pass it as `cursor`; null: there are none."
    )
    complete_from: Microseconds | None = Field(
        default=None,
        description="Null, or: earlier rows are missing, because the tables cannot be read now.",
    )
    complete_until: Microseconds | None = Field(
        default=None,
        description="Null, or: later rows may be missing, because the tables do not have them yet. With "
        "`order=asc` the page ends there, and `next` continues.",
    )


class Exchange(BaseModel):
    venue: str
    status: Status = Field(
        description="By its newest book. connected: it is valid; stale: not confirmed for too long; "
        "late: its collector invalidated the books, because it could not read the frames in time; connecting: no "
        "valid book yet (again); disconnected. A venue without books is judged by its trades."
    )
    instruments: int = Field(description="Known instruments of this venue.")
    valid_books: int = Field(description="Books that are valid and not stale.")
    stale_books: int
    invalid_books: int
    book_age_ms: Milliseconds | None = Field(description="Of its newest book; null without one.")
    oldest_book_age_ms: Milliseconds | None = Field(description="Of its oldest book; null without one.")
    records_per_second: float = Field(description="Book updates and trades, mean of 5 s up to a second or two ago.")
    last_record_time: Microseconds | None = Field(
        description="Receive time of its last book or trade record; null before the first."
    )


class Exchanges(BaseModel):
    exchanges: list[Exchange]


class InstrumentAnswer(BaseModel):
    venue: str
    symbol: str
    price_exponent: int | None = Field(description="Of its book; null before the first.")
    size_exponent: int | None
    best_bid: DecimalText | None = Field(description="Null without one, and while the book is not valid.")
    best_ask: DecimalText | None
    valid: bool = Field(description="Whether its book is valid and not stale.")
    reason: BookFault | None = Field(description="Why it is not valid; null if it is.")
    age_ms: Milliseconds | None = Field(description="Time since the book was last confirmed; null without one.")
    status: Literal["live", "stale", "invalid", "no_book"] = Field(
        description="live: its book is valid and not stale; otherwise the reason."
    )
    tick_size: DecimalText | None = Field(
        description="Smallest price step by the venue's own metadata; null: not known here, as no topic carries it."
    )
    lot_size: DecimalText | None = Field(description="Smallest size step, likewise.")
    taker_fee_basis_points: DecimalText | None = Field(
        description="`taker_fee_basis_points` of the venue in the gateway's configuration; null: not configured there."
    )


class InstrumentsAnswer(BaseModel):
    instruments: list[InstrumentAnswer]


class TradeAnswer(BaseModel):
    venue: str
    symbol: str
    id: str = Field(description="The venue's; (venue, symbol, id) names the trade.")
    side: Literal["buy", "sell", "unknown"] = Field(description="The aggressor's.")
    price: DecimalText
    size: DecimalText
    time: Microseconds = Field(description="The venue's time; the received time where it gives none.")
    received_time: Microseconds = Field(description="When its collector received it; the range is of this time.")


class TradesAnswer(Rows):
    trades: list[TradeAnswer]


class CandleAnswer(BaseModel):
    venue: str
    symbol: str
    interval: int = Field(description="Seconds.")
    open_time: Microseconds
    open: DecimalText
    high: DecimalText
    low: DecimalText
    close: DecimalText
    volume: DecimalText
    quote_volume: DecimalText
    vwap: DecimalText
    trades: int
    revision: int = Field(description="A later revision replaces an earlier one: late trades change a candle.")
    partial: bool = Field(description="Whether earlier trades of it may be missing.")


class CandlesAnswer(Rows):
    candles: list[CandleAnswer]


class EventAnswer(BaseModel):
    time: Microseconds
    service: str
    kind: str
    severity: Literal["INFO", "WARNING", "ERROR"]
    venue: str | None
    symbol: str | None
    message: str
    details: dict[str, str]


class EventsAnswer(Rows):
    events: list[EventAnswer]


class BookAnswer(BaseModel):
    venue: str
    symbol: str
    valid: bool = Field(description="False while the book is invalid or stale; the sides are then empty.")
    reason: BookFault | None = Field(
        description="Why it is not valid: no_book (none seen yet), invalid (invalidated by its collector), stale (not "
        "confirmed for longer than [freshness] max_book_age_ms); null if it is."
    )
    age_ms: Milliseconds | None = Field(
        description="Gateway clock minus time: age of the last confirmation that the book matches the venue; "
        "null without a book."
    )
    epoch: str = Field(description="Epoch of the book: receive time of its snapshot, ns.")
    sequence: int = Field(
        description="Sequence of its last update, within the epoch, as in the stream and in the tables."
    )
    time: Microseconds = Field(description="When its collector last confirmed the book; 0 before the first.")
    bids: list[Level] = Field(description="[price, size], best first.")
    asks: list[Level] = Field(description="[price, size], best first.")


class Opportunity(BaseModel):
    opportunity_id: str
    state: Literal["opened", "changed", "closed"]
    symbol: str
    buy_venue: str
    sell_venue: str
    buy_price: DecimalText = Field(description="Mean price paid over the levels taken.")
    sell_price: DecimalText = Field(description="Mean price received.")
    buy_limit_price: DecimalText = Field(description="Worst ask taken.")
    sell_limit_price: DecimalText = Field(description="Worst bid hit.")
    size: DecimalText
    gross_profit: DecimalText
    net_profit: DecimalText = Field(description="After both taker fees, quote currency.")
    net_basis_points: float
    buy_fee_basis_points: float
    sell_fee_basis_points: float
    opened_time: Microseconds
    updated_time: Microseconds
    buy_book_time: Microseconds
    sell_book_time: Microseconds
    close_reason: str | None


class OpportunitiesAnswer(Rows):
    opportunities: list[Opportunity]


class Statistics(BaseModel):
    """Statistics of one book over one window."""

    venue: str
    symbol: str
    window_start: Microseconds
    window_end: Microseconds
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
    best_bid: DecimalText | None
    best_ask: DecimalText | None
    latency_max: Microseconds | None = Field(
        description="Receive time minus exchange time; negative if clocks differ. Null if the venue gives no times."
    )
    latency_mean: Microseconds | None


class StatisticsAnswer(Rows):
    venue: str
    symbol: str
    windows: list[Statistics] = Field(description="Without `from`, `to` and `order`: the newest last.")


class StatisticsSummary(BaseModel):
    """Statistics of one book over a time range."""

    venue: str
    symbol: str
    windows: int = Field(description="Windows in the range.")
    valid_windows: int = Field(description="Those at whose end the book was valid.")
    snapshots: int
    deltas: int
    level_changes: int
    trades: int
    latency_max: Microseconds | None = Field(description="Largest receive time minus exchange time; null without any.")
    latency_mean: Microseconds | None = Field(description="Mean of the windows', weighted by their updates.")


class SummaryAnswer(BaseModel):
    begin: Microseconds = Field(alias="from", description="The range: `from` is in it, `to` is not.")
    to: Microseconds
    summary: list[StatisticsSummary]
    complete_until: Microseconds | None = Field(
        default=None, description="Null, or: later windows may be missing, because the tables do not have them yet."
    )


class SymbolRequest(BaseModel):
    model_config = ConfigDict(extra="forbid")

    symbol: str = Field(
        min_length=1,
        max_length=64,
        description="Canonical (`BTC-USD`), or a pattern (`*-USD`) where the venue has a list of its instruments.",
    )


class SymbolsAnswer(BaseModel):
    venue: str
    symbols: list[str] = Field(description="The venue's symbols in the configuration after the change.")
    file: str = Field(description="Name of the changed file.")
