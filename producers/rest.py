"""REST snapshots, fetched beside the read loop and never in it."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any, Final

import aiohttp

from producers.backoff import Backoff, Pace
from producers.outputs import FetchSnapshot

AT_ONCE: Final = 4
"""Requests under way at the same time: venues weigh deep snapshots heavily."""
ANSWER_SECONDS: Final = 30.0
_LIMIT_STATUSES: Final = (418, 429, 503)
"""Slow down (429), banned for not slowing down (418), busy: ``Retry-After`` says for how long."""

Answered = Callable[[FetchSnapshot, bytes], None]
Failed = Callable[[FetchSnapshot, str], None]
Spawn = Callable[[Coroutine[Any, Any, None]], "asyncio.Task[None]"]


class SnapshotFetcher:
    """Fetches what one connection's protocol asks for; a failure is told and tried again.

    Args:
        base: the venue's REST address.
        answered: takes the body of an answer.
        failed: is told why an attempt failed.
        spawn: makes the tasks, and minds their errors.
    """

    def __init__(self, base: str, answered: Answered, failed: Failed, spawn: Spawn) -> None:
        self._base = base.rstrip("/")
        self._answered = answered
        self._failed = failed
        self._spawn = spawn
        self._session: aiohttp.ClientSession | None = None
        self._slots = asyncio.Semaphore(AT_ONCE)
        self._tasks: dict[str, asyncio.Task[None]] = {}
        self._paces: dict[str, Pace] = {}

    def fetch(self, request: FetchSnapshot) -> None:
        """Fetch for ``request``; an earlier request for the same symbol is given up."""
        earlier = self._tasks.pop(request.symbol, None)
        if earlier is not None and earlier is not asyncio.current_task():
            earlier.cancel()
        self._tasks[request.symbol] = self._spawn(self._fetch(request))

    def cancel(self) -> None:
        """Give up all requests."""
        for task in self._tasks.values():
            task.cancel()
        self._tasks.clear()

    async def close(self) -> None:
        """Give up all requests and close the connections."""
        tasks = list(self._tasks.values())
        self.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        if self._session is not None:
            await self._session.close()

    async def _fetch(self, request: FetchSnapshot) -> None:
        pace = self._paces.setdefault(request.symbol, Pace())
        await asyncio.sleep(pace.delay(asyncio.get_running_loop().time()))
        if request.attempt:
            # The answer was older than the stream; the venue needs a moment to catch up with itself.
            await asyncio.sleep(min(5.0, 0.25 * 2 ** min(request.attempt - 1, 10)))
        backoff = Backoff(base=1.0, cap=60.0)
        while True:
            async with self._slots:
                body, reason, pause = await self._get(request.path)
            if body is not None:
                self._answered(request, body)
                return
            self._failed(request, reason)
            await asyncio.sleep(max(pause, backoff.next()))

    async def _get(self, path: str) -> tuple[bytes | None, str, float]:
        """Return the body, or None, why, and how long the venue wants to be left alone."""
        if self._session is None:
            self._session = aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=ANSWER_SECONDS))
        try:
            async with self._session.get(self._base + path) as response:
                body = await response.read()
                if response.status == 200:
                    return body, "", 0.0
                pause = _seconds(response.headers.get("Retry-After")) if response.status in _LIMIT_STATUSES else 0.0
                return None, f"HTTP {response.status} for {path}: {body[:200]!r}", pause
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            return None, f"{path}: {error!r}", 0.0


def _seconds(text: str | None) -> float:
    return float(min(int(text), 3600)) if text is not None and text.isascii() and text.isdigit() else 0.0
