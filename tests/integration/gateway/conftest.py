"""A gateway of its own process, a producer for its topics, and ways to wait."""

from __future__ import annotations

import asyncio
import json
import os
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, Self, TypeVar

import aiohttp
import pytest
from aiokafka import AIOKafkaProducer
from websockets.asyncio.client import ClientConnection
from websockets.exceptions import ConnectionClosed

from alphapulse.config import FreshnessSettings, GatewaySettings, KafkaSettings, LogSettings, Settings, environment
from alphapulse.kafka import producer, running
from alphapulse.service import announcement_path
from schemas.codec import Codec
from schemas.records import TOPIC_OF, Record, key_of
from tests.conftest import ROOT
from tests.fixtures.stream import messages_of

T = TypeVar("T")

BOUND = 60.0
"""Seconds after which waiting is a failure."""
AGES = 3_600_000
"""A time (ms) that no test takes."""


class Feed:
    """Writes records to their topics."""

    def __init__(self, to: AIOKafkaProducer) -> None:
        self._producer = to
        self._codec = Codec()

    async def put(self, *records: Record) -> None:
        """Write records and wait until the broker has them."""
        sent = [
            await self._producer.send(TOPIC_OF[type(record)], value=self._codec.encode(record), key=key_of(record))
            for record in records
        ]
        await asyncio.gather(*sent)

    async def put_bytes(self, topic: str, value: bytes, key: bytes) -> None:
        """Write bytes that are no record."""
        await self._producer.send_and_wait(topic, value=value, key=key)


@pytest.fixture
async def feed(kafka: KafkaSettings) -> AsyncIterator[Feed]:
    async with running(producer(kafka, client_id="test"), kafka) as made:
        yield Feed(made)


class Client:
    """A client of the stream that keeps what it was told."""

    def __init__(self, connection: ClientConnection) -> None:
        self.connection = connection
        self.messages: list[dict[str, Any]] = []

    async def say(self, **fields: Any) -> None:
        await self.connection.send(json.dumps(fields))

    async def until(self, condition: Callable[[list[dict[str, Any]]], object]) -> None:
        """Read until ``condition`` holds of all messages so far."""
        async with asyncio.timeout(BOUND):
            while not condition(self.messages):
                text = await self.connection.recv()
                assert isinstance(text, str)
                self.messages += messages_of(text)

    async def closing_code(self) -> int | None:
        """Read until the server closes; return its code, None if it just cut the connection."""
        try:
            await self.until(lambda _: False)
        except ConnectionClosed as closed:
            return closed.rcvd.code if closed.rcvd is not None else None
        raise AssertionError("unreachable")


class GatewayProcess:
    """``python -m gateway`` with ``settings``.

    Args:
        settings: in its environment, over those of its files.
        config: folder of its configuration files; None: it has none.
    """

    def __init__(self, settings: Settings, config: Path | None = None) -> None:
        self.settings = settings
        self.config = config
        self.process: asyncio.subprocess.Process | None = None

    async def __aenter__(self) -> Self:
        inherited = {name: value for name, value in os.environ.items() if not name.startswith("ALPHAPULSE_")}
        self.process = await asyncio.create_subprocess_exec(
            sys.executable,
            "-m",
            "gateway",
            *(("--config", str(self.config)) if self.config is not None else ()),
            env=inherited | environment(self.settings),
            cwd=ROOT,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
        )
        return self

    async def __aexit__(self, *_: object) -> None:
        assert self.process is not None
        if self.process.returncode is None:
            self.process.kill()
        await self.process.communicate()

    async def ended(self) -> tuple[int, str]:
        """Wait for the end; return exit code and output."""
        assert self.process is not None
        async with asyncio.timeout(BOUND):
            output, _ = await self.process.communicate()
        assert self.process.returncode is not None
        return self.process.returncode, output.decode()

    async def announced(self) -> dict[str, Any]:
        """Wait until the gateway serves and has read what there was; return its announcement."""
        assert self.process is not None
        path = announcement_path(self.settings, "gateway")

        async def found() -> dict[str, Any] | None:
            if not path.exists():
                return None
            fields: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
            if "url" not in fields or fields["pid"] != self.process.pid:  # type: ignore[union-attr]
                return None
            async with (
                aiohttp.ClientSession() as session,
                session.get(f"http://127.0.0.1:{fields['ops_port']}/ready") as response,
            ):
                return fields if response.status == 200 else None

        return await eventually(found)


async def eventually(condition: Callable[[], Awaitable[T | None]]) -> T:
    """Return the first thing ``condition`` gives that is true; fail after ``BOUND``."""
    async with asyncio.timeout(BOUND):
        while not (found := await condition()):
            await asyncio.sleep(0.02)
        return found


@asynccontextmanager
async def running_gateway(
    folder: Path,
    kafka: KafkaSettings,
    *,
    max_book_age_ms: int = AGES,
    config: Path | None = None,
    log: LogSettings = LogSettings(),  # noqa: B008 frozen
    **gateway: Any,
) -> AsyncIterator[GatewayProcess]:
    """Run a gateway on any free port until the end of the block; unless told otherwise, books stay good."""
    settings = Settings(
        data_dir=folder,
        kafka=kafka,
        log=log,
        freshness=FreshnessSettings(heartbeat_ms=min(1000, max_book_age_ms // 3), max_book_age_ms=max_book_age_ms),
        gateway=GatewaySettings(**{"port": 0} | gateway),
    )
    async with GatewayProcess(settings, config) as process:
        yield process
