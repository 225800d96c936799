"""Recorded REST answers, matched with the client's requests.

The client's requests come at other times than the recorder's. A request that comes first waits until the timeline
reaches its answer, so that the answer never overtakes the frames before it; an answer that comes first holds the
timeline for a short while and is then latched for the request.
"""

from __future__ import annotations

import asyncio
from collections import deque

from producers.venue_server.frames import RestKey


class RestDesk:
    """Matches requests with recorded answers."""

    def __init__(self) -> None:
        self._requests: dict[RestKey, deque[asyncio.Future[bytes | None]]] = {}
        self._latched: dict[RestKey, bytes] = {}
        self._asked = asyncio.Event()
        self._ended = False
        self.answered = 0

    @property
    def latched(self) -> int:
        """Number of answers that wait for a request."""
        return len(self._latched)

    async def ask(self, key: RestKey) -> bytes | None:
        """Return the answer to a request: the latched one, else the timeline's next; None when there is none left.

        A cancelled request returns its answer.
        """
        latched = self._latched.pop(key, None)
        if latched is not None or self._ended:
            self.answered += latched is not None
            return latched
        request: asyncio.Future[bytes | None] = asyncio.get_running_loop().create_future()
        self._requests.setdefault(key, deque()).append(request)
        self._asked.set()
        try:
            return await request
        except asyncio.CancelledError:
            self._requests[key] = deque(other for other in self._requests[key] if other is not request)
            if request.done() and not request.cancelled() and (body := request.result()) is not None:
                self.answered -= 1
                self._latched.setdefault(key, body)
            raise

    def waits(self, key: RestKey) -> bool:
        """Return whether a request waits for an answer."""
        return any(not request.done() for request in self._requests.get(key, ()))

    async def wait(self, key: RestKey, seconds: float) -> bool:
        """Wait for such a request, at most ``seconds``; return whether there is one."""
        try:
            async with asyncio.timeout(seconds):
                while not self.waits(key):
                    self._asked.clear()
                    await self._asked.wait()
        except TimeoutError:
            return False
        return True

    def give(self, key: RestKey, body: bytes) -> None:
        """Answer the request that has waited longest; else latch ``body``, replacing an older one."""
        requests = self._requests.get(key, deque())
        while requests:
            request = requests.popleft()
            if not request.done():  # cancelled, but its task has not run yet
                request.set_result(body)
                self.answered += 1
                return
        self._latched[key] = body

    def end(self) -> None:
        """End: answer waiting requests, and later ones without a latched answer, with None."""
        self._ended = True
        for requests in self._requests.values():
            while requests:
                request = requests.popleft()
                if not request.done():
                    request.set_result(None)
