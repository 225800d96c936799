"""Health models of the REST interface.

FastAPI generates the OpenAPI document from them.
"""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, Field


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
