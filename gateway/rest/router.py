"""REST interface ``/api/v1``: its routes, a module for each resource."""

from __future__ import annotations

from fastapi import APIRouter, Depends

from gateway.access.http import requires
from gateway.access.identity import REST_MARKET, REST_SYSTEM
from gateway.fanout import Hub
from gateway.health.answers import Health
from gateway.health.monitor import HealthMonitor
from gateway.rest import books, exchanges, instruments, opportunities, statistics
from gateway.rest.faults import CATCHING_UP, NO_ACCESS, REFUSED
from gateway.rest.guards import CatchingUp, known_keys
from gateway.state import MarketState


def router(state: MarketState, hub: Hub, health: HealthMonitor, *, depth_levels: int) -> APIRouter:
    """Create the routes.

    Args:
        depth_levels: levels per side in ``md.depth``.
    """

    async def live() -> None:
        if not hub.live:
            raise CatchingUp
        hub.expire()  # no response reports a stale book as valid

    # Access first: who is refused learns nothing else.
    everything = APIRouter(prefix="/api/v1", responses=REFUSED | NO_ACCESS)
    system = APIRouter(dependencies=[Depends(requires(REST_SYSTEM)), Depends(known_keys)])
    routes = APIRouter(
        responses=CATCHING_UP, dependencies=[Depends(requires(REST_MARKET)), Depends(known_keys), Depends(live)]
    )
    exchanges.add(routes, state, hub)
    instruments.add(routes, state, hub)
    books.add(routes, state, hub, depth_levels=depth_levels)
    opportunities.add(routes, state)
    statistics.add(routes, state)
    everything.include_router(routes)

    @system.get("/system/health", tags=["system"])
    async def system_health() -> Health:
        """Return the health of services, books and consumers, with reasons; 200 even when degraded."""
        return await health.read()

    everything.include_router(system)
    return everything
