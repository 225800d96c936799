"""The ClickHouse sink over HTTP, with a server that is killed (-9) while it stores."""

from __future__ import annotations

import asyncio
import contextlib
import random
from collections.abc import Iterator
from pathlib import Path
from typing import TypeAlias

import pytest
from aiokafka import TopicPartition

from alphapulse.config import ClickHouseSettings, Settings
from alphapulse.errors import ServiceError
from schemas.codec import Codec
from sinks.clickhouse.engine import Engine
from sinks.clickhouse.writer import ClickHouseTarget
from tests.fixtures.clickhouse_server import ClickHouseServer
from tests.fixtures.containers import IN_CONTAINERS, ClickHouseContainer
from tests.fixtures.log import Fuse, Killed, Log
from tests.fixtures.records import SECOND, START, trade
from tests.fixtures.sink_life import live, uncommitted

CODEC = Codec()
KEYS = [TopicPartition("md.trades", number) for number in range(3)]
MONTH = 31 * 86_400 * SECOND


Server: TypeAlias = ClickHouseServer | ClickHouseContainer


@pytest.fixture
def chdb_server(tmp_path: Path, unused_tcp_port: int) -> Iterator[ClickHouseServer]:
    made = ClickHouseServer(tmp_path / "server", unused_tcp_port)
    made.start()
    yield made
    made.kill()


@pytest.fixture(params=["chdb_server", pytest.param("container_clickhouse", marks=IN_CONTAINERS, id="container")])
def server(request: pytest.FixtureRequest) -> Server:
    """Each server in turn, running, without our database."""
    running: Server = request.getfixturevalue(request.param)
    return running


def log_of(count: int) -> Log:
    log = Log()
    for number in range(count):
        record = trade(number, received_time=START + number % 2 * MONTH + number)
        log.append(KEYS[number % 3], CODEC.encode(record))
    return log


def target_on(server: Server, records: int) -> ClickHouseTarget:
    settings = ClickHouseSettings(dsn=server.dsn, batch_records=records)
    return ClickHouseTarget(settings, Engine(Settings(clickhouse=settings)), "life-1", asyncio.Event())


async def check(server: Server, log: Log, count: int) -> None:
    assert uncommitted(log) == {}
    engine = Engine(Settings(clickhouse=ClickHouseSettings(dsn=server.dsn)))
    await engine.open(asyncio.Event())
    found = await engine.rows("SELECT count(), uniqExact(trade_id), toInt64(sum(price)) FROM trades")
    assert found == [(count, count, sum(trade(number).price for number in range(count)))]
    await engine.close()


async def test_a_sink_that_dies_now_and_then_stores_each_row_once(server: Server) -> None:
    log = log_of(60)
    for at in (1, 2, 3, 2, 4):
        with contextlib.suppress(Killed):
            await live(log, target_on(server, 9), Fuse(at), [5, 4] * 9)
    await live(log, target_on(server, 9), slices=[5, 4] * 9)
    await check(server, log, 60)


async def test_a_server_that_dies_now_and_then_stores_each_row_once(
    server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sinks.clickhouse.engine.RETRY_SECONDS", (0.05,))
    chance = random.Random(20260302)
    log = log_of(3_000)
    done = asyncio.Event()

    async def trouble() -> None:
        for _ in range(3):
            await asyncio.sleep(chance.uniform(0.05, 0.4))
            await asyncio.to_thread(server.kill)
            await asyncio.to_thread(server.start)
        done.set()

    troubled = asyncio.create_task(trouble())
    await live(log, target_on(server, 40), slices=[20] * 400)
    await troubled
    await check(server, log, 3_000)


async def test_a_server_that_refuses_the_table_is_told(server: Server) -> None:
    engine = Engine(Settings(clickhouse=ClickHouseSettings(dsn=server.dsn)))
    await engine.open(asyncio.Event())
    with pytest.raises(ServiceError, match=r"ClickHouse at clickhouse://127\.0\.0\.1:\d+/ refuses: .*UNKNOWN_TABLE"):
        await engine.rows("SELECT * FROM nothing")
    await engine.close()
