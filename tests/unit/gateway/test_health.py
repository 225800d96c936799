from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from aiohttp import web
from aiokafka import TopicPartition

from alphapulse import topics
from alphapulse.config import KafkaSettings, Settings
from alphapulse.kafka import consumer, producer, running
from gateway import health
from gateway.answers import ServiceHealth
from gateway.health import HealthMonitor
from tests.fixtures.gateway import NOBODY


@asynccontextmanager
async def service(status: int) -> AsyncIterator[int]:
    """A service's ops server, as far as it is asked; yields its port."""

    async def ready(_: web.Request) -> web.Response:
        return web.json_response({}, status=status)

    app = web.Application()
    app.add_routes([web.get("/ready", ready)])
    runner = web.AppRunner(app)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    try:
        yield runner.addresses[0][1]
    finally:
        await runner.cleanup()


def announce(folder: Path, name: str, text: str) -> None:
    (folder / "run").mkdir(exist_ok=True)
    (folder / "run" / f"{name}.json").write_text(text, encoding="utf-8")


@asynccontextmanager
async def monitor(folder: Path, kafka: KafkaSettings) -> AsyncIterator[HealthMonitor]:
    made = HealthMonitor(Settings(data_dir=folder, kafka=kafka), "gateway", lambda: (ServiceHealth(status="ok"), 7))
    try:
        yield made
    finally:
        await made.close()


async def test_all_well(tmp_path: Path, kafka: KafkaSettings) -> None:
    async with service(200) as port, monitor(tmp_path, kafka) as made:
        announce(tmp_path, "processors", json.dumps({"ops_port": port}))
        announce(tmp_path, "gateway", "its own file is not read")
        found = await made.read()
    assert found.status == "ok"
    assert {name: each.status for name, each in found.services.items()} == {
        "gateway": "ok",
        "kafka": "ok",
        "processors": "ok",
    }
    assert found.lag == {"gateway": 7}, "groups that never committed are left out"
    assert found.uptime_seconds >= 0


async def test_lag_is_told_by_group(tmp_path: Path, kafka: KafkaSettings) -> None:
    group = Settings().parquet.group
    partition = TopicPartition(topics.TRADES, 3)
    async with running(producer(kafka, client_id="test"), kafka) as sender:
        for _ in range(5):
            await sender.send_and_wait(partition.topic, value=b"x", partition=partition.partition)
    async with running(consumer(kafka, partition.topic, group_id=group, client_id="test"), kafka) as reader:
        async with asyncio.timeout(30):
            while not await reader.getmany(timeout_ms=100):
                continue
        await reader.commit({partition: 2})
        async with monitor(tmp_path, kafka) as made:
            found = await made.read()
    assert found.lag == {"gateway": 7, group: 3}


async def test_what_is_not_well_is_named_and_degrades_the_whole(tmp_path: Path, kafka: KafkaSettings) -> None:
    async with service(503) as port, monitor(tmp_path, kafka) as made:
        announce(tmp_path, "collector-kraken", json.dumps({"ops_port": port}))
        announce(tmp_path, "killed", json.dumps({"ops_port": 1}))
        announce(tmp_path, "half", '{"ops_')
        announce(tmp_path, "list", "[]")
        announce(tmp_path, "portless", "{}")
        found = await made.read()
    assert found.status == "degraded"
    assert {name: each.status for name, each in found.services.items()} == {
        "collector-kraken": "degraded",
        "gateway": "ok",
        "half": "down",
        "kafka": "ok",
        "killed": "down",
        "list": "down",
        "portless": "down",
    }
    messages = {name: each.message or "" for name, each in found.services.items()}
    assert "answered 503" in messages["collector-kraken"]
    assert "127.0.0.1:1/ready does not answer" in messages["killed"]
    assert "half.json" in messages["half"]
    assert "expected a JSON object" in messages["list"]


async def test_without_a_broker_it_is_degraded_not_failing(tmp_path: Path) -> None:
    async with monitor(tmp_path, NOBODY) as made:
        found = await made.read()
    assert found.status == "degraded"
    assert found.services["kafka"].status == "down"
    assert "127.0.0.1:1" in (found.services["kafka"].message or "")


async def test_answers_are_shared_for_a_while(
    tmp_path: Path, kafka: KafkaSettings, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with monitor(tmp_path, kafka) as made:
        first = await made.read()
        assert await made.read() is first
        monkeypatch.setattr(health, "FRESH_SECONDS", 0.0)
        assert await made.read() is not first
