"""A service in the test's own process, which waits as one of its own would."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from alphapulse.config import Settings
from alphapulse.service import Service

BOUND_SECONDS = 60.0


class Waiter:
    """A service whose work is one coroutine, such as waiting for a server."""

    def __init__(self, service: Service, work: asyncio.Task[Any]) -> None:
        self.service = service
        self.work = work

    async def until_told(self, part: str) -> str:
        """Return what it waits for, as soon as that has ``part`` in it."""
        async with asyncio.timeout(BOUND_SECONDS):
            while part not in self.service.waiting:
                if self.work.done():
                    self.work.result()
                assert not self.work.done(), "it does not wait"
                await asyncio.sleep(0.01)
        return self.service.waiting

    async def until_up(self) -> Any:
        """Return the result of its work."""
        return await asyncio.wait_for(self.work, BOUND_SECONDS)


Start = Callable[[Settings, Callable[[Service], Coroutine[Any, Any, Any]]], Any]


@pytest.fixture
def waiting_service() -> Start:
    """Start the work of a service; it is cancelled at the end of the block."""

    @asynccontextmanager
    async def start(settings: Settings, work: Callable[[Service], Coroutine[Any, Any, Any]]) -> AsyncIterator[Waiter]:
        service = Service("waiter", settings)
        task = asyncio.create_task(work(service))
        try:
            yield Waiter(service, task)
        finally:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)

    return start


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder for certificates."""
    made = tmp_path / "certificates"
    made.mkdir()
    return made
