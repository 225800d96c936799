"""``/system``: health and status."""

from __future__ import annotations

from fastapi import APIRouter

from gateway.health.answers import Health, SystemStatus
from gateway.health.monitor import HealthMonitor
from gateway.rest import examples


def add(routes: APIRouter, health: HealthMonitor) -> None:
    """Add the routes."""

    @routes.get("/system/health", tags=["system"], responses={200: examples.of(examples.HEALTH)})
    async def system_health() -> Health:
        """Return the health of services, books and consumers, with reasons; 200 even when degraded."""
        return await health.read()

    @routes.get("/system/status", tags=["system"], responses={200: examples.of(examples.STATUS)})
    async def system_status() -> SystemStatus:
        """Return the figures behind the health: venues, services, and the latency of each hop of the last minute."""
        return await health.status()
