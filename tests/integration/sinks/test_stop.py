"""Real sink processes that are asked to stop: what the broker has by then is stored, or the stop says what is not."""

from __future__ import annotations

import asyncio
import signal
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyarrow.dataset as ds
import pytest
from aiokafka.admin import AIOKafkaAdminClient

from alphapulse.config import KafkaSettings, Settings
from alphapulse.kafka import LagReader, connection, producer, running
from schemas.codec import Codec
from schemas.records import TOPIC_OF, Record, key_of
from tests.fixtures.containers import CONTAINER_KAFKA
from tests.fixtures.kafka_cluster import BROKERS
from tests.fixtures.records import l2, trade
from tests.fixtures.sink_process import Process, until

pytestmark = pytest.mark.slow

RECORDS = 20_000
TOPICS = ("md.trades", "md.l2")


@pytest.fixture
def settings(request: pytest.FixtureRequest, tmp_path: Path) -> Settings:
    kafka: KafkaSettings = request.getfixturevalue(getattr(request, "param", "kafka"))
    base = Settings(data_dir=tmp_path, kafka=kafka)
    return base.model_copy(update={"parquet": base.parquet.model_copy(update={"topics": TOPICS})})


@pytest.fixture
def process(settings: Settings) -> Iterator[Process]:
    made = Process("parquet", settings)
    yield made
    made.kill()
    made.log.close()


async def publish(settings: Settings, count: int) -> None:
    codec = Codec()
    async with running(producer(settings.kafka, client_id="load"), settings.kafka) as sink:
        for number in range(count):
            made: Record = trade(number, symbol=f"BTC-U{number % 5}") if number % 2 else l2(number)
            await sink.send(TOPIC_OF[type(made)], codec.encode(made), key=key_of(made))


async def lag(settings: Settings) -> int:
    group = settings.parquet.group
    async with LagReader(settings.kafka, {group: TOPICS}) as reader:
        return (await reader.read())[group].total


def stored(settings: Settings) -> Counter[str]:
    found: Counter[str] = Counter()
    for topic in TOPICS:
        rows = ds.dataset(settings.data_dir / "parquet" / topic, format="parquet").to_table()
        places = {(row["_partition"], row["_offset"]) for row in rows.select(["_partition", "_offset"]).to_pylist()}
        assert len(places) == rows.num_rows
        found[topic] = rows.num_rows
    return found


def said(process: Process) -> str:
    return Path(process.log.name).read_text()


async def ready(process: Process) -> None:
    await until(lambda: bool(process.status().get("ready")), "the sink does not come up")


@pytest.mark.parametrize("settings", [*BROKERS, CONTAINER_KAFKA], indirect=True)
async def test_what_the_broker_has_is_stored_before_the_end(settings: Settings, process: Process) -> None:
    process.start()
    await ready(process)
    await publish(settings, RECORDS)
    assert await asyncio.to_thread(process.stop) == 0
    assert stored(settings) == dict.fromkeys(TOPICS, RECORDS // 2)
    assert await lag(settings) == 0
    assert "unread" not in said(process)


async def test_what_is_not_stored_is_said(settings: Settings) -> None:
    hurried = settings.parquet.model_copy(update={"drain_seconds": 0.0, "topics": TOPICS})
    process = Process("parquet", settings.model_copy(update={"parquet": hurried}))
    try:
        process.start()
        await ready(process)
        # It cannot have read what is published while it stands still.
        process.signal(signal.SIGSTOP)
        await publish(settings, RECORDS)
        process.signal(signal.SIGTERM)
        process.signal(signal.SIGCONT)
        assert await asyncio.to_thread(process.wait) == 0
        left = await lag(settings)
        assert left > 0
        assert f"sink-parquet: stopped with {left:,} records unread: md.l2 " in said(process)
    finally:
        process.kill()
        process.log.close()


@pytest.mark.unmeasured
async def test_a_sink_that_stood_still_longer_than_its_session_stores_all_before_the_end(
    settings: Settings, process: Process
) -> None:
    process.start()
    await ready(process)
    await publish(settings, 1_000)
    await until(lambda: process.status().get("pending", 0) > 0, "the sink reads nothing")
    process.signal(signal.SIGSTOP)
    await publish(settings, 1_000)
    await _expelled(settings)
    process.signal(signal.SIGTERM)
    process.signal(signal.SIGCONT)
    assert await asyncio.to_thread(process.wait) == 0
    assert stored(settings) == dict.fromkeys(TOPICS, 1000)
    assert await lag(settings) == 0


async def _expelled(settings: Settings) -> None:
    """Wait until the group has no members."""
    async with running(AIOKafkaAdminClient(**connection(settings.kafka)), settings.kafka) as admin:

        async def members() -> Any:
            (answer,) = await admin.describe_consumer_groups([settings.parquet.group])
            return answer.groups[0][5]

        async with asyncio.timeout(60):
            while await members():
                await asyncio.sleep(0.1)
