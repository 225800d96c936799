"""``/trades``."""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated

from fastapi import APIRouter, Query, Request
from starlette.responses import Response

from gateway.datasets.pages import Pages
from gateway.datasets.selection import Order, selected
from gateway.datasets.trades import trades
from gateway.rest import answers, examples
from gateway.rest.faults import UNAVAILABLE, UNKNOWN
from gateway.rest.names import Names
from gateway.rest.presence import while_present
from gateway.rest.results import Cursor, From, Limit, To, content, respond
from gateway.state import MarketState


def add(routes: APIRouter, state: MarketState, pages: Pages, names: Names, live_since: Callable[[], int]) -> None:
    """Add the routes."""
    dataset = trades(state, live_since)

    @routes.get(
        "/trades",
        tags=["market"],
        response_model=answers.TradesAnswer,
        responses={**UNKNOWN, **UNAVAILABLE, 200: content(examples.TRADES, examples.TRADES_CSV)},
    )
    async def list_trades(
        request: Request,
        venue: Annotated[str | None, Query(description="Only this venue.")] = None,
        symbol: Annotated[str | None, Query(description="Only this symbol.")] = None,
        begin: From = None,
        to: To = None,
        order: Annotated[Order, Query(description="By received time; desc: the newest first.")] = "desc",
        limit: Limit = None,
        cursor: Cursor = None,
    ) -> Response:
        """List trades by the time they were received, the newest first."""
        await while_present(request, names.check(venue, symbol))
        selection = selected(begin, to, order, {"venue": venue, "symbol": symbol})
        return await respond(request, pages, dataset, selection, cursor=cursor, limit=limit)
