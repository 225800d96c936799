"""Responses with rows of a result set, in the format that the client accepts."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import ExitStack
from typing import Annotated, Any, Final
from urllib.parse import quote, urlencode

import orjson
from fastapi import Query, Request
from starlette.responses import Response

from gateway.datasets.dataset import Dataset
from gateway.datasets.encoders import ENCODERS, Encoder, rows_of
from gateway.datasets.pages import EXPORT_ROWS, Page, Pages
from gateway.datasets.selection import CURSOR_CHARACTERS, Selection, continued, cursor_of
from gateway.datasets.times import PATTERN
from gateway.rest.exports import ExportResponse, LargeResponse, exports_of, owner_of
from gateway.rest.head import is_head
from gateway.rest.negotiation import ARROW, CSV, JSON, PARQUET, SUFFIX, chosen, joined
from gateway.rest.presence import while_present

LIMIT: Final = 10_000
"""Largest page."""
DEFAULT_LIMIT: Final = 1_000
"""Rows of a page of JSON unless asked otherwise; the other formats then have all rows of the range."""
_UNTIL: Final = "AlphaPulse-Complete-Until"
_FROM: Final = "AlphaPulse-Complete-From"

_TIME: Final = "µs since 1970, or RFC 3339 with an offset (`2026-01-31T09:30:00Z`)"
From = Annotated[
    str | None,
    Query(alias="from", pattern=PATTERN, description=f"Begin of the time range, included: {_TIME}. Default: no bound."),
]
To = Annotated[
    str | None, Query(pattern=PATTERN, description=f"End of the time range, excluded: {_TIME}. Default: no bound.")
]
Limit = Annotated[
    int | None,
    Query(
        ge=1,
        le=LIMIT,
        description=f"Maximum number of rows. Default: {DEFAULT_LIMIT:,} in JSON, all of the range in other formats.",
    ),
]
Cursor = Annotated[
    str | None,
    Query(
        max_length=CURSOR_CHARACTERS,
        description="`next` of the page before; the other parameters must be those of that request, or left out where "
        "they are `from` and `to`.",
    ),
]


async def respond(
    request: Request,
    pages: Pages,
    dataset: Dataset,
    selection: Selection,
    *,
    cursor: str | None,
    limit: int | None,
    head: dict[str, Any] | None = None,
) -> Response:
    """Return the rows of ``selection``, as the request's Accept header wants them.

    Args:
        request: as received.
        pages: reads the rows.
        dataset: its rows.
        selection: asked for by the parameters.
        cursor: continues an earlier answer.
        limit: maximum number; None: the default of the format.
        head: fields of the JSON answer before the rows.

    Raises:
        RequestRefused: nothing acceptable, a bad cursor, too many exports, or the tables cannot be read.
    """
    kind = chosen(joined(request.headers, "accept"))
    if cursor is not None:
        selection = continued(dataset.name, cursor, selection)
    if kind == JSON:
        page = await while_present(request, pages.page(dataset, selection, limit or DEFAULT_LIMIT))
        return await _json(request, dataset, page, head or {})
    with ExitStack() as held:
        place = exports_of(request).enter(owner_of(request))
        held.callback(place.release)
        reading = (
            pages.opening(dataset, selection, EXPORT_ROWS) if limit is None else pages.page(dataset, selection, limit)
        )
        page = await while_present(request, reading)
        headers = {
            **_completeness(page),
            "Cache-Control": "no-store",
            "Vary": "Accept",
            "Content-Disposition": f'attachment; filename="{dataset.name}.{SUFFIX[kind]}"',
        }
        if limit is not None and page.following is not None:
            headers["Link"] = f'<{_link(request, cursor_of(dataset.name, page.following))}>; rel="next"'
        if is_head(request.scope):
            return Response(None, 200, headers, kind)
        tables = pages.stream(dataset, selection, page, EXPORT_ROWS) if limit is None else _one(page)
        response = ExportResponse(_encoded(tables, ENCODERS[kind](dataset)), place, headers, kind)
        held.pop_all()  # the response gives the place back
    return response


async def _one(page: Page) -> AsyncIterator[Any]:
    yield page.rows


async def _encoded(tables: AsyncIterator[Any], encoder: Encoder) -> AsyncGenerator[bytes, None]:
    # Encoding a page takes some tens of milliseconds, too long for the loop that serves the stream.
    async for rows in tables:
        if part := await asyncio.to_thread(encoder.part, rows):
            yield part
    if part := await asyncio.to_thread(encoder.end):
        yield part


async def _json(request: Request, dataset: Dataset, page: Page, head: dict[str, Any]) -> Response:
    def encoded() -> bytes:
        following = None if page.following is None else cursor_of(dataset.name, page.following)
        fields = {
            **head,
            dataset.name: rows_of(dataset, page.rows),
            "next": following,
            "complete_from": _microseconds(page.complete_from),
            "complete_until": _microseconds(page.complete_until),
        }
        return orjson.dumps(fields)

    body = await asyncio.to_thread(encoded)
    headers = {**_completeness(page), "Vary": "Accept", "Cache-Control": "no-store"}
    if page.stored:
        # A range of the past that the tables have changes no more.
        headers |= {"Cache-Control": "private, no-cache", "ETag": etag(body)}
        if matches(joined(request.headers, "if-none-match"), headers["ETag"]):
            return Response(None, 304, headers)
    return LargeResponse(body, 200, headers, JSON)


def etag(body: bytes) -> str:
    """Return a weak entity tag: the same for every Content-Encoding."""
    return f'W/"{hashlib.blake2b(body, digest_size=12).hexdigest()}"'


def matches(if_none_match: str | None, tag: str) -> bool:
    """Return whether the client has the entity ``tag`` already (RFC 9110, 13.1.2)."""
    if if_none_match is None:
        return False
    given = [part.strip().removeprefix("W/") for part in if_none_match.split(",")]
    return "*" in given or tag.removeprefix("W/") in given


def _completeness(page: Page) -> dict[str, str]:
    told = {_FROM: _microseconds(page.complete_from), _UNTIL: _microseconds(page.complete_until)}
    return {name: str(value) for name, value in told.items() if value is not None}


def _microseconds(time: int | None) -> int | None:
    return None if time is None else time // 1000


def _link(request: Request, cursor: str) -> str:
    kept = [(name, value) for name, value in request.query_params.multi_items() if name != "cursor"]
    return f"{quote(request.scope['path'])}?{urlencode([*kept, ('cursor', cursor)])}"


def content(example: dict[str, Any], csv: str) -> dict[str, Any]:
    """Return the documentation of a response with rows in every format.

    Args:
        example: in JSON.
        csv: in CSV.
    """
    binary = {"schema": {"type": "string", "format": "binary"}}
    return {
        "description": "The rows, in the format that the Accept header prefers.",
        "content": {
            JSON: {"example": example},
            CSV: {"schema": {"type": "string"}, "example": csv},
            ARROW: binary,
            PARQUET: binary,
        },
        "headers": {
            _UNTIL: {
                "description": "µs. Later rows may be missing: the tables do not have them yet.",
                "schema": {"type": "integer"},
            },
            _FROM: {
                "description": "µs. Earlier rows are missing: the tables cannot be read now.",
                "schema": {"type": "integer"},
            },
        },
    }
