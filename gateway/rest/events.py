"""``/events``: the audit log."""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated, Literal

from fastapi import APIRouter, Query, Request
from starlette.responses import Response

from gateway.datasets.events import events
from gateway.datasets.pages import Pages
from gateway.datasets.selection import Order, selected
from gateway.rest import answers, examples
from gateway.rest.faults import UNAVAILABLE, UNKNOWN
from gateway.rest.names import Names
from gateway.rest.presence import while_present
from gateway.rest.results import Cursor, From, Limit, To, content, respond
from gateway.state import MarketState


def add(routes: APIRouter, state: MarketState, pages: Pages, names: Names, live_since: Callable[[], int]) -> None:
    """Add the routes."""
    dataset = events(state, live_since)

    @routes.get(
        "/events",
        tags=["system"],
        response_model=answers.EventsAnswer,
        responses={**UNKNOWN, **UNAVAILABLE, 200: content(examples.EVENTS, examples.EVENTS_CSV)},
    )
    async def list_events(
        request: Request,
        venue: Annotated[str | None, Query(description="Only of this venue.")] = None,
        symbol: Annotated[str | None, Query(description="Only of this symbol.")] = None,
        service: Annotated[str | None, Query(max_length=100, description="Only of this service.")] = None,
        kind: Annotated[str | None, Query(max_length=100, description="Only this kind (`gap`, `resync`, …).")] = None,
        severity: Annotated[
            Literal["INFO", "WARNING", "ERROR"] | None, Query(description="Only this severity.")
        ] = None,
        begin: From = None,
        to: To = None,
        order: Annotated[Order, Query(description="By time; desc: the newest first.")] = "desc",
        limit: Limit = None,
        cursor: Cursor = None,
    ) -> Response:
        """List the events of all services (`ops.events`), the newest first."""
        await while_present(request, names.check(venue, symbol))
        filters = {"venue": venue, "symbol": symbol, "service": service, "kind": kind, "severity": severity}
        selection = selected(begin, to, order, filters)
        return await respond(request, pages, dataset, selection, cursor=cursor, limit=limit)
