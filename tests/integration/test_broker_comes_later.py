"""Every service started before its broker waits, says for what, and goes on when broker and topics are there."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import signal
import socket
import sys
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from alphapulse.brokers.memory.broker import EmbeddedBroker, client_settings, default_topics
from alphapulse.config import KafkaSettings, Settings, VenueSettings, environment
from tests.fixtures.live import Market, market

ROOT = Path(__file__).resolve().parents[2]
BOUND_SECONDS = 60.0

SERVICES = {
    "collector-kraken": ("producers", "kraken"),
    "processors": ("stream_processors",),
    "sink-clickhouse": ("sinks", "clickhouse"),
    "sink-parquet": ("sinks", "parquet"),
    "gateway": ("gateway",),
}

pytestmark = pytest.mark.slow


class Process:
    """A service's process."""

    def __init__(self, name: str, settings: Settings, http: aiohttp.ClientSession) -> None:
        self.name = name
        self.settings = settings
        self.http = http
        self.process: asyncio.subprocess.Process | None = None

    async def start(self) -> None:
        inherited = {key: value for key, value in os.environ.items() if not key.startswith("ALPHAPULSE_")}
        with (self.settings.data_dir / f"{self.name}.err").open("wb") as log:
            self.process = await asyncio.create_subprocess_exec(
                *(sys.executable, "-m", *SERVICES[self.name]),
                cwd=ROOT,
                env={**inherited, **environment(self.settings)},
                stdin=asyncio.subprocess.DEVNULL,
                stderr=log,
            )

    def said(self) -> str:
        return (self.settings.data_dir / f"{self.name}.err").read_text(encoding="utf-8")

    async def ready(self) -> dict[str, Any]:
        """Return what ``/ready`` answers; empty while nobody does."""
        assert self.process is not None
        assert self.process.returncode is None, f"{self.name} ended:\n{self.said()[-3000:]}"
        try:
            told = json.loads((self.settings.data_dir / "run" / f"{self.name}.json").read_text(encoding="utf-8"))
            async with self.http.get(f"http://127.0.0.1:{told['ops_port']}/ready") as answer:
                found: dict[str, Any] = await answer.json()
                return found
        except (FileNotFoundError, aiohttp.ClientError, TimeoutError):
            return {}  # it has not begun, or is busy with importing

    async def until(self, condition: Callable[[dict[str, Any]], bool]) -> None:
        async with asyncio.timeout(BOUND_SECONDS):
            while not condition(await self.ready()):
                await asyncio.sleep(0.05)

    async def stop(self) -> int:
        assert self.process is not None
        with contextlib.suppress(ProcessLookupError):
            self.process.send_signal(signal.SIGTERM)
        return await asyncio.wait_for(self.process.wait(), BOUND_SECONDS)


@pytest.fixture
async def http() -> AsyncIterator[aiohttp.ClientSession]:
    async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=5)) as session:
        yield session


@pytest.fixture
async def venue() -> AsyncIterator[Market]:
    async with market("kraken", "BTC-USD") as running:
        yield running


@pytest.fixture
async def processes(tmp_path: Path, venue: Market, http: aiohttp.ClientSession) -> AsyncIterator[dict[str, Process]]:
    """All services, told of an address at which nobody listens yet."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        bootstrap = f"127.0.0.1:{free.getsockname()[1]}"
    kafka = client_settings(KafkaSettings(), bootstrap=bootstrap, incarnation="test")
    feed: VenueSettings = venue.settings("BTC-USD")
    settings = Settings(data_dir=tmp_path, kafka=kafka, venues={"kraken": feed})
    settings = settings.model_copy(update={"gateway": settings.gateway.model_copy(update={"port": 0})})
    made = {name: Process(name, settings, http) for name in SERVICES}
    await asyncio.gather(*(process.start() for process in made.values()))
    try:
        yield made
    finally:
        for process in made.values():
            if process.process is not None and process.process.returncode is None:
                process.process.kill()
                await process.process.wait()


@asynccontextmanager
async def door(port: int, broker: EmbeddedBroker) -> AsyncIterator[None]:
    """Let ``port`` be an address of ``broker``."""
    _, _, inside = broker.bootstrap.rpartition(":")
    pipes: set[asyncio.Task[None]] = set()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        inner_reader, inner_writer = await asyncio.open_connection("127.0.0.1", int(inside))

        async def copy(source: asyncio.StreamReader, target: asyncio.StreamWriter) -> None:
            with contextlib.suppress(ConnectionError):
                while chunk := await source.read(65536):
                    target.write(chunk)
            target.close()

        for work in (copy(reader, inner_writer), copy(inner_reader, writer)):
            task = asyncio.create_task(work)
            pipes.add(task)
            task.add_done_callback(pipes.discard)

    server = await asyncio.start_server(serve, "127.0.0.1", port)
    try:
        yield
    finally:
        server.close()
        await server.wait_closed()
        await asyncio.gather(*pipes)


async def all_of(processes: dict[str, Process], work: Callable[[Process], Coroutine[Any, Any, Any]]) -> list[Any]:
    return list(await asyncio.gather(*(work(process) for process in processes.values())))


async def test_services_wait_for_the_broker_then_for_its_topics_and_begin(processes: dict[str, Process]) -> None:
    bootstrap = processes["gateway"].settings.kafka.bootstrap
    away = f"kafka.bootstrap: {bootstrap} does not answer: connection refused"
    await all_of(processes, lambda one: one.until(lambda told: told.get("waiting") == away))
    with EmbeddedBroker({"other": 1}) as broker:
        async with door(int(bootstrap.rpartition(":")[2]), broker):
            await all_of(processes, lambda one: one.until(lambda told: "has no topic" in told.get("waiting", "")))
            assert not any(told.get("ready") for told in await all_of(processes, Process.ready))
            for name, partitions in default_topics().items():
                broker.create_topic(name, partitions)
            await all_of(processes, lambda one: one.until(lambda told: bool(told.get("ready"))))
            assert await all_of(processes, Process.stop) == [0] * len(processes)


async def test_services_that_wait_stop_when_they_are_asked_to(processes: dict[str, Process]) -> None:
    await all_of(processes, lambda one: one.until(lambda told: "waiting" in told))
    assert await all_of(processes, Process.stop) == [0] * len(processes)
    assert all('"stopped while it waited"' in one.said() for one in processes.values())
