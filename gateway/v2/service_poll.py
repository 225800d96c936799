"""Poll of the services' health for the channel ``status``, only while somebody is subscribed."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Final, Protocol

from gateway.health.answers import Health
from gateway.v2.status import ServiceCondition
from gateway.v2.streams import Streams

POLL_SECONDS: Final = 5.0
IDLE_SECONDS: Final = 1.0
"""Interval of looking for subscribers."""


class HealthSource(Protocol):
    """Interface of :class:`gateway.health.monitor.HealthMonitor` to the poll."""

    async def read(self) -> Health:
        """Return the system's health."""
        ...


def conditions_of(health: Health) -> dict[str, ServiceCondition]:
    """Return the condition of each service, and of each consumer group that is no service of its own name."""
    found: dict[str, ServiceCondition] = {}
    for name, service in health.services.items():
        lag = health.lag.get(name)
        found[name] = ServiceCondition(
            service.status, None if lag is None else lag.records, None if lag is None else lag.seconds
        )
    for group, lag in health.lag.items():
        if group not in found:
            found[group] = ServiceCondition("ok", lag.records, lag.seconds)
    return found


class ServicePoll:
    """Keeps the conditions that :class:`gateway.v2.streams.Streams` publishes."""

    def __init__(self, streams: Streams, health: HealthSource) -> None:
        self._streams = streams
        self._health = health
        self._conditions: Mapping[str, ServiceCondition] = {}
        streams.services = lambda: self._conditions

    async def run(self) -> None:
        """Poll until cancelled."""
        while True:
            if not self._streams.services_wanted:
                self._conditions = {}
                await asyncio.sleep(IDLE_SECONDS)
                continue
            self._conditions = conditions_of(await self._health.read())
            await asyncio.sleep(POLL_SECONDS)
