"""Models of the system's health and status; FastAPI generates the OpenAPI document from them."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, Field

from gateway.venues import Status


class ServiceHealth(BaseModel):
    status: Literal["ok", "degraded", "down"]
    message: str | None = Field(default=None, description="Error, if any.")


class Lag(BaseModel):
    """Lag of a reader of the topics."""

    records: int = Field(description="Unread records.")
    seconds: float = Field(description="Minimum age of the oldest unread record; 0 without any.")
    age_seconds: float = Field(description="Age of these figures; kept while the broker does not answer.")


class Health(BaseModel):
    status: Literal["ok", "degraded"] = Field(description="degraded: see reasons.")
    reasons: list[str] = Field(description="Problems, one line each; empty if there are none.")
    services: dict[str, ServiceHealth]
    lag: dict[str, Lag] = Field(description="By consumer group, and of this gateway.")
    uptime_seconds: float = Field(description="Of this gateway.")


class LastHourAnswer(BaseModel):
    """What went wrong at a venue within the last hour."""

    gaps: int = Field(description="Losses that its collector detected in the feed, connections lost included.")
    resyncs: int = Field(description="New snapshots that its collector requested for a book.")
    epochs: int = Field(description="Snapshots that opened a book: the first, and one after each resync or reconnect.")
    since: int = Field(
        description="µs. The counts begin here if that is less than an hour ago: of what was before it, the gateway "
        "knows only the last events and books of each partition."
    )


class VenueStatus(BaseModel):
    status: Status = Field(description="As in /exchanges.")
    last_frame_age_ms: int | None = Field(description="Age of the last frame from the venue; null: not known.")
    last_frame_source: Literal["collector", "records"] = Field(
        description="collector: told by its collector just now. records: the collector cannot be reached; age of the "
        "newest record (a heartbeat makes one without a frame)."
    )
    valid_books: int
    stale_books: int
    invalid_books: int
    last_hour: LastHourAnswer


class ServiceStatus(BaseModel):
    status: Literal["ok", "degraded", "down"]
    ready: bool
    message: str | None = Field(description="Why it is not ready.")
    lag_records: int | None = Field(description="Records that it has not read; null: it reads none, or not known.")
    lag_seconds: float | None = Field(description="Minimum age of the oldest of them.")


class HopLatency(BaseModel):
    """Latency of one hop over the last minute, microseconds; negative where clocks differ."""

    between: str = Field(description="The two times.")
    count: int = Field(description="Sampled records: the first of each batch, and every eighth after it.")
    p50: int | None = Field(description="At most 6 % above the exact percentile. Null without a record.")
    p90: int | None
    p99: int | None
    max: int | None


class SystemStatus(BaseModel):
    time: int = Field(description="µs, the gateway's clock.")
    status: Literal["ok", "degraded"]
    venues: dict[str, VenueStatus]
    services: dict[str, ServiceStatus]
    hops: dict[str, HopLatency] = Field(description="From the venue to the clients' sockets, in the order of the way.")
