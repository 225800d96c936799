"""Real sink processes, killed (-9) again and again under load: nothing lost, nothing doubled.

On Apache Kafka, with more instances and a comparison of everything stored: ``test_kills.py``.
"""

from __future__ import annotations

import asyncio
import contextlib
import random
import time
from collections.abc import AsyncIterator, Iterator, Sequence
from decimal import Decimal
from pathlib import Path
from typing import Any

import clickhouse_connect
import pyarrow.dataset as ds
import pytest

from alphapulse.brokers.kafka.cluster import KafkaCluster
from alphapulse.config import KafkaSettings, Settings
from alphapulse.kafka import LagReader, producer, running
from schemas.codec import Codec
from schemas.records import L2Update, Trade, key_of
from tests.fixtures.containers import IN_CONTAINERS, ClickHouseContainer
from tests.fixtures.kafka_cluster import ON_KAFKA
from tests.fixtures.records import l2, trade
from tests.fixtures.sink_process import PATIENCE_SECONDS, Process, until

RECORDS = 2_000
KILLS = 3
TOPICS = ("md.trades", "md.l2")
BOUNDS = {"batch_records": 400, "batch_seconds": 0.2}
"""Small batches: while one is written there is always enough for the next to be read."""


@pytest.fixture
def settings(request: pytest.FixtureRequest, tmp_path: Path) -> Settings:
    """Settings for the embedded broker, or for the one whose fixture a test has as parameter.

    With the broker in a container ClickHouse is a server in one, too; else it is embedded in the sink.
    """
    name: str = getattr(request, "param", "kafka")
    kafka: KafkaSettings = request.getfixturevalue(name)
    dsn = ""
    if name == "container_kafka":
        server: ClickHouseContainer = request.getfixturevalue("container_clickhouse")
        dsn = server.dsn
    base = Settings(data_dir=tmp_path, kafka=kafka)
    return base.model_copy(
        update={
            "clickhouse": base.clickhouse.model_copy(update={"dsn": dsn, **BOUNDS}),
            "parquet": base.parquet.model_copy(update={"topics": TOPICS, **BOUNDS}),
        }
    )


@pytest.fixture
def process(request: pytest.FixtureRequest, settings: Settings) -> Iterator[Process]:
    made = Process(request.param, settings)
    yield made
    made.kill()
    made.log.close()


@contextlib.asynccontextmanager
async def load(settings: Settings) -> AsyncIterator[tuple[list[Trade], list[L2Update]]]:
    """Publish trades and L2 records of several instruments for as long as the block takes, at least RECORDS each."""
    trades: list[Trade] = []
    updates: list[L2Update] = []
    codec = Codec()
    enough = asyncio.Event()

    async def publish() -> None:
        async with running(producer(settings.kafka, client_id="load"), settings.kafka) as sink:
            while len(trades) < RECORDS or not enough.is_set():
                for _ in range(10):
                    number = len(trades)
                    # Three seconds before midnight: the rows span two days, months' ends aside.
                    trades.append(trade(number, symbol=f"BTC-U{number % 5}"))
                    updates.append(l2(number, symbol=f"BTC-U{number % 5}"))
                    for record in (trades[-1], updates[-1]):
                        topic = TOPICS[isinstance(record, L2Update)]
                        await sink.send(topic, codec.encode(record), key=key_of(record))
                await asyncio.sleep(0.02)

    task = asyncio.create_task(publish())
    try:
        yield trades, updates
    finally:
        enough.set()
        await task


async def all_committed(settings: Settings, group: str) -> None:
    deadline = time.monotonic() + PATIENCE_SECONDS
    async with LagReader(settings.kafka, {group: TOPICS}) as reader:
        while (left := (await reader.read())[group].total) > 0:
            assert time.monotonic() < deadline, f"{left} records are left unread"
            await asyncio.sleep(0.1)


@pytest.mark.slow
@pytest.mark.unmeasured
@pytest.mark.parametrize(
    ("process", "settings"),
    [
        ("clickhouse", "kafka"),
        ("parquet", "kafka"),
        pytest.param("clickhouse", "container_kafka", marks=IN_CONTAINERS),
        pytest.param("parquet", "container_kafka", marks=IN_CONTAINERS),
    ],
    indirect=True,
)
async def test_killed_at_random_moments_under_load(process: Process, settings: Settings) -> None:
    chance = random.Random(20260301)
    async with load(settings) as (trades, updates):
        for _ in range(KILLS):
            process.start()
            await until(lambda: process.status().get("batches", 0) >= 1, "the sink does not come up")
            await asyncio.sleep(chance.uniform(0.0, 0.4))
            process.kill()
        process.start()
        await until(lambda: process.status().get("batches", 0) >= 1, "the sink does not come up")
    group = (settings.clickhouse if process.target == "clickhouse" else settings.parquet).group
    await all_committed(settings, group)
    assert process.alive()
    if process.target == "clickhouse":
        rows = await asyncio.to_thread(_in_tables, process)
    else:
        rows = await asyncio.to_thread(_in_files, settings.data_dir / "parquet")
    assert rows == {
        "trades": [len(trades), len(trades), _notional(trades)],
        "l2": [len(updates), len(updates), sum(sum(update.bid_sizes) for update in updates)],
    }
    assert await asyncio.to_thread(process.stop) == 0
    assert list(settings.data_dir.rglob(".*.tmp")) == []


