"""Exports of results that are larger than the memory the gateway may take for them."""

from __future__ import annotations

import asyncio
import os
import time
from pathlib import Path

import aiohttp
import pytest

from alphapulse.config import KafkaSettings, Settings
from sinks.clickhouse.engine import Engine
from sinks.clickhouse.tables import migrate
from tests.fixtures.sink_process import Process, until
from tests.integration.gateway.conftest import running_gateway

pytestmark = pytest.mark.unmeasured

ROWS = 800_000
GROWTH = 54 * 2**20
"""Bytes by which the gateway's memory may grow; each result has more."""
_FILL = """
INSERT INTO trades
    (venue, symbol, trade_id, side, price, size, price_exponent, size_exponent, exchange_time, received_time)
SELECT 'kraken', 'BTC-USD', toString(number), 'BUY', 6168599 + sipHash64(number) % 1000000,
    sipHash64(number, 1) % 100000000, -2, -8,
    fromUnixTimestamp64Nano({begin:Int64} + toInt64(number) * 1000000, 'UTC') AS time, time
FROM numbers({rows:UInt64})
"""


async def filled(settings: Settings, begin: int) -> None:
    engine = Engine(settings)
    await engine.open(asyncio.Event())
    await migrate(engine)
    await engine.rows(_FILL, {"begin": begin, "rows": ROWS})
    await engine.close()


def resident(pid: int) -> int:
    """Return the resident size of a process, bytes. (The kernel's own peak can be reset by root alone: a service is not
    dumpable.)"""
    return int(Path(f"/proc/{pid}/statm").read_text(encoding="ascii").split()[1]) * os.sysconf("SC_PAGE_SIZE")


@pytest.mark.slow
@pytest.mark.parametrize("accept", ["text/csv", "application/vnd.apache.arrow.stream"])
async def test_a_large_result_is_streamed(tmp_path: Path, kafka: KafkaSettings, accept: str) -> None:
    settings = Settings(data_dir=tmp_path, kafka=kafka)
    begin = time.time_ns() - 7200 * 10**9
    await filled(settings, begin)
    sink = Process("clickhouse", settings)
    sink.start()
    try:
        await until(lambda: bool(sink.status()), "the sink does not start")
        async with running_gateway(tmp_path, kafka) as gateway, aiohttp.ClientSession() as http:
            end = time.time_ns() // 1000 - 60_000_000
            url = f"{(await gateway.announced())['url']}/api/v1/trades?order=asc&to={end}"
            assert gateway.process is not None
            headers = {"Accept": accept, "Accept-Encoding": "identity"}
            async with http.get(f"{url}&limit=10000", headers=headers) as answer:  # modules, buffers
                await answer.read()
            before, size = resident(gateway.process.pid), 0
            most = before
            async with http.get(url, headers=headers) as answer:
                assert answer.status == 200
                async for part in answer.content.iter_any():
                    size += len(part)
                    most = max(most, resident(gateway.process.pid))
            grown = most - before
    finally:
        sink.stop()
        sink.log.close()
    assert size > GROWTH
    assert grown < GROWTH, f"{grown / 2**20:.0f} MiB for {size / 2**20:.0f} MiB"
