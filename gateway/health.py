"""How the whole system is doing: every service's readiness, and how far the consumers are behind.

Services tell their ops port in ``data_dir/run/<service>.json`` while they run; one that dies leaves its file, and so is
seen to be down. Where services do not share a folder (a cluster), only this gateway shows, and the cluster's own
probes tell of the others.
"""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Final

import aiohttp

from alphapulse import logs, topics
from alphapulse.config import Settings
from alphapulse.errors import BrokerError
from alphapulse.kafka import LagReader
from gateway.answers import Health, ServiceHealth

FRESH_SECONDS: Final = 2.0
"""Answers are shared for that long: a hundred open pages ask the services no more often than one."""
TIMEOUT_SECONDS: Final = 1.0
_ANY_ADDRESS: Final = ("0.0.0.0", "::", "")
_RECORD_TOPICS: Final = (topics.L2, topics.TRADES, topics.DEPTH, topics.CANDLES, topics.STATS, topics.ARBITRAGE)


class HealthMonitor:
    """Asks around, at most every ``FRESH_SECONDS``.

    Args:
        name: this service; it is not asked but told by ``own``.
        own: this service's health and its own lag in records.
    """

    def __init__(self, settings: Settings, name: str, own: Callable[[], tuple[ServiceHealth, int]]) -> None:
        self._settings = settings
        self._name = name
        self._own = own
        self._started = time.monotonic()
        self._lock = asyncio.Lock()
        self._session: aiohttp.ClientSession | None = None
        self._lag_reader: LagReader | None = None
        self._latest: Health | None = None
        self._read_at = 0.0
        self._log = logs.get("health")

    async def read(self) -> Health:
        """Return the system's health, at most ``FRESH_SECONDS`` old."""
        async with self._lock:
            if self._latest is None or time.monotonic() - self._read_at >= FRESH_SECONDS:
                self._latest = await self._ask()
                self._read_at = time.monotonic()
            return self._latest

    async def close(self) -> None:
        """Close the connections to services and broker."""
        async with self._lock:
            if self._session is not None:
                await self._session.close()
                self._session = None
            await self._drop_lag_reader()

    async def _ask(self) -> Health:
        services = await self._services()
        own, own_lag = self._own()
        services[self._name] = own
        lag = {self._name: own_lag}
        try:
            async with asyncio.timeout(TIMEOUT_SECONDS * 3):
                lag |= await self._lag()
        except (BrokerError, TimeoutError) as error:
            await self._drop_lag_reader()
            message = str(error) or "does not answer in time"
            services["kafka"] = ServiceHealth(status="down", message=message)
        else:
            services["kafka"] = ServiceHealth(status="ok")
        return Health(
            status="ok" if all(each.status == "ok" for each in services.values()) else "degraded",
            services=dict(sorted(services.items())),
            lag=lag,
            uptime_seconds=round(time.monotonic() - self._started, 3),
        )

    async def _lag(self) -> dict[str, int]:
        if self._lag_reader is None:
            groups = (
                self._settings.processors.group,
                self._settings.clickhouse.group,
                self._settings.parquet.group,
            )
            reader = LagReader(self._settings.kafka, dict.fromkeys(groups, _RECORD_TOPICS))
            self._lag_reader = await reader.__aenter__()
        found = await self._lag_reader.read()
        # A partition without a commit is not read by the group (yet): that is no lag.
        return {
            group: sum(each.lag for each in lag.partitions.values() if each.committed is not None)
            for group, lag in found.items()
            if any(each.committed is not None for each in lag.partitions.values())
        }

    async def _drop_lag_reader(self) -> None:
        reader, self._lag_reader = self._lag_reader, None
        if reader is not None:
            await reader.close()

    async def _services(self) -> dict[str, ServiceHealth]:
        if self._session is None:
            self._session = aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=TIMEOUT_SECONDS))
        paths = await asyncio.to_thread(_announcements, self._settings.data_dir / "run")
        named = [(path, announced) for path, announced in paths if path.stem != self._name]
        answers = await asyncio.gather(*(self._service(self._session, path, announced) for path, announced in named))
        return {path.stem: answer for (path, _), answer in zip(named, answers, strict=True)}

    async def _service(
        self, session: aiohttp.ClientSession, path: Path, announced: Mapping[str, Any] | str
    ) -> ServiceHealth:
        if isinstance(announced, str):
            return ServiceHealth(status="down", message=announced)
        host = self._settings.ops.host
        url = f"http://{'127.0.0.1' if host in _ANY_ADDRESS else host}:{announced.get('ops_port')}/ready"
        try:
            async with session.get(url) as response:
                if response.status == 200:
                    return ServiceHealth(status="ok")
                return ServiceHealth(status="degraded", message=f"not ready: {url} answered {response.status}")
        except (aiohttp.ClientError, TimeoutError, OSError, ValueError) as error:
            self._log.debug("service does not answer", service=path.stem, error=str(error))
            return ServiceHealth(status="down", message=f"{url} does not answer: {str(error) or type(error).__name__}")


def _announcements(folder: Path) -> list[tuple[Path, Mapping[str, Any] | str]]:
    """Return each announcement file with its fields, or with what is wrong with it."""
    found: list[tuple[Path, Mapping[str, Any] | str]] = []
    for path in sorted(folder.glob("*.json")):
        try:
            announced = json.loads(path.read_text(encoding="utf-8"))
        except FileNotFoundError:  # the service has just stopped
            continue
        except (OSError, ValueError) as error:
            found.append((path, f"{path}: {error}"))
            continue
        found.append((path, announced if isinstance(announced, dict) else f"{path}: expected a JSON object"))
    return found
