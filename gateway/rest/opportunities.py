"""``/arbitrage/opportunities``."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Annotated, Literal

from fastapi import APIRouter, Query, Request
from starlette.responses import JSONResponse, Response

from gateway import protocol
from gateway.datasets import opportunities as stored
from gateway.datasets.pages import Pages
from gateway.datasets.selection import Order, Selection, cursor_of, selected
from gateway.rest import answers, examples
from gateway.rest.faults import UNAVAILABLE, UNKNOWN
from gateway.rest.names import Names
from gateway.rest.negotiation import JSON, chosen, joined
from gateway.rest.presence import while_present
from gateway.rest.results import Cursor, From, Limit, To, content, respond
from gateway.state import MarketState

DEFAULT_LIMIT = 200


def add(
    routes: APIRouter,
    state: MarketState,
    pages: Pages,
    names: Names,
    live_since: Callable[[], int],
    clock: Callable[[], int],
) -> None:
    """Add the routes."""
    dataset = stored.opportunities(state, live_since)

    @routes.get(
        "/arbitrage/opportunities",
        tags=["signals"],
        response_model=answers.OpportunitiesAnswer,
        responses={**UNKNOWN, **UNAVAILABLE, 200: content(examples.OPPORTUNITIES, examples.OPPORTUNITIES_CSV)},
    )
    async def opportunities(
        request: Request,
        which: Annotated[Literal["open", "closed", "all"], Query(alias="state")] = "open",
        venue: Annotated[str | None, Query(description="Only with this venue, bought or sold at.")] = None,
        symbol: Annotated[str | None, Query(description="Only this symbol.")] = None,
        begin: From = None,
        to: To = None,
        order: Annotated[Order, Query(description="By the time of the last change; desc: the newest first.")] = "desc",
        limit: Limit = None,
        cursor: Cursor = None,
    ) -> Response:
        """List arbitrage opportunities: the open ones, or closed ones, most recently changed first.

        Without a time range: those open now, and the latest closed ones (200 by default); an open one is left out while
        one of its books is invalid or stale. With one, or with a cursor: each opportunity that changed in the range,
        in the state that it had at its end.
        """
        await while_present(request, names.check(venue, symbol))
        filters = {"venue": venue, "symbol": symbol, "state": None if which == "all" else which}
        selection = selected(begin, to, order, filters)
        present = begin is None and to is None and cursor is None and order == "desc"
        if present and chosen(joined(request.headers, "accept")) == JSON:
            return _present(state, selection, which, limit or DEFAULT_LIMIT, clock())
        # A change between two pages must not move an opportunity from one to the other.
        bounded = replace(selection, begin=selection.begin or 0, end=selection.end or clock())
        if cursor is not None:
            bounded = selection
        return await respond(request, pages, dataset, bounded, cursor=cursor, limit=limit)


def _present(state: MarketState, selection: Selection, which: str, limit: int, now: int) -> Response:
    """Return what memory has: the open opportunities, the latest closed ones, or both."""
    venue, symbol = (selection.filters.get(name) for name in ("venue", "symbol"))
    of_symbol = None if symbol is None else str(symbol)
    found = state.open_opportunities(of_symbol) if which != "closed" else []
    if which != "open":
        found += state.opportunities.closed(of_symbol)
    if venue is not None:
        found = [each for each in found if venue in (each.buy_venue, each.sell_venue)]
    found.sort(key=stored.key, reverse=True)
    shown = found[:limit]
    following = None
    if shown and (len(found) > limit or which != "open"):
        following = cursor_of(stored.NAME, replace(selection, begin=0, end=now, position=stored.key(shown[-1])))
    fields = {"opportunities": [protocol.opportunity_fields(each) for each in shown], "next": following}
    return JSONResponse(fields | {"complete_from": None, "complete_until": None}, headers={"Cache-Control": "no-store"})
