"""REST client of a venue: requests in background tasks, within the venue's rate limits."""

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
"""Maximum concurrent requests: venues weigh deep snapshots heavily."""
ANSWER_SECONDS: Final = 30.0
UNSTATED_PAUSES: Final = {429: 10.0, 418: 120.0}
"""Too many requests (429), banned (418): pause without a ``Retry-After``."""
REFUSING: Final = (400, 404)
"""Statuses for which a retry seldom helps and only consumes the rate limit."""
REFUSED_SECONDS: Final = 600.0
"""Maximum delay between two such requests."""

Answered = Callable[[bytes], None]
Failed = Callable[[str], None]
Spawn = Callable[[Coroutine[Any, Any, None]], "asyncio.Task[None]"]


class RestClient:
    """REST client for the connections of one venue; failed requests are reported and retried.

    Args:
        venue: for its limits.
        base: its REST address.
        spawn: makes the tasks and handles their errors.
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
        """Start ``request``; an earlier request of the same asker for the same symbol is cancelled."""
        key = (asker, request.symbol)
        self.cancel(asker, request.symbol)
        self._tasks[key] = self._spawn(self._fetch(key, request, answered, failed))

    def asking(self, asker: object, symbol: str) -> bool:
        """Whether a request for ``symbol`` is queued or in flight."""
        task = self._tasks.get((asker, symbol))
        return task is not None and not task.done()

    def cancel(self, asker: object, symbol: str | None = None) -> None:
        """Cancel the requests of ``asker``, or only the one for ``symbol``."""
        for key in [key for key in self._tasks if key[0] is asker and symbol in (None, key[1])]:
            task = self._tasks.pop(key)
            # A request can be made while the previous answer is handled, in that request's task.
            if task is not asyncio.current_task():
                task.cancel()

    def forget(self, asker: object) -> None:
        """Cancel everything of an asker that has ended."""
        self.cancel(asker)
        for key in [key for key in self._paces if key[0] is asker]:
            del self._paces[key]

    @property
    def budget_left(self) -> float:
        """Share of the venue's limit, 0 to 1, that could be spent now."""
        return self._gate.left

    async def close(self) -> None:
        """Cancel all requests and close the connections."""
        tasks = list(self._tasks.values())
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        if self._session is not None:
            await self._session.close()

    async def get(self, path: str) -> tuple[bytes | None, str]:
        """Return the body at ``path`` as soon as the rate limits allow; None and the reason if it fails."""
        body, reason, _ = await self._in_turn(path)
        return body, reason

    async def _fetch(self, key: tuple[object, str], request: FetchSnapshot, answered: Answered, failed: Failed) -> None:
        pace = self._paces.setdefault(key, Pace())
        await asyncio.sleep(pace.delay(asyncio.get_running_loop().time()))
        if request.attempt:
            # The answer was older than the stream; the venue needs time to catch up.
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
        """Return the body at ``path``, or the reason why not, and whether the venue does not have it at all."""
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
        except (aiohttp.ClientError, TimeoutError, OSError, ValueError) as error:  # ValueError: malformed address
            return None, f"{path}: {error!r}", False

    def _heed(self, response: aiohttp.ClientResponse) -> None:
        """Apply the pause that the venue demands."""
        if response.status in PAUSING:
            stated = stated_seconds(response.headers.get("Retry-After"))
            self._gate.close(stated if stated is not None else UNSTATED_PAUSES.get(response.status, 0.0))
