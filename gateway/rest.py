"""The REST interface, ``/api/v1``: what the gateway's state holds at this moment."""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Query

from alphapulse.fixed import decimal_text
from gateway import answers, protocol
from gateway.health import HealthMonitor
from gateway.state import WINDOWS_KEPT, InstrumentState, MarketState

_UNKNOWN: dict[int | str, dict[str, Any]] = {404: {"model": answers.Fault, "description": "No such venue or symbol."}}
_REFUSED: dict[int | str, dict[str, Any]] = {422: {"model": answers.Fault, "description": "A parameter is not valid."}}


def router(state: MarketState, health: HealthMonitor, clock: Callable[[], int]) -> APIRouter:
    """Return the routes.

    Args:
        clock: nanoseconds since the Unix epoch.
    """
    routes = APIRouter(prefix="/api/v1", responses=_REFUSED)

    @routes.get("/exchanges", tags=["market"])
    async def exchanges() -> answers.Exchanges:
        """List the venues: connection, rate, and when each was last heard of."""
        now = clock()
        return answers.Exchanges(
            exchanges=[
                answers.Exchange(
                    venue=venue,
                    status=activity.status(now),
                    instruments=len(state.instruments(venue)),
                    records_per_second=activity.rate.per_second(now),
                    last_record_time=protocol.microseconds(activity.last_received) or None,
                )
                for venue, activity in sorted(state.venues.items())
            ]
        )

    @routes.get("/instruments", tags=["market"], responses=_UNKNOWN)
    async def instruments(
        venue: Annotated[str | None, Query(description="Only this venue's.")] = None,
    ) -> answers.Instruments:
        """List the instruments with their best prices."""
        found = sorted(state.instruments(venue), key=lambda each: (each.venue, each.symbol))
        return answers.Instruments(instruments=[_instrument(each) for each in found])

    @routes.get("/books/{venue}/{symbol}", tags=["market"], responses=_UNKNOWN)
    async def book(
        venue: str,
        symbol: str,
        depth: Annotated[int, Query(ge=1, le=1000, description="Levels a side, at most.")] = 20,
    ) -> answers.Book:
        """Return an instrument's best levels; of a known instrument without a book, one that is not valid."""
        return _book(state.instrument(venue, symbol), depth)

    @routes.get("/arbitrage/opportunities", tags=["signals"], responses=_UNKNOWN)
    async def opportunities(
        which: Annotated[Literal["open", "closed", "all"], Query(alias="state")] = "open",
        symbol: Annotated[str | None, Query(description="Only this symbol's.")] = None,
        limit: Annotated[int, Query(ge=1, le=1000, description="The newest that many.")] = 200,
    ) -> answers.Opportunities:
        """List arbitrage opportunities: the open ones, or the latest closed ones, the last changed first."""
        if symbol is not None:
            state.check_symbol(symbol)
        found = state.opportunities.open(symbol) if which != "closed" else []
        if which != "open":
            found += state.opportunities.closed(symbol)
        found.sort(key=lambda each: each.updated_time, reverse=True)
        return answers.Opportunities(
            opportunities=[answers.Opportunity(**protocol.opportunity_fields(each)) for each in found[:limit]]
        )

    @routes.get("/delta-stats/{venue}/{symbol}", tags=["market"], responses=_UNKNOWN)
    async def delta_statistics(
        venue: str,
        symbol: str,
        limit: Annotated[int, Query(ge=1, le=WINDOWS_KEPT, description="Windows, at most.")] = 60,
    ) -> answers.DeltaStatistics:
        """Return what happened to an instrument's book in the latest windows (a second each by default)."""
        windows = list(state.instrument(venue, symbol).windows)[-limit:]
        return answers.DeltaStatistics(
            venue=venue,
            symbol=symbol,
            windows=[answers.Statistics(**protocol.statistics_fields(each)) for each in windows],
        )

    @routes.get("/system/health", tags=["system"])
    async def system_health() -> answers.Health:
        """Say how all services are doing and how far consumers are behind; 200 even when degraded."""
        return await health.read()

    return routes


def _instrument(of: InstrumentState) -> answers.Instrument:
    depth = of.depth
    if depth is None:
        return answers.Instrument(
            venue=of.venue,
            symbol=of.symbol,
            price_exponent=None,
            size_exponent=None,
            best_bid=None,
            best_ask=None,
            valid=False,
        )
    return answers.Instrument(
        venue=of.venue,
        symbol=of.symbol,
        price_exponent=depth.price_exponent,
        size_exponent=depth.size_exponent,
        best_bid=decimal_text(depth.bid_prices[0], depth.price_exponent) if depth.bid_prices else None,
        best_ask=decimal_text(depth.ask_prices[0], depth.price_exponent) if depth.ask_prices else None,
        valid=depth.valid,
    )


def _book(of: InstrumentState, levels: int) -> answers.Book:
    depth = of.depth
    if depth is None:
        return answers.Book(
            venue=of.venue, symbol=of.symbol, valid=False, epoch="0", sequence=0, time=0, bids=[], asks=[]
        )
    bids = list(zip(depth.bid_prices, depth.bid_sizes, strict=True))[:levels] if depth.valid else []
    asks = list(zip(depth.ask_prices, depth.ask_sizes, strict=True))[:levels] if depth.valid else []
    return answers.Book(**protocol.book_fields(depth, depth.sequence, bids, asks))
