"""REST interface ``/api/v1``: its routes, a module for each resource."""

from __future__ import annotations

from dataclasses import dataclass

from fastapi import APIRouter, Depends

from alphapulse.config import Settings
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
from gateway.rest.access import MARKET, SYSTEM, Requires
from gateway.rest.faults import CATCHING_UP, COMMON
from gateway.rest.guards import CatchingUp, acceptable, known_keys
from gateway.rest.horizon import horizon_of
from gateway.rest.names import Names
from gateway.rest.symbol_editor import SymbolEditor
from gateway.rest.symbols import Identity
from gateway.state import MarketState
from gateway.tables import Tables


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


def router(of: Sources, requires: Requires, identity: Identity) -> APIRouter:
    """Create the routes.

    Args:
        of: what they answer from.
        requires: the dependency that refuses requests without a scope.
        identity: name of who sends a request.
    """
    state, hub, tables = of.state, of.hub, of.tables

    async def live() -> None:
        if not hub.live:
            raise CatchingUp
        hub.expire()  # no response reports a stale book as valid

    def live_since() -> int:
        return hub.live_since if hub.live_since is not None else hub.clock()

    horizon = horizon_of(hub.clock, of.health.stored_lag_seconds)
    pages, names = Pages(tables, horizon), Names(state, tables)
    checks = [Depends(known_keys), Depends(acceptable)]
    everything = APIRouter(prefix="/api/v1", responses=COMMON)
    routes = APIRouter(responses=CATCHING_UP, dependencies=[Depends(requires(MARKET)), *checks, Depends(live)])
    exchanges.add(routes, state, hub)
    instruments.add(routes, of.settings, state, hub)
    books.add(routes, state, hub, tables, names, horizon, depth_levels=of.settings.processors.depth_levels)
    trades.add(routes, state, pages, names, live_since)
    candles.add(routes, state, pages, names, live_since)
    opportunities.add(routes, state, pages, names, live_since, hub.clock)
    summary.add(routes, state, tables, names, horizon, live_since, hub.clock)
    statistics.add(routes, state, pages, names, live_since)
    events.add(routes, state, pages, names, live_since)
    everything.include_router(routes)
    of_system = APIRouter(dependencies=[Depends(requires(SYSTEM)), *checks])
    system.add(of_system, of.health)
    everything.include_router(of_system)
    everything.include_router(symbols.router(of.editor, requires, identity))
    return everything
