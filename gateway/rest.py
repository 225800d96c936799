"""REST interface ``/api/v1``: the current state of the gateway."""

from __future__ import annotations

from collections import Counter
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Depends, Query, Request
from fastapi.routing import APIRoute

from alphapulse.errors import RequestRefused
from alphapulse.fixed import decimal_text
from gateway import answers, protocol
from gateway.fanout import Hub
from gateway.health import HealthMonitor
from gateway.state import WINDOWS_KEPT, MarketState, ShownInstrument

_Responses = dict[int | str, dict[str, Any]]

CATCHING_UP = "catching_up"
UNKNOWN_KEY = "unknown_key"
RETRY_SECONDS = 1
"""Delay after which a client may retry while the gateway catches up, seconds."""

_UNKNOWN: _Responses = {404: {"model": answers.FaultAnswer, "description": "Unknown venue or symbol."}}
_REFUSED: _Responses = {422: {"model": answers.FaultAnswer, "description": "Invalid or unknown parameter."}}
_CATCHING_UP: _Responses = {
    503: {
        "model": answers.FaultAnswer,
        "description": "The gateway has just started and is still reading older records; code `catching_up`.",
        "headers": {"Retry-After": {"description": "Seconds.", "schema": {"type": "integer"}}},
    }
}


class CatchingUp(RequestRefused):
    """The gateway has not caught up yet."""

    def __init__(self) -> None:
        super().__init__(CATCHING_UP, "the gateway has just started and is still reading older records; try again")


async def known_keys(request: Request) -> None:
    """Refuse unknown query keys: a misspelt one would silently give another result.

    Raises:
        RequestRefused: a key is unknown, or given twice (only one value would count).
    """
    route = request.scope["route"]
    if not isinstance(route, APIRoute):
        raise TypeError(f"not a route of this interface: {route!r}")
    known = sorted(field.alias for field in route.dependant.query_params)
    for key, count in Counter(key for key, _ in request.query_params.multi_items()).items():
        if key not in known:
            there = f"known: {', '.join(known)}" if known else "this path has no parameters"
            raise RequestRefused(UNKNOWN_KEY, f"query {key[:80]}: unknown; {there}")
        if count > 1:
            raise RequestRefused("bad_value", f"query {key}: given {count} times")


def router(state: MarketState, hub: Hub, health: HealthMonitor, *, depth_levels: int) -> APIRouter:
    """Create the routes.

    Args:
        depth_levels: levels per side in ``md.depth``.
    """

    async def live() -> None:
        if not hub.live:
            raise CatchingUp
        hub.expire()  # no response reports a stale book as valid

    levels_asked = Query(
        depth_levels, ge=1, le=depth_levels, description="Levels per side, at most `[processors] depth_levels`."
    )
    everything = APIRouter(prefix="/api/v1", responses=_REFUSED, dependencies=[Depends(known_keys)])
    routes = APIRouter(responses=_CATCHING_UP, dependencies=[Depends(live)])

    @routes.get("/exchanges", tags=["market"])
    async def exchanges() -> answers.Exchanges:
        """List the venues: status, age of books, rate of records."""
        return answers.Exchanges(exchanges=[_exchange(state, venue, hub.clock()) for venue in sorted(state.venues)])

    @routes.get("/instruments", tags=["market"], responses=_UNKNOWN)
    async def instruments(
        venue: Annotated[str | None, Query(description="Only this venue.")] = None,
    ) -> answers.InstrumentsAnswer:
        """List the instruments with their best prices."""
        found = sorted(state.instruments(venue), key=lambda each: (each.venue, each.symbol))
        now = hub.clock()
        return answers.InstrumentsAnswer(instruments=[_instrument(each, now) for each in found])

    @routes.get("/books/{venue}/{symbol}", tags=["market"], responses=_UNKNOWN)
    async def book(
        venue: str,
        symbol: str,
        # Not in the annotation: FastAPI reads it as text and would not find depth_levels there.
        depth: int = levels_asked,
    ) -> answers.BookAnswer:
        """Return an instrument's best levels; without a valid book, an answer that is not valid."""
        return _book(state.instrument(venue, symbol), depth, hub.clock())

    @routes.get("/arbitrage/opportunities", tags=["signals"], responses=_UNKNOWN)
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

    @routes.get("/delta-stats/{venue}/{symbol}", tags=["market"], responses=_UNKNOWN)
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

    everything.include_router(routes)

    @everything.get("/system/health", tags=["system"])
    async def system_health() -> answers.Health:
        """Return the health of services, books and consumers, with reasons; 200 even when degraded."""
        return await health.read()

    return everything


def _milliseconds(age: int | None) -> int | None:
    return None if age is None else age // 1_000_000


def _exchange(state: MarketState, venue: str, now: int) -> answers.Exchange:
    activity = state.venues[venue]
    standing = state.standing(venue, now)
    return answers.Exchange(
        venue=venue,
        status=standing.status,
        instruments=len(state.instruments(venue)),
        valid_books=standing.good,
        stale_books=standing.stale,
        invalid_books=standing.invalid,
        book_age_ms=_milliseconds(standing.youngest),
        oldest_book_age_ms=_milliseconds(standing.oldest),
        records_per_second=activity.rate.per_second(now),
        last_record_time=protocol.microseconds(activity.last_received) or None,
    )


def _instrument(of: ShownInstrument, now: int) -> answers.InstrumentAnswer:
    depth = of.depth
    good = depth if of.fault is None else None
    return answers.InstrumentAnswer(
        venue=of.venue,
        symbol=of.symbol,
        price_exponent=depth.price_exponent if depth else None,
        size_exponent=depth.size_exponent if depth else None,
        best_bid=decimal_text(good.bid_prices[0], good.price_exponent) if good and good.bid_prices else None,
        best_ask=decimal_text(good.ask_prices[0], good.price_exponent) if good and good.ask_prices else None,
        valid=of.fault is None,
        reason=of.fault,
        age_ms=_milliseconds(of.age(now)),
    )


def _book(of: ShownInstrument, levels: int, now: int) -> answers.BookAnswer:
    depth, valid = of.depth, of.fault is None
    if depth is None:
        fields: dict[str, Any] = {"venue": of.venue, "symbol": of.symbol, "epoch": "0", "sequence": 0, "time": 0}
        return answers.BookAnswer(**fields, valid=False, bids=[], asks=[], reason=of.fault, age_ms=None)
    bids = list(zip(depth.bid_prices, depth.bid_sizes, strict=True))[:levels] if valid else []
    asks = list(zip(depth.ask_prices, depth.ask_sizes, strict=True))[:levels] if valid else []
    fields = protocol.book_fields(depth, valid, bids, asks)
    return answers.BookAnswer(**fields, reason=of.fault, age_ms=_milliseconds(of.age(now)))
