"""What the REST interface answers, field by field; FastAPI makes the OpenAPI document of it.

Prices and sizes are decimal text, never JSON numbers: those would become floats in most clients.
"""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, Field

DecimalText = str
Microseconds = int
Level = tuple[DecimalText, DecimalText]
"""[price, size]"""


class Fault(BaseModel):
    """Every answer that is not 2xx."""

    code: str = Field(description="For programs: unknown_instrument, bad_value, not_found, …")
    message: str = Field(description="For people: what is wrong, with its value.")


class Exchange(BaseModel):
    venue: str
    status: Literal["connected", "connecting", "disconnected", "stale"]
    instruments: int = Field(description="Instruments known of this venue.")
    records_per_second: float = Field(description="Book updates and trades, mean of the last 5 s.")
    last_record_time: Microseconds | None = Field(description="Receipt of its last record; null before the first.")


class Exchanges(BaseModel):
    exchanges: list[Exchange]


class Instrument(BaseModel):
    venue: str
    symbol: str
    price_exponent: int | None = Field(description="In force in its book; null before the first.")
    size_exponent: int | None
    best_bid: DecimalText | None
    best_ask: DecimalText | None
    valid: bool = Field(description="Whether its book is known to be what the venue published.")


class Instruments(BaseModel):
    instruments: list[Instrument]


class Book(BaseModel):
    venue: str
    symbol: str
    valid: bool = Field(description="False while the book is in doubt; the sides are then empty.")
    epoch: str = Field(description="Of the book: the receive time of its snapshot, ns.")
    sequence: int = Field(description="Of the last update in it, within the epoch.")
    time: Microseconds = Field(description="When the collector received that update; 0 before the first.")
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


class Opportunities(BaseModel):
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
    latency_max: int = Field(description="Receive minus exchange time, ns; clocks differ, it can be negative.")
    latency_mean: int


class DeltaStatistics(BaseModel):
    venue: str
    symbol: str
    windows: list[Statistics] = Field(description="The latest windows, the newest last.")


class ServiceHealth(BaseModel):
    status: Literal["ok", "degraded", "down"]
    message: str | None = Field(default=None, description="What is wrong, if something is.")


class Health(BaseModel):
    status: Literal["ok", "degraded"] = Field(description="degraded: something below is not ok.")
    services: dict[str, ServiceHealth]
    lag: dict[str, int] = Field(description="Consumer group → records not read yet.")
    uptime_seconds: float = Field(description="Of this gateway.")
