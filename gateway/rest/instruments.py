"""``/instruments``."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Query

from alphapulse.fixed import decimal_text
from gateway.fanout import Hub
from gateway.rest import answers
from gateway.rest.ages import milliseconds
from gateway.rest.faults import UNKNOWN
from gateway.state import MarketState, ShownInstrument


def add(routes: APIRouter, state: MarketState, hub: Hub) -> None:
    """Add the routes."""

    @routes.get("/instruments", tags=["market"], responses=UNKNOWN)
    async def instruments(
        venue: Annotated[str | None, Query(description="Only this venue.")] = None,
    ) -> answers.InstrumentsAnswer:
        """List the instruments with their best prices."""
        found = sorted(state.instruments(venue), key=lambda each: (each.venue, each.symbol))
        now = hub.clock()
        return answers.InstrumentsAnswer(instruments=[_instrument(each, now) for each in found])


def _instrument(of: ShownInstrument, now: int) -> answers.InstrumentAnswer:
    depth = of.depth
    good = depth if of.fault is None else None
    return answers.InstrumentAnswer(
        venue=of.venue,
        symbol=of.symbol,
        price_exponent=depth.price_exponent if depth else None,
        size_exponent=depth.size_exponent if depth else None,
        best_bid=decimal_text(good.bid_prices[0], good.price_exponent) if good and good.bid_prices else None,
        best_ask=decimal_text(good.ask_prices[0], good.price_exponent) if good and good.ask_prices else None,
        valid=of.fault is None,
        reason=of.fault,
        age_ms=milliseconds(of.age(now)),
    )
