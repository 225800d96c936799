from __future__ import annotations

import asyncio
from pathlib import Path

import aiohttp
import pyarrow as pa
import pytest

from gateway.health.monitor import HealthMonitor
from gateway.tables import Parameters
from tests.fixtures.gateway import serving


class Slow:
    """Tables that never answer."""

    def __init__(self) -> None:
        self.asked = asyncio.Event()
        self.cancelled = asyncio.Event()

    async def read(self, query: str, parameters: Parameters) -> pa.Table:
        self.asked.set()
        try:
            await asyncio.get_running_loop().create_future()
        except asyncio.CancelledError:
            self.cancelled.set()
            raise
        raise AssertionError("unreachable")

    async def close(self) -> None:
        """Nothing to close."""


@pytest.mark.parametrize(
    "path",
    [
        "trades?from=1",
        "delta-stats/summary?from=1",
        "delta-stats/kraken/BTC-USD?from=1",
        "books/kraken/BTC-USD?at=1",
        "trades?venue=bitmex",
    ],
)
async def test_the_query_of_a_client_that_goes_away_is_cancelled(
    tmp_path: Path, path: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(HealthMonitor, "stored_lag_seconds", lambda _: 0.0)
    slow = Slow()
    async with serving(tmp_path, tables=slow) as served, aiohttp.ClientSession() as http:
        asking = asyncio.create_task(http.get(f"{served.url}/api/v1/{path}").__aenter__())
        async with asyncio.timeout(10):
            await slow.asked.wait()
            asking.cancel()
            await asyncio.wait({asking})
            await slow.cancelled.wait()
