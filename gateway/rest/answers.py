"""Response models of the REST interface; FastAPI generates the OpenAPI document from them.

Prices and sizes are decimal text, never JSON numbers: most clients would parse those as floats.
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
    """Body of every response that is not 2xx."""

    code: str = Field(description="For programs: unknown_instrument, bad_value, unknown_key, catching_up, not_found, …")
    message: str = Field(description="For people: what is wrong, with its value.")


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


class InstrumentsAnswer(BaseModel):
    instruments: list[InstrumentAnswer]


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


class OpportunitiesAnswer(BaseModel):
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


class StatisticsAnswer(BaseModel):
    venue: str
    symbol: str
    windows: list[Statistics] = Field(description="The latest windows, the newest last.")
