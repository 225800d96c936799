"""What every request passes: known query keys, and a gateway that has caught up."""

from __future__ import annotations

from collections import Counter
from typing import Final

from fastapi import Request
from fastapi.routing import APIRoute

from alphapulse.errors import RequestRefused
from gateway.rest.negotiation import EVERY, JSON, NotAcceptable, chosen, joined

CATCHING_UP: Final = "catching_up"
UNKNOWN_KEY: Final = "unknown_key"
HISTORY_KEYS: Final = frozenset({"from", "to", "cursor", "at"})
"""Query keys that lead beyond the newest rows."""
RETRY_SECONDS: Final = 1
"""Delay after which a client may retry while the gateway catches up, seconds."""


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


async def acceptable(request: Request) -> None:
    """Refuse a request that accepts nothing the route has.

    Raises:
        NotAcceptable: so it is.
    """
    route = request.scope["route"]
    offered = EVERY if isinstance(route, APIRoute) and _has_rows(route) else (JSON,)
    chosen(joined(request.headers, "accept"), offered)


def asks_history(request: Request) -> bool:
    """Return whether ``request`` asks for more than the newest rows: those need the scope ``rest:history``.

    It does by a range, a cursor or an instant, by starting at the oldest row, and by a format that has all rows unless
    ``limit`` bounds them.
    """
    query = request.query_params
    if not HISTORY_KEYS.isdisjoint(query) or query.get("order") == "asc":
        return True
    route = request.scope["route"]
    if "limit" in query or not isinstance(route, APIRoute) or not _has_rows(route):
        return False
    try:
        return chosen(joined(request.headers, "accept")) != JSON
    except NotAcceptable:
        return False  # refused by `acceptable`


def _has_rows(route: APIRoute) -> bool:
    content = route.responses.get(200, {}).get("content", {})
    return EVERY[1] in content
