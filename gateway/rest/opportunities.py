"""``/arbitrage/opportunities``."""

from __future__ import annotations

from typing import Annotated, Literal

from fastapi import APIRouter, Query

from gateway import protocol
from gateway.rest import answers
from gateway.rest.faults import UNKNOWN
from gateway.state import MarketState


def add(routes: APIRouter, state: MarketState) -> None:
    """Add the routes."""

    @routes.get("/arbitrage/opportunities", tags=["signals"], responses=UNKNOWN)
    async def opportunities(
        which: Annotated[Literal["open", "closed", "all"], Query(alias="state")] = "open",
        symbol: Annotated[str | None, Query(description="Only this symbol.")] = None,
        limit: Annotated[int, Query(ge=1, le=1000, description="Maximum number, newest first.")] = 200,
    ) -> answers.OpportunitiesAnswer:
        """List arbitrage opportunities: the open ones, or the latest closed ones, most recently changed first.

        An open one is left out while one of its books is invalid or stale.
        """
        if symbol is not None:
            state.check_symbol(symbol)
        found = state.open_opportunities(symbol) if which != "closed" else []
        if which != "open":
            found += state.opportunities.closed(symbol)
        found.sort(key=lambda each: each.updated_time, reverse=True)
        return answers.OpportunitiesAnswer(
            opportunities=[answers.Opportunity(**protocol.opportunity_fields(each)) for each in found[:limit]]
        )
