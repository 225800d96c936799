"""``/candles``."""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated

from fastapi import APIRouter, Query, Request
from starlette.responses import Response

from gateway.datasets.candles import candles
from gateway.datasets.pages import Pages
from gateway.datasets.selection import Order, selected
from gateway.rest import answers, examples
from gateway.rest.faults import UNAVAILABLE, UNKNOWN
from gateway.rest.names import Names
from gateway.rest.presence import while_present
from gateway.rest.results import Cursor, From, Limit, To, content, respond
from gateway.state import MarketState

MAX_INTERVAL = 7 * 86_400


def add(routes: APIRouter, state: MarketState, pages: Pages, names: Names, live_since: Callable[[], int]) -> None:
    """Add the routes."""
    dataset = candles(state, live_since)

    @routes.get(
        "/candles",
        tags=["market"],
        response_model=answers.CandlesAnswer,
        responses={**UNKNOWN, **UNAVAILABLE, 200: content(examples.CANDLES, examples.CANDLES_CSV)},
    )
    async def list_candles(
        request: Request,
        venue: Annotated[str | None, Query(description="Only this venue.")] = None,
        symbol: Annotated[str | None, Query(description="Only this symbol.")] = None,
        interval: Annotated[
            int, Query(ge=1, le=MAX_INTERVAL, description="Seconds; one of `[processors] candle_intervals_s`.")
        ] = 60,
        begin: From = None,
        to: To = None,
        order: Annotated[Order, Query(description="By open time; desc: the newest first.")] = "desc",
        limit: Limit = None,
        cursor: Cursor = None,
    ) -> Response:
        """List the candles of one interval by the time they open, each in its latest revision."""
        await while_present(request, names.check(venue, symbol))
        selection = selected(begin, to, order, {"venue": venue, "symbol": symbol, "interval": interval})
        return await respond(request, pages, dataset, selection, cursor=cursor, limit=limit)
