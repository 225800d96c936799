"""``/delta-stats``: statistics of the books."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Annotated

from fastapi import APIRouter, Query, Request
from starlette.responses import JSONResponse, Response

from gateway import protocol
from gateway.datasets.pages import Pages
from gateway.datasets.selection import Order, cursor_of, selected
from gateway.datasets.statistics import statistics
from gateway.rest import answers, examples
from gateway.rest.faults import UNAVAILABLE, UNKNOWN
from gateway.rest.names import Names
from gateway.rest.negotiation import JSON, chosen, joined
from gateway.rest.presence import while_present
from gateway.rest.results import Cursor, From, Limit, To, content, respond
from gateway.state import WINDOWS_KEPT, MarketState

DEFAULT_LIMIT = 60


def add(routes: APIRouter, state: MarketState, pages: Pages, names: Names, live_since: Callable[[], int]) -> None:
    """Add the routes."""
    dataset = statistics(state, live_since)

    @routes.get(
        "/delta-stats/{venue}/{symbol}",
        tags=["market"],
        response_model=answers.StatisticsAnswer,
        responses={**UNKNOWN, **UNAVAILABLE, 200: content(examples.STATISTICS, examples.STATISTICS_CSV)},
    )
    async def delta_statistics(
        request: Request,
        venue: str,
        symbol: str,
        begin: From = None,
        to: To = None,
        order: Annotated[
            Order | None,
            Query(description="By window; default: the latest windows are selected, and listed with the newest last."),
        ] = None,
        limit: Limit = None,
        cursor: Cursor = None,
    ) -> Response:
        """Return an instrument's book statistics by windows (one second each by default)."""
        await while_present(request, names.check(venue, symbol))
        selection = selected(begin, to, order or "desc", {"venue": venue, "symbol": symbol})
        present = begin is None and to is None and order is None and cursor is None
        latest = limit or DEFAULT_LIMIT
        if present and latest <= WINDOWS_KEPT and chosen(joined(request.headers, "accept")) == JSON:
            windows = [window for each in state.matching(venue, symbol) for window in each.windows][-latest:]
            following = None
            if windows:
                first = windows[0]
                position = (first.window_start, first.venue, first.symbol)
                following = cursor_of(dataset.name, replace(selection, position=position))
            fields = {
                "venue": venue,
                "symbol": symbol,
                "windows": [protocol.statistics_fields(each) for each in windows],
                "next": following,
                "complete_from": None,
                "complete_until": None,
            }
            return JSONResponse(fields, headers={"Cache-Control": "no-store"})
        head = {"venue": venue, "symbol": symbol}
        return await respond(request, pages, dataset, selection, cursor=cursor, limit=limit, head=head)
