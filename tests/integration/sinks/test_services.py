"""Both sinks as services, in this process, on the embedded broker."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import aiohttp
import pyarrow.dataset as ds
import pytest
from aiokafka import TopicPartition

from alphapulse import topics
from alphapulse.brokers.memory.broker import EmbeddedBroker
from alphapulse.config import KafkaSettings, Settings
from alphapulse.errors import ServiceError
from alphapulse.kafka import consumer, producer, running
from alphapulse.service import Main, Service, announcement_path
from schemas.codec import Codec
from schemas.records import TOPIC_OF, DeadLetter, Record, key_of
from sinks.clickhouse.service import serve as clickhouse
from sinks.parquet.service import serve as parquet
from tests.fixtures.records import l2, one_of_each, trade

CODEC = Codec()


@pytest.fixture
def settings(kafka: KafkaSettings, tmp_path: Path) -> Settings:
    return Settings(data_dir=tmp_path, kafka=kafka)


class Running:
    """A service that runs in a task of this test."""

    def __init__(self, service: Service, http: aiohttp.ClientSession) -> None:
        self.service = service
        self._http = http

    async def ask(self, method: str, path: str, body: str | None = None) -> tuple[int, str]:
        told = json.loads(announcement_path(self.service.settings, self.service.name).read_text())
        url = f"http://127.0.0.1:{told['ops_port']}{path}"
        async with self._http.request(method, url, data=body) as answer:
            return answer.status, await answer.text()

    async def status(self) -> dict[str, Any]:
        found: dict[str, Any] = json.loads((await self.ask("GET", "/status"))[1])
        return found

    async def until(self, key: str, least: int) -> dict[str, Any]:
        for _ in range(1200):
            if (found := await self.status()).get(key, 0) >= least:
                return found
            await asyncio.sleep(0.05)
        raise AssertionError(f"{key} stays below {least}: {found}")


@asynccontextmanager
async def serving(name: str, main: Main, settings: Settings) -> AsyncIterator[Running]:
    service = Service(name, settings)
    task = asyncio.create_task(service.live(main))
    async with aiohttp.ClientSession() as http:
        for _ in range(1200):
            if service.ready or task.done():
                break
            await asyncio.sleep(0.05)
        try:
            if not task.done():
                yield Running(service, http)
        finally:
            service.stopping.set()
            await task


async def publish(settings: Settings, records: list[Record], junk: bytes | None = None) -> None:
    async with running(producer(settings.kafka, client_id="test"), settings.kafka) as sink:
        for record in records:
            await sink.send(TOPIC_OF[type(record)], CODEC.encode(record), key=key_of(record))
        if junk is not None:
            await sink.send(topics.TRADES, junk, key=b"junk")


async def test_the_clickhouse_service_stores_answers_and_stops(settings: Settings, broker: EmbeddedBroker) -> None:
    async with serving("sink-clickhouse", clickhouse, settings) as sink:
        told = json.loads(announcement_path(settings, "sink-clickhouse").read_text())
        assert told["sql"] is True
        await publish(settings, one_of_each(), junk=b"no record")
        # The refused record's letter comes back through dlq.
        found = await sink.until("records", 11)
        assert found["dead_letters"] == 1
        status, answer = await sink.ask(
            "POST",
            "/sql?format=TSV",
            "SELECT source, value, reason FROM dead_letters WHERE service = 'sink-clickhouse'",
        )
        assert status == 200
        assert answer.startswith("md.trades\tno record\tnot in the Confluent wire format")
        top = "SELECT venue, symbol FROM v_top_of_book ORDER BY venue"
        assert (await sink.ask("POST", "/sql?format=TSV", top))[1] == "alpaca\tAAPL\nkraken\tBTC-USD\n"
        assert (await sink.ask("POST", "/sql", "DROP TABLE trades"))[0] == 400
        assert (await sink.until("batches", 1))["lag"] == 0
    assert not announcement_path(settings, "sink-clickhouse").exists()


def found_files(root: Path) -> list[Path]:
    return list(root.rglob("*.parquet"))


async def test_the_parquet_service_flushes_when_asked_and_when_it_stops(
    settings: Settings, broker: EmbeddedBroker, tmp_path: Path
) -> None:
    async with serving("sink-parquet", parquet, settings) as sink:
        await publish(settings, [trade(number) for number in range(50)])
        await sink.until("pending", 50)
        assert found_files(tmp_path) == []
        status, answer = await sink.ask("POST", "/flush")
        assert (status, json.loads(answer)["records"]) == (200, 50)
        assert ds.dataset(tmp_path / "parquet" / "md.trades", format="parquet").count_rows() == 50
        await publish(settings, [l2(number) for number in range(20)])
        await sink.until("pending", 20)
    assert ds.dataset(tmp_path / "parquet" / "md.l2", format="parquet").count_rows() == 20


async def test_a_poison_record_is_in_dlq_before_its_offset_is_committed(
    settings: Settings, broker: EmbeddedBroker
) -> None:
    async with serving("sink-parquet", parquet, settings) as sink:
        await publish(settings, [], junk=b"\x00\x00\x00\x00\x01x")
        await sink.until("pending", 1)
        await sink.ask("POST", "/flush")
        assert (await sink.status())["records"] == 1
    letters: list[DeadLetter] = []
    async with running(consumer(settings.kafka, group_id=None, client_id="test"), settings.kafka) as reader:
        partitions = [TopicPartition(topics.DEAD_LETTERS, n) for n in range(broker.topics[topics.DEAD_LETTERS])]
        reader.assign(partitions)
        while not letters:
            for messages in (await reader.getmany(timeout_ms=1000)).values():
                letters += [CODEC.decode_as(DeadLetter, message.value) for message in messages]
    assert [(letter.source, letter.value) for letter in letters] == [(topics.TRADES, b"\x00\x00\x00\x00\x01x")]
    assert letters[0].reason == "schema 1 is not known to the registry"


async def test_dropped_records_are_counted_not_passed_over(settings: Settings, broker: EmbeddedBroker) -> None:
    await publish(settings, [trade(number) for number in range(30)])
    async with serving("sink-parquet", parquet, settings) as sink:
        await sink.until("pending", 30)
        await sink.ask("POST", "/flush")
    await publish(settings, [trade(number) for number in range(30, 60)])
    found = await ends(settings)
    (partition,) = [key.partition for key, end in found.items() if end == 60]
    broker.delete_records(topics.TRADES, partition, 40)
    async with serving("sink-parquet", parquet, settings) as sink:
        status = await sink.until("pending", 20)
        assert status["lost"] == 10


async def ends(settings: Settings) -> dict[TopicPartition, int]:
    async with running(consumer(settings.kafka, group_id=None, client_id="test"), settings.kafka) as reader:
        found: dict[TopicPartition, int] = await reader.end_offsets(
            [TopicPartition(topics.TRADES, number) for number in range(12)]
        )
        return found


async def test_what_cannot_be_used_is_told_in_one_message(settings: Settings, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    bad = settings.model_copy(update={"parquet": settings.parquet.model_copy(update={"path": str(tmp_path / "file")})})
    with pytest.raises(ServiceError, match=r"parquet.path: cannot write .*/file: "):
        async with serving("sink-parquet", parquet, bad):
            pass
