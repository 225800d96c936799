"""``/system``: health and status."""

from __future__ import annotations

from fastapi import APIRouter, Response

from gateway.health.answers import Health
from gateway.health.monitor import HealthMonitor


def add(routes: APIRouter, health: HealthMonitor) -> None:
    """Add the routes."""

    @routes.get("/system/health", tags=["system"])
    async def system_health(response: Response) -> Health:
        """Return the health of services, books and consumers, with reasons; 200 even when degraded."""
        response.headers["Cache-Control"] = "no-store"
        return await health.read()
