"""``/instruments``."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Query

from alphapulse.config import Settings
from alphapulse.fixed import decimal_text
from gateway.fanout import Hub
from gateway.rest import answers, examples
from gateway.rest.ages import milliseconds
from gateway.rest.faults import UNKNOWN
from gateway.state import MarketState, ShownInstrument


def add(routes: APIRouter, settings: Settings, state: MarketState, hub: Hub) -> None:
    """Add the routes."""
    fees = {name: f"{venue.taker_fee_basis_points:f}" for name, venue in settings.venues.items()}

    @routes.get("/instruments", tags=["market"], responses={**UNKNOWN, 200: examples.of(examples.INSTRUMENTS)})
    async def instruments(
        venue: Annotated[str | None, Query(description="Only this venue.")] = None,
    ) -> answers.InstrumentsAnswer:
        """List the instruments: best prices, precision, fee, status."""
        found = sorted(state.instruments(venue), key=lambda each: (each.venue, each.symbol))
        now = hub.clock()
        return answers.InstrumentsAnswer(instruments=[_instrument(each, now, fees.get(each.venue)) for each in found])


def _instrument(of: ShownInstrument, now: int, fee: str | None) -> answers.InstrumentAnswer:
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
        status=of.fault or "live",
        tick_size=None,
        lot_size=None,
        taker_fee_basis_points=fee,
    )
