"""The embedded database of a sink that is gone, however it went, belongs at once to whoever asks."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from alphapulse.claim import InUse, claim
from alphapulse.config import KafkaSettings, Settings
from alphapulse.kafka import producer, running
from schemas.codec import Codec
from schemas.records import TOPIC_OF, key_of
from sinks.clickhouse.database import query
from sinks.clickhouse.engine import database_folder
from tests.fixtures.records import trade
from tests.fixtures.sink_process import Process, until

RECORDS = 50
COUNT = "SELECT count(), uniqExact(_partition, _offset) FROM trades"
ALL = f"{RECORDS}\t{RECORDS}\n".encode()


@pytest.fixture
def settings(kafka: KafkaSettings, tmp_path: Path) -> Settings:
    base = Settings(data_dir=tmp_path, kafka=kafka)
    return base.model_copy(update={"clickhouse": base.clickhouse.model_copy(update={"batch_seconds": 0.1})})


@pytest.fixture
def process(settings: Settings) -> Iterator[Process]:
    made = Process("clickhouse", settings)
    yield made
    made.kill()
    made.log.close()


def asked(settings: Settings) -> bytes:
    return b"".join(query(settings.data_dir, settings.clickhouse.database, COUNT, "TSV"))


async def _stored(settings: Settings, process: Process) -> None:
    process.start()
    await until(lambda: bool(process.status().get("ready")), "the sink does not come up")
    codec = Codec()
    async with running(producer(settings.kafka, client_id="load"), settings.kafka) as sink:
        for number in range(RECORDS):
            made = trade(number)
            await sink.send(TOPIC_OF[type(made)], codec.encode(made), key=key_of(made))
    await until(lambda: process.status().get("rows", {}).get("trades") == RECORDS, "the sink stores nothing")


@pytest.mark.parametrize("end", ["kill", "stop"])
async def test_it_is_free_as_soon_as_the_process_has_ended(settings: Settings, process: Process, end: str) -> None:
    folder = database_folder(settings.data_dir)
    await _stored(settings, process)
    with pytest.raises(InUse, match="is in use by process"):
        claim(folder, "database", beside=True)
    assert await asyncio.to_thread(asked, settings) == ALL, "the sink answers"
    await asyncio.to_thread(process.kill if end == "kill" else process.stop)
    # At once: nothing is waited for here, and nothing repeated.
    with claim(folder, "database", beside=True):
        held = (folder.parent / "clickhouse.lock").read_text(encoding="utf-8")
        assert held == f"process {os.getpid()}"
    assert await asyncio.to_thread(asked, settings) == ALL, "the folder is opened here"
    if end == "kill":
        process.start()
        await until(lambda: bool(process.status().get("ready")), "the next sink does not come up")
        assert await asyncio.to_thread(asked, settings) == ALL