def _notional(trades: list[Trade]) -> str:
    total = sum((Decimal(t.price).scaleb(-2) * Decimal(t.size).scaleb(-8) for t in trades), Decimal(0))
    return format(total.normalize(), "f")


def _in_tables(process: Process) -> dict[str, list[Any]]:
    queries = {
        "trades": "SELECT (SELECT count() FROM trades), (SELECT uniqExact(symbol, trade_id) FROM trades), "
        "toString(sum(notional)) FROM v_trades",
        "l2": "SELECT count(), uniqExact(symbol, sequence), toInt64(sum(arraySum(bid_sizes))) FROM l2",
    }
    found: dict[str, list[Any]] = {}
    for name, query in queries.items():
        row = _row(process, query)
        found[name] = [int(row[0]), int(row[1]), row[2] if name == "trades" else int(row[2])]
    return found


def _row(process: Process, query: str) -> Sequence[Any]:
    """Return the one row of a query, from the sink's own engine or the server that it writes to."""
    if not (dsn := process.settings.clickhouse.dsn):
        found: list[Any] = process.ask("/sql?format=JSONCompact", query.encode())["data"][0]
        return found
    client = clickhouse_connect.get_client(dsn=dsn, database=process.settings.clickhouse.database)
    (row,) = client.query(query).result_rows
    client.close()
    return row


def _in_files(root: Path) -> dict[str, list[Any]]:
    trades = ds.dataset(root / "md.trades", format="parquet").to_table().to_pylist()
    updates = ds.dataset(root / "md.l2", format="parquet").to_table().to_pylist()
    notional = sum((Decimal(r["price"]).scaleb(-2) * Decimal(r["size"]).scaleb(-8) for r in trades), Decimal(0))
    return {
        "trades": [len(trades), len({(r["symbol"], r["trade_id"]) for r in trades}), format(notional.normalize(), "f")],
        "l2": [
            len(updates),
            len({(r["symbol"], r["sequence"]) for r in updates}),
            sum(sum(r["bid_sizes"]) for r in updates),
        ],
    }


@pytest.mark.slow
@pytest.mark.unmeasured
@pytest.mark.parametrize(
    ("process", "settings"), [pytest.param("parquet", "real_kafka", marks=ON_KAFKA)], indirect=True
)
async def test_the_broker_is_killed_under_load(
    process: Process, settings: Settings, kafka_cluster: KafkaCluster
) -> None:
    """The sink and who feeds it live on; what was acknowledged is in the files once, what was not comes later."""
    node = kafka_cluster.nodes[0]
    async with load(settings) as (trades, updates):
        process.start()
        await until(lambda: process.status().get("batches", 0) >= 1, "the sink does not come up")
        node.kill()
        await kafka_cluster.start_node(node)
        await kafka_cluster.wait_ready()
        batches = process.status()["batches"]
        await until(lambda: process.status().get("batches", 0) > batches + 2, "the sink does not go on")
    await all_committed(settings, settings.parquet.group)
    assert process.alive()
    assert await asyncio.to_thread(process.stop) == 0
    rows = await asyncio.to_thread(_in_files, settings.data_dir / "parquet")
    assert rows["trades"] == [len(trades), len(trades), _notional(trades)]
    assert rows["l2"][:2] == [len(updates), len(updates)]


@pytest.mark.slow
@pytest.mark.unmeasured
async def test_two_sinks_share_the_partitions_and_hand_them_over(settings: Settings) -> None:
    """One joins while the other is at work, then is killed: each record is in one file, once."""
    place = settings.data_dir
    shared = settings.parquet.model_copy(update={"path": str(place / "parquet")})
    first, second = (
        Process("parquet", settings.model_copy(update={"data_dir": place / name, "parquet": shared}))
        for name in ("a", "b")
    )
    try:
        async with load(settings) as (trades, updates):
            first.start()
            await until(lambda: first.status().get("batches", 0) >= 3, "the first sink does not come up")
            second.start()
            await until(lambda: second.status().get("batches", 0) >= 3, "the second sink does not come up")
            # They begin their shares independently of one another.
            await until(lambda: 0 < first.status().get("partitions", 0) < 24, "the first sink gets no share")
            second.kill()
            await until(lambda: first.status().get("partitions", 0) == 24, "the first sink does not take over")
        await all_committed(settings, settings.parquet.group)
        assert await asyncio.to_thread(first.stop) == 0
    finally:
        for process in (first, second):
            process.kill()
            process.log.close()
    rows = _in_files(place / "parquet")
    assert rows["trades"] == [len(trades), len(trades), _notional(trades)]
    assert rows["l2"][:2] == [len(updates), len(updates)]
