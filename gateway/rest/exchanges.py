"""``/exchanges``: the venues."""

from __future__ import annotations

from fastapi import APIRouter

from gateway import protocol
from gateway.fanout import Hub
from gateway.rest import answers, examples
from gateway.rest.ages import milliseconds
from gateway.state import MarketState


def add(routes: APIRouter, state: MarketState, hub: Hub) -> None:
    """Add the routes."""

    @routes.get("/exchanges", tags=["market"], responses={200: examples.of(examples.EXCHANGES)})
    async def exchanges() -> answers.Exchanges:
        """List the venues: status, age of books, rate of records."""
        return answers.Exchanges(exchanges=[_exchange(state, venue, hub.clock()) for venue in sorted(state.venues)])


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
        book_age_ms=milliseconds(standing.youngest),
        oldest_book_age_ms=milliseconds(standing.oldest),
        records_per_second=activity.rate.per_second(now),
        last_record_time=protocol.microseconds(activity.last_received) or None,
    )
