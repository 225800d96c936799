"""Processors as processes of their own, and the topics around them."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, Final

import aiohttp
from aiokafka import AIOKafkaProducer, TopicPartition

from alphapulse import kafka
from alphapulse.config import FreshnessSettings, KafkaSettings, OpsSettings, Settings, environment
from alphapulse.topics import PARTITIONS
from schemas.codec import Codec
from schemas.records import TOPIC_OF, Record, key_of

ROOT = Path(__file__).resolve().parents[3]
PATIENCE: Final = 90.0
CODEC = Codec()


async def until(condition: Callable[[], Awaitable[bool]], what: str, seconds: float = PATIENCE) -> None:
    """Wait until ``condition`` holds.

    Raises:
        AssertionError: it does not within ``seconds``.
    """
    end = time.monotonic() + seconds
    while not await condition():
        assert time.monotonic() < end, f"not within {seconds} s: {what}"
        await asyncio.sleep(0.05)


class Processors:
    """``python -m stream_processors`` with a data folder of its own."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.process: subprocess.Popen[bytes] | None = None
        self.ops = ""

    async def start(self) -> None:
        """Start it and wait until it has partitions."""
        announced = self.settings.data_dir / "run" / "processors.json"
        announced.unlink(missing_ok=True)
        self._spawn()

        async def ready() -> bool:
            assert self.process is not None
            assert self.process.poll() is None, self.log()
            if not announced.is_file():
                return False
            self.ops = f"http://127.0.0.1:{json.loads(announced.read_text())['ops_port']}"
            async with aiohttp.ClientSession() as session, session.get(f"{self.ops}/ready") as answer:
                return answer.status == 200

        await until(ready, "processors ready")

    def _spawn(self) -> None:
        folder = self.settings.data_dir
        folder.mkdir(parents=True, exist_ok=True)
        with (folder / "processors.log").open("ab") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "stream_processors"],
                cwd=ROOT,
                env=os.environ | environment(self.settings),
                stdin=subprocess.DEVNULL,
                stderr=log,
                stdout=log,
            )

    def log(self) -> str:
        """Return what it has told so far."""
        return (self.settings.data_dir / "processors.log").read_text()

    async def get(self, path: str, **query: str) -> Any:
        """Return what its ops port answers."""
        async with aiohttp.ClientSession() as session, session.get(f"{self.ops}{path}", params=query) as answer:
            assert answer.status == 200, await answer.text()
            return await answer.json()

    async def books(self) -> dict[tuple[str, str], dict[str, Any]]:
        """Return ``/books`` by (venue, symbol)."""
        told = (await self.get("/books"))["instruments"]
        return {(book["venue"], book["symbol"]): book for book in told}

    def kill(self) -> None:
        """End it at once, as ``kill -9`` does."""
        assert self.process is not None
        self.process.send_signal(signal.SIGKILL)
        self.process.wait(PATIENCE)

    async def stop(self) -> int:
        """Ask it to stop, and return its exit code."""
        assert self.process is not None
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
        return await asyncio.to_thread(self.process.wait, PATIENCE)


@asynccontextmanager
async def running(settings: Settings) -> AsyncIterator[Processors]:
    """Start processors, and end them whatever happens."""
    processors = Processors(settings)
    try:
        await processors.start()
        yield processors
    finally:
        if processors.process is not None and processors.process.poll() is None:
            processors.kill()


AGELESS: Final = FreshnessSettings(max_book_age_ms=10**12)
"""Records of years ago are young: what is decided on them does not depend on the clock."""


def settings_for(
    folder: Path, kafka_settings: KafkaSettings, freshness: FreshnessSettings = AGELESS, **processors: Any
) -> Settings:
    """Return a configuration for processors on ``kafka_settings``."""
    base = Settings(data_dir=folder, kafka=kafka_settings, ops=OpsSettings(), freshness=freshness)
    return base.model_copy(update={"processors": base.processors.model_copy(update=processors)})


async def publish(producer: AIOKafkaProducer, records: Iterable[Record]) -> int:
    """Send records to their topics, wait for the broker, return how many there were."""
    count = 0
    for record in records:
        await producer.send(TOPIC_OF[type(record)], CODEC.encode(record), key=key_of(record))
        count += 1
    await producer.flush()
    return count


async def read_all(settings: KafkaSettings, topic: str) -> list[Any]:
    """Return all records of ``topic`` as Kafka records with ``value`` decoded, each partition in order."""
    partitions = [TopicPartition(topic, number) for number in range(PARTITIONS)]
    reader = kafka.consumer(settings, group_id=None, client_id="reader")
    found: list[Any] = []
    async with kafka.running(reader, settings):
        reader.assign(partitions)
        ends = await reader.end_offsets(partitions)
        await reader.seek_to_beginning(*partitions)
        while any([await reader.position(tp) < end for tp, end in ends.items()]):
            for records in (await reader.getmany(timeout_ms=100)).values():
                found += [(record.partition, record.offset, CODEC.decode(record.value)) for record in records]
    return found


async def ends(settings: KafkaSettings, topic: str) -> dict[int, int]:
    """Return partition → how many records were ever sent to it."""
    reader = kafka.consumer(settings, group_id=None, client_id="reader")
    async with kafka.running(reader, settings):
        found = await reader.end_offsets([TopicPartition(topic, number) for number in range(PARTITIONS)])
    return {partition.partition: end for partition, end in found.items()}


async def count(settings: KafkaSettings, topic: str) -> int:
    """Return how many records were ever sent to ``topic``."""
    return sum((await ends(settings, topic)).values())


async def caught_up(settings: Settings, topics: Iterable[str]) -> Callable[[], Awaitable[bool]]:
    """Return a condition: the processors' group has committed to the end of ``topics``."""
    group, wanted = settings.processors.group, list(topics)

    async def condition() -> bool:
        async with kafka.LagReader(settings.kafka, {group: wanted}) as reader:
            return (await reader.read())[group].total == 0

    return condition
