"""Every service started before its broker waits, says for what, and goes on when broker and topics are there."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator, Callable, Coroutine
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from alphapulse.brokers.memory.broker import EmbeddedBroker, client_settings, default_topics
from alphapulse.config import KafkaSettings, Settings, VenueSettings
from tests.fixtures.door import door
from tests.fixtures.live import Market, market
from tests.fixtures.service_process import SERVICES, ServiceProcess

pytestmark = pytest.mark.slow


@pytest.fixture
async def http() -> AsyncIterator[aiohttp.ClientSession]:
    async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=5)) as session:
        yield session


@pytest.fixture
async def venue() -> AsyncIterator[Market]:
    async with market("kraken", "BTC-USD") as running:
        yield running


@pytest.fixture
async def processes(
    tmp_path: Path, venue: Market, http: aiohttp.ClientSession
) -> AsyncIterator[dict[str, ServiceProcess]]:
    """All services, told of an address at which nobody listens yet."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        bootstrap = f"127.0.0.1:{free.getsockname()[1]}"
    kafka = client_settings(KafkaSettings(), bootstrap=bootstrap, incarnation="test")
    feed: VenueSettings = venue.settings("BTC-USD")
    settings = Settings(data_dir=tmp_path, kafka=kafka, venues={"kraken": feed})
    settings = settings.model_copy(update={"gateway": settings.gateway.model_copy(update={"port": 0})})
    made = {name: ServiceProcess(name, settings, http) for name in SERVICES}
    await asyncio.gather(*(process.start() for process in made.values()))
    try:
        yield made
    finally:
        await asyncio.gather(*(process.kill() for process in made.values()))


async def all_of(
    processes: dict[str, ServiceProcess], work: Callable[[ServiceProcess], Coroutine[Any, Any, Any]]
) -> list[Any]:
    return list(await asyncio.gather(*(work(process) for process in processes.values())))


async def test_services_wait_for_the_broker_then_for_its_topics_and_begin(processes: dict[str, ServiceProcess]) -> None:
    bootstrap = processes["gateway"].settings.kafka.bootstrap
    away = f"kafka.bootstrap: {bootstrap} does not answer: connection refused"
    await all_of(processes, lambda one: one.until(lambda told: told.get("waiting") == away))
    with EmbeddedBroker({"other": 1}) as broker:
        inside = int(broker.bootstrap.rpartition(":")[2])
        async with door(inside, port=int(bootstrap.rpartition(":")[2])):
            await all_of(processes, lambda one: one.until(lambda told: "has no topic" in told.get("waiting", "")))
            assert not any(told.get("ready") for told in await all_of(processes, ServiceProcess.ready))
            for name, partitions in default_topics().items():
                broker.create_topic(name, partitions)
            await all_of(processes, lambda one: one.until(lambda told: bool(told.get("ready"))))
            assert await all_of(processes, ServiceProcess.stop) == [0] * len(processes)


async def test_services_that_wait_stop_when_they_are_asked_to(processes: dict[str, ServiceProcess]) -> None:
    await all_of(processes, lambda one: one.until(lambda told: "waiting" in told))
    assert await all_of(processes, ServiceProcess.stop) == [0] * len(processes)
    assert all('"stopped while it waited"' in one.said() for one in processes.values())
