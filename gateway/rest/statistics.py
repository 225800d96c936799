"""``/delta-stats``: statistics of the books."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Query

from gateway import protocol
from gateway.rest import answers
from gateway.rest.faults import UNKNOWN
from gateway.state import WINDOWS_KEPT, MarketState


def add(routes: APIRouter, state: MarketState) -> None:
    """Add the routes."""

    @routes.get("/delta-stats/{venue}/{symbol}", tags=["market"], responses=UNKNOWN)
    async def delta_statistics(
        venue: str,
        symbol: str,
        limit: Annotated[int, Query(ge=1, le=WINDOWS_KEPT, description="Maximum number of windows.")] = 60,
    ) -> answers.StatisticsAnswer:
        """Return an instrument's book statistics for the latest windows (one second each by default)."""
        windows = list(state.instrument(venue, symbol).windows)[-limit:]
        return answers.StatisticsAnswer(
            venue=venue,
            symbol=symbol,
            windows=[answers.Statistics(**protocol.statistics_fields(each)) for each in windows],
        )
