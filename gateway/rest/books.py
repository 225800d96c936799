"""``/books/{venue}/{symbol}``."""

from __future__ import annotations

from typing import Any

from fastapi import APIRouter, Query

from gateway import protocol
from gateway.fanout import Hub
from gateway.rest import answers
from gateway.rest.ages import milliseconds
from gateway.rest.faults import UNKNOWN
from gateway.state import MarketState, ShownInstrument


def add(routes: APIRouter, state: MarketState, hub: Hub, *, depth_levels: int) -> None:
    """Add the routes.

    Args:
        depth_levels: levels per side in ``md.depth``.
    """
    levels_asked = Query(
        depth_levels, ge=1, le=depth_levels, description="Levels per side, at most `[processors] depth_levels`."
    )

    @routes.get("/books/{venue}/{symbol}", tags=["market"], responses=UNKNOWN)
    async def book(
        venue: str,
        symbol: str,
        # Not in the annotation: FastAPI reads it as text and would not find depth_levels there.
        depth: int = levels_asked,
    ) -> answers.BookAnswer:
        """Return an instrument's best levels; without a valid book, an answer that is not valid."""
        return _book(state.instrument(venue, symbol), depth, hub.clock())


def _book(of: ShownInstrument, levels: int, now: int) -> answers.BookAnswer:
    depth, valid = of.depth, of.fault is None
    if depth is None:
        fields: dict[str, Any] = {"venue": of.venue, "symbol": of.symbol, "epoch": "0", "sequence": 0, "time": 0}
        return answers.BookAnswer(**fields, valid=False, bids=[], asks=[], reason=of.fault, age_ms=None)
    bids = list(zip(depth.bid_prices, depth.bid_sizes, strict=True))[:levels] if valid else []
    asks = list(zip(depth.ask_prices, depth.ask_sizes, strict=True))[:levels] if valid else []
    fields = protocol.book_fields(depth, valid, bids, asks)
    return answers.BookAnswer(**fields, reason=of.fault, age_ms=milliseconds(of.age(now)))
