"""``/delta-stats/summary``."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import replace
from typing import Annotated, Final

import orjson
from fastapi import APIRouter, Query, Request
from starlette.responses import Response

from gateway.datasets.encoders import ENCODERS, rows_of
from gateway.datasets.selection import selected
from gateway.datasets.summary import SUMMARY, covered, query, summed
from gateway.rest import answers, examples
from gateway.rest.faults import UNAVAILABLE, UNKNOWN
from gateway.rest.horizon import Horizon
from gateway.rest.names import Names
from gateway.rest.negotiation import JSON, SUFFIX, chosen, joined
from gateway.rest.presence import while_present
from gateway.rest.results import From, To, content
from gateway.state import MarketState
from gateway.tables import Tables

DEFAULT_RANGE: Final = 240 * 10**9
"""Without `from`: the last four minutes (ns), which memory has."""


def add(
    routes: APIRouter,
    state: MarketState,
    tables: Tables,
    names: Names,
    horizon: Horizon,
    live_since: Callable[[], int],
    clock: Callable[[], int],
) -> None:
    """Add the routes."""

    @routes.get(
        "/delta-stats/summary",
        tags=["market"],
        response_model=answers.SummaryAnswer,
        responses={**UNKNOWN, **UNAVAILABLE, 200: content(examples.SUMMARY, examples.SUMMARY_CSV)},
    )
    async def delta_statistics_summary(
        request: Request,
        venue: Annotated[str | None, Query(description="Only this venue.")] = None,
        symbol: Annotated[str | None, Query(description="Only this symbol.")] = None,
        begin: From = None,
        to: To = None,
    ) -> Response:
        """Sum the books' statistics over a time range, by default the last four minutes; a row per instrument."""
        await while_present(request, names.check(venue, symbol))
        kind = chosen(joined(request.headers, "accept"))
        asked = selected(begin, to, "asc", {"venue": venue, "symbol": symbol})
        end = asked.end if asked.end is not None else clock()
        first = asked.begin if asked.begin is not None else max(end - DEFAULT_RANGE, 0)
        selection = replace(asked, begin=first, end=end)
        until: int | None = None
        if covered(state, selection, live_since()):
            rows = summed(state, selection)
        else:
            text, bound = query(selection)
            found = await while_present(request, tables.read(text, bound))
            rows = found.select(SUMMARY.schema.names).cast(SUMMARY.schema)
            until = horizon() // 1000 if end > horizon() else None
        headers = {"Cache-Control": "no-store", "Vary": "Accept"}
        if kind == JSON:
            fields = {
                "from": first // 1000,
                "to": end // 1000,
                "summary": rows_of(SUMMARY, rows),
                "complete_until": until,
            }
            return Response(orjson.dumps(fields), 200, headers, JSON)
        encoder = ENCODERS[kind](SUMMARY)
        body = await asyncio.to_thread(lambda: encoder.part(rows) + encoder.end())
        if until is not None:
            headers["AlphaPulse-Complete-Until"] = str(until)
        headers["Content-Disposition"] = f'attachment; filename="{SUMMARY.name}.{SUFFIX[kind]}"'
        return Response(body, 200, headers, kind)
