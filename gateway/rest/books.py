"""``/books/{venue}/{symbol}``: now, and at an instant."""

from __future__ import annotations

from typing import Annotated, Any, Final

from fastapi import APIRouter, Query, Request

from alphapulse.errors import RequestRefused
from gateway import protocol
from gateway.datasets.book_at import LEVELS, StoredBook, book_at
from gateway.datasets.times import PATTERN, nanoseconds
from gateway.fanout import Hub
from gateway.rest import answers, examples
from gateway.rest.ages import milliseconds
from gateway.rest.faults import UNAVAILABLE, UNKNOWN
from gateway.rest.horizon import NOTHING_STORED, Horizon
from gateway.rest.names import Names
from gateway.rest.presence import while_present
from gateway.state import MarketState, ShownInstrument
from gateway.tables import Tables, TablesUnavailable
from gateway.tables.errors import SINK_UNKNOWN

DEEPEST: Final = 5_000


class NotStoredYet(RequestRefused):
    """The instant is too recent for the tables and too old for memory."""

    def __init__(self, seconds: float) -> None:
        super().__init__(
            "not_stored_yet", f"query at: the tables do not have this time yet; try again in {seconds:.0f} s"
        )


def add(
    routes: APIRouter,
    state: MarketState,
    hub: Hub,
    tables: Tables,
    names: Names,
    horizon: Horizon,
    *,
    depth_levels: int,
) -> None:
    """Add the routes.

    Args:
        depth_levels: levels per side in ``md.depth``.
    """
    levels_asked = Query(
        None,
        ge=1,
        le=DEEPEST,
        description=f"Levels per side. Without `at`: at most {depth_levels} (`[processors] depth_levels`), which is "
        "also the default; with `at` the default is the whole book.",
    )

    @routes.get(
        "/books/{venue}/{symbol}",
        tags=["market"],
        responses={**UNKNOWN, **UNAVAILABLE, 200: examples.of(examples.BOOK)},
    )
    async def book(
        request: Request,
        venue: str,
        symbol: str,
        # Not in the annotation: FastAPI reads it as text and would not find depth_levels there.
        depth: int | None = levels_asked,
        at: Annotated[
            str | None,
            Query(
                pattern=PATTERN,
                description="Instant at which the book is wanted: µs since 1970, or RFC 3339 with an offset. It is "
                "rebuilt from the stored snapshot and deltas, with all its levels. Default: now.",
            ),
        ] = None,
    ) -> answers.BookAnswer:
        """Return an instrument's best levels; without a valid book, an answer that is not valid."""
        if at is not None:
            # The whole microsecond: asked for at a book's own time, which is rounded down, the answer is that book.
            instant = nanoseconds("at", at) + 999
            await while_present(request, names.check(venue, symbol))
            return await while_present(request, _then(venue, symbol, instant, depth))
        instrument = state.instrument(venue, symbol)
        if depth is not None and depth > depth_levels:
            raise RequestRefused(
                "bad_value",
                f"query depth: must be at most {depth_levels} ([processors] depth_levels) without at, found '{depth}'",
            )
        return _book(instrument, depth or depth_levels, hub.clock())

    async def _then(venue: str, symbol: str, at: int, depth: int | None) -> answers.BookAnswer:
        if at > hub.clock():
            raise RequestRefused("bad_value", f"query at: must not be in the future, found {at // 1000}")
        stored = horizon()
        if at > stored:
            # The book has not changed since it was published, so it is the one of every later instant.
            for of in state.matching(venue, symbol):
                unchanged = of.depth is not None and of.depth.received_time <= at
                if unchanged and (depth or depth_levels) <= depth_levels:
                    return _book(of, depth or depth_levels, at)
            if stored == NOTHING_STORED:
                raise TablesUnavailable(SINK_UNKNOWN)
            raise NotStoredYet((at - stored) / 1e9 + 1)
        found = await book_at(tables, venue, symbol, at, levels=depth, max_book_age=state.max_book_age)
        return _stored(venue, symbol, found, at)


def _stored(venue: str, symbol: str, book: StoredBook, at: int) -> answers.BookAnswer:
    return answers.BookAnswer(
        venue=venue,
        symbol=symbol,
        valid=book.fault is None,
        reason=book.fault,
        age_ms=milliseconds(at - book.received_time) if book.received_time else None,
        epoch=str(book.epoch),
        sequence=book.sequence,
        time=protocol.microseconds(book.received_time),
        bids=_levels(book, book.bids),
        asks=_levels(book, book.asks),
    )


def _levels(book: StoredBook, levels: tuple[tuple[int, int], ...]) -> list[answers.Level]:
    return protocol.levels_text(levels[:LEVELS], book.price_exponent, book.size_exponent)


def _book(of: ShownInstrument, levels: int, now: int) -> answers.BookAnswer:
    depth, valid = of.depth, of.fault is None
    if depth is None:
        fields: dict[str, Any] = {"venue": of.venue, "symbol": of.symbol, "epoch": "0", "sequence": 0, "time": 0}
        return answers.BookAnswer(**fields, valid=False, bids=[], asks=[], reason=of.fault, age_ms=None)
    bids = list(zip(depth.bid_prices, depth.bid_sizes, strict=True))[:levels] if valid else []
    asks = list(zip(depth.ask_prices, depth.ask_sizes, strict=True))[:levels] if valid else []
    fields = protocol.book_fields(depth, valid, bids, asks)
    return answers.BookAnswer(**fields, reason=of.fault, age_ms=milliseconds(of.age(now)))
