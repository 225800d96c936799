"""A running replay server and clients to talk to it."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from alphapulse.config import Settings
from alphapulse.service import Service, announcement_path
from producers.replay.recording import survey
from producers.replay.server import ReplayServer
from tests.fixtures.venue_server import until


class Running:
    """A replay that serves, with its supervisor's view of it."""

    def __init__(self, service: Service, server: ReplayServer) -> None:
        self.service = service
        self.server = server
        self.announced: dict[str, Any] = json.loads(announcement_path(service.settings, service.name).read_text())
        self.websocket_url: str = self.announced["websocket_url"]
        self.rest_url: str = self.announced["rest_url"]
        self.ops = f"http://127.0.0.1:{self.announced['ops_port']}"

    async def credit(self, total: object) -> int:
        """Give credit; return the answer's status."""
        async with aiohttp.ClientSession() as client, client.post(f"{self.ops}/credit", json={"bytes": total}) as got:
            return got.status

    async def status(self) -> dict[str, Any]:
        """Return the status as a supervisor sees it."""
        async with aiohttp.ClientSession() as client, client.get(f"{self.ops}/status") as got:
            status: dict[str, Any] = await got.json()
            return status


Start = Callable[..., AbstractAsyncContextManager[Running]]


@pytest.fixture
def start(tmp_path: Path) -> Start:
    """Return what starts a replay of a file and stops it again."""

    @asynccontextmanager
    async def started(path: Path, *, speed: float | None = None, paced: bool = False) -> AsyncIterator[Running]:
        service = Service("replay-test", Settings(data_dir=tmp_path / "data"))
        server = ReplayServer(survey(path), speed=speed, paced=paced)

        async def main(running: Service) -> None:
            await server.serve(running)

        living: Coroutine[Any, Any, None] = service.live(main)
        life = asyncio.create_task(living)
        try:
            await until(lambda: service.ready or life.done())
            if life.done():
                life.result()
            yield Running(service, server)
        finally:
            service.stopping.set()
            await life

    return started


@pytest.fixture
def write(tmp_path: Path) -> Callable[..., Path]:
    """Return what writes a recording of the given lines."""

    def written(*lines: bytes, name: str = "binance_x.rec") -> Path:
        path = tmp_path / name
        path.write_bytes(b"".join(line + b"\n" for line in lines))
        return path

    return written
