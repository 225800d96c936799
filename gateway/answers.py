"""What the REST interface answers, field by field; FastAPI makes the OpenAPI document of it.

Prices and sizes are decimal text, never JSON numbers: those would become floats in most clients.
"""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, Field

from alphapulse.freshness import Fault as BookFault
from gateway.venues import Status

DecimalText = str
Microseconds = int
Milliseconds = int
Level = tuple[DecimalText, DecimalText]
"""[price, size]"""


class FaultAnswer(BaseModel):
    """Every answer that is not 2xx."""

    code: str = Field(description="For programs: unknown_instrument, bad_value, unknown_key, catching_up, not_found, …")
    message: str = Field(description="For people: what is wrong, with its value.")


class Exchange(BaseModel):
    venue: str
    status: Status = Field(
        description="By its youngest book. connected: that is good; stale: nobody has confirmed it for too long; "
        "late: its collector ended the books, because it could not read the frames in time; connecting: no good book "
        "yet (again); disconnected. A venue without books goes by its trades."
    )
    instruments: int = Field(description="Instruments known of this venue.")
    valid_books: int = Field(description="Books that are valid and young.")
    stale_books: int
    invalid_books: int
    book_age_ms: Milliseconds | None = Field(description="Of its youngest book; null without one.")
    oldest_book_age_ms: Milliseconds | None = Field(description="Of its oldest book; null without one.")
    records_per_second: float = Field(description="Book updates and trades, mean of 5 s up to a second or two ago.")
    last_record_time: Microseconds | None = Field(
        description="Receipt of its last record, of books or trades; null before the first."
    )


class Exchanges(BaseModel):
    exchanges: list[Exchange]


class InstrumentAnswer(BaseModel):
    venue: str
    symbol: str
    price_exponent: int | None = Field(description="In force in its book; null before the first.")
    size_exponent: int | None
    best_bid: DecimalText | None = Field(description="Null without one, and while the book is not valid.")
    best_ask: DecimalText | None
    valid: bool = Field(description="Whether its book is known to be what the venue shows, and that not too long ago.")
    reason: BookFault | None = Field(description="Why it is not valid; null if it is.")
    age_ms: Milliseconds | None = Field(description="Since the book was last confirmed; null without one.")


class InstrumentsAnswer(BaseModel):
    instruments: list[InstrumentAnswer]


class BookAnswer(BaseModel):
    venue: str
    symbol: str
    valid: bool = Field(description="False while the book is in doubt or too old; the sides are then empty.")
    reason: BookFault | None = Field(
        description="Why it is not valid: no_book (none was seen yet), invalid (its collector doubts it), stale (not "
        "confirmed for longer than [freshness] max_book_age_ms); null if it is."
    )
    age_ms: Milliseconds | None = Field(
        description="Between time and the gateway's clock now: how long ago the book was last known to be what the "
        "venue shows; null without a book."
    )
    epoch: str = Field(description="Of the book: the receive time of its snapshot, ns.")
    sequence: int = Field(description="Of the last update in it, within the epoch: as in the stream and in the tables.")
    time: Microseconds = Field(description="When its collector last knew the book to be that; 0 before the first.")
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


class OpportunitiesAnswer(BaseModel):
    opportunities: list[Opportunity]


class Statistics(BaseModel):
    """One window of one book."""

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
        description="Receive minus exchange time; clocks differ: it can be negative. Null without times of the venue."
    )
    latency_mean: Microseconds | None


class StatisticsAnswer(BaseModel):
    venue: str
    symbol: str
    windows: list[Statistics] = Field(description="The latest windows, the newest last.")


class ServiceHealth(BaseModel):
    status: Literal["ok", "degraded", "down"]
    message: str | None = Field(default=None, description="What is wrong, if something is.")


class Lag(BaseModel):
    """How far a reader of the topics is behind."""

    records: int = Field(description="Not read yet.")
    seconds: float = Field(description="At least so long ago the oldest of them was written; 0 without any.")
    age_seconds: float = Field(description="How old these figures are; they are kept while the broker does not answer.")


class Health(BaseModel):
    status: Literal["ok", "degraded"] = Field(description="degraded: there is a reason.")
    reasons: list[str] = Field(description="What is not well, one line each; empty if all is.")
    services: dict[str, ServiceHealth]
    lag: dict[str, Lag] = Field(description="By consumer group, and of this gateway.")
    uptime_seconds: float = Field(description="Of this gateway.")
