"""REST interface ``/api/v1``: its routes, a module for each resource."""

from __future__ import annotations

from dataclasses import dataclass

from fastapi import APIRouter, Depends, Request

from alphapulse.config import Settings
from gateway.access.http import requires, requires_where
from gateway.access.identity import REST_HISTORY, REST_MARKET, REST_SYSTEM
from gateway.datasets.pages import Pages
from gateway.fanout import Hub
from gateway.health.monitor import HealthMonitor
from gateway.rest import (
    books,
    candles,
    events,
    exchanges,
    instruments,
    opportunities,
    statistics,
    summary,
    symbols,
    system,
    trades,
)
from gateway.rest.exports import owner_of
from gateway.rest.faults import CATCHING_UP, COMMON
from gateway.rest.guards import CatchingUp, acceptable, asks_history, known_keys
from gateway.rest.horizon import horizon_of
from gateway.rest.names import Names
from gateway.rest.symbol_editor import SymbolEditor
from gateway.state import MarketState
from gateway.tables import Tables
from gateway.tables.bounded import CALLER


@dataclass(frozen=True, slots=True)
class Sources:
    """What the interface answers from.

    Attributes:
        settings: of the gateway.
        state: the latest values.
        hub: whether they are current.
        health: of the system.
        tables: of ClickHouse.
        editor: of the configuration.
    """

    settings: Settings
    state: MarketState
    hub: Hub
    health: HealthMonitor
    tables: Tables
    editor: SymbolEditor


def router(of: Sources) -> APIRouter:
    """Create the routes.

    Args:
        of: what they answer from.
    """
    state, hub, tables = of.state, of.hub, of.tables

    async def live(request: Request) -> None:
        if not hub.live:
            raise CatchingUp
        CALLER.set(owner_of(request))
        await of.health.first_lag()  # just after the start: how far the tables are complete
        hub.expire()  # no response reports a stale book as valid

    def live_since() -> int:
        return hub.live_since if hub.live_since is not None else hub.clock()

    horizon = horizon_of(hub.clock, of.health.stored_lag_seconds)
    pages, names = Pages(tables, horizon), Names(state, tables)
    # Access first: who is refused learns nothing else.
    checks = [Depends(known_keys), Depends(acceptable)]
    everything = APIRouter(prefix="/api/v1", responses=COMMON)
    market = [Depends(requires(REST_MARKET)), Depends(requires_where(asks_history, REST_HISTORY))]
    routes = APIRouter(responses=CATCHING_UP, dependencies=[*market, *checks, Depends(live)])
    stored = APIRouter(responses=CATCHING_UP, dependencies=[Depends(requires(REST_HISTORY)), *checks, Depends(live)])
    exchanges.add(routes, state, hub)
    instruments.add(routes, of.settings, state, hub)
    books.add(routes, state, hub, tables, names, horizon, depth_levels=of.settings.processors.depth_levels)
    trades.add(routes, state, pages, names, live_since)
    candles.add(routes, state, pages, names, live_since)
    opportunities.add(routes, state, pages, names, live_since, hub.clock)
    summary.add(stored, state, tables, names, horizon, live_since, hub.clock)
    statistics.add(routes, state, pages, names, live_since)
    events.add(stored, state, pages, names, live_since)
    everything.include_router(routes)
    everything.include_router(stored)
    of_system = APIRouter(dependencies=[Depends(requires(REST_SYSTEM)), *checks])
    system.add(of_system, of.health)
    everything.include_router(of_system)
    everything.include_router(symbols.router(of.editor))
    return everything
