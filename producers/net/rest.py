"""REST requests, sent beside the read loops and never in them, within the venue's limits."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any, Final

import aiohttp

from producers.feed.actions import FetchSnapshot
from producers.feed.venue import Venue
from producers.net.backoff import Backoff, Pace
from producers.net.rate_limit import PAUSING, RateLimiter, stated_seconds

AT_ONCE: Final = 4
"""Requests under way at the same time: venues weigh deep snapshots heavily."""
ANSWER_SECONDS: Final = 30.0
UNSTATED_PAUSES: Final = {429: 10.0, 418: 120.0}
"""Slow down (429), banned for not slowing down (418): how long, where no ``Retry-After`` says it."""
REFUSING: Final = (400, 404)
"""There is no such thing: asking again seldom helps, and takes of the weight that the others need."""
REFUSED_SECONDS: Final = 600.0
"""The longest pause between two such requests."""

Answered = Callable[[bytes], None]
Failed = Callable[[str], None]
Spawn = Callable[[Coroutine[Any, Any, None]], "asyncio.Task[None]"]


class RestClient:
    """Gets what the connections of a venue ask for; a failure is told and tried again.

    Args:
        venue: its limits.
        base: its REST address.
        spawn: makes the tasks, and minds their errors.
    """

    def __init__(self, venue: Venue, base: str, spawn: Spawn) -> None:
        self.base = base.rstrip("/")
        self._spawn = spawn
        self._weight = venue.rest_weight
        self._gate = RateLimiter(venue.rest_limit)
        self._session: aiohttp.ClientSession | None = None
        self._slots = asyncio.Semaphore(AT_ONCE)
        self._tasks: dict[tuple[object, str], asyncio.Task[None]] = {}
        self._paces: dict[tuple[object, str], Pace] = {}

    def fetch(self, asker: object, request: FetchSnapshot, answered: Answered, failed: Failed) -> None:
        """Fetch for ``request``; an earlier request of the same asker for the same symbol is given up."""
        key = (asker, request.symbol)
        self.cancel(asker, request.symbol)
        self._tasks[key] = self._spawn(self._fetch(key, request, answered, failed))

    def asking(self, asker: object, symbol: str) -> bool:
        """Whether a request for ``symbol`` waits for its turn or its answer."""
        task = self._tasks.get((asker, symbol))
        return task is not None and not task.done()

    def cancel(self, asker: object, symbol: str | None = None) -> None:
        """Give up the requests of ``asker``, or that for one symbol."""
        for key in [key for key in self._tasks if key[0] is asker and symbol in (None, key[1])]:
            task = self._tasks.pop(key)
            # A request may follow from the answer to the one before, in that one's task.
            if task is not asyncio.current_task():
                task.cancel()

    def forget(self, asker: object) -> None:
        """Give up everything of an asker that is no more."""
        self.cancel(asker)
        for key in [key for key in self._paces if key[0] is asker]:
            del self._paces[key]

    async def close(self) -> None:
        """Give up all requests and close the connections."""
        tasks = list(self._tasks.values())
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        if self._session is not None:
            await self._session.close()

    async def get(self, path: str) -> tuple[bytes | None, str]:
        """Return the body at ``path``, as soon as the limits allow to ask for it; None and why if there is none."""
        body, reason, _ = await self._in_turn(path)
        return body, reason

    async def _fetch(self, key: tuple[object, str], request: FetchSnapshot, answered: Answered, failed: Failed) -> None:
        pace = self._paces.setdefault(key, Pace())
        await asyncio.sleep(pace.delay(asyncio.get_running_loop().time()))
        if request.attempt:
            # The answer was older than the stream; the venue needs a moment to catch up with itself.
            await asyncio.sleep(min(5.0, 0.25 * 2 ** min(request.attempt - 1, 10)))
        backoff, refusals = Backoff(base=1.0, cap=60.0), Backoff(base=2.0, cap=REFUSED_SECONDS, least=0.5)
        while True:
            body, reason, refused = await self._in_turn(request.path)
            if body is not None:
                answered(body)
                return
            failed(reason)
            await asyncio.sleep((refusals if refused else backoff).next())

    async def _in_turn(self, path: str) -> tuple[bytes | None, str, bool]:
        async with self._slots:
            await self._gate.enter(self._weight(path))
            return await self._get(path)

    async def _get(self, path: str) -> tuple[bytes | None, str, bool]:
        """Return the body at ``path``, or why there is none, and whether the venue has nothing of that kind."""
        if self._session is None:
            self._session = aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=ANSWER_SECONDS))
        try:
            async with self._session.get(self.base + path) as response:
                body = await response.read()
                if response.status == 200:
                    return body, "", False
                self._heed(response)
                reason = f"HTTP {response.status} for {path}: {body[:200]!r}"
                return None, reason, response.status in REFUSING
        except (aiohttp.ClientError, TimeoutError, OSError, ValueError) as error:  # ValueError: no address at all
            return None, f"{path}: {error!r}", False

    def _heed(self, response: aiohttp.ClientResponse) -> None:
        """Let nothing more through for as long as the venue wants to be left alone."""
        if response.status in PAUSING:
            stated = stated_seconds(response.headers.get("Retry-After"))
            self._gate.close(stated if stated is not None else UNSTATED_PAUSES.get(response.status, 0.0))
