"""Resubscription of single books, with a backoff per book so that a failing book causes no request storm."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any, Final

from producers.net.backoff import Pace

LONGEST_SECONDS: Final = 120.0
"""Maximum interval between two resubscriptions of a book that does not recover."""


class Resubscriptions:
    """Pending resubscriptions of one shard.

    Args:
        spawn: makes the tasks.
        ask: resubscribes a symbol's book.
        turn: waits until the rate limit allows it, for one symbol after its backoff.
    """

    def __init__(
        self,
        spawn: Callable[[Coroutine[Any, Any, None]], asyncio.Task[None]],
        ask: Callable[[str], None],
        turn: Callable[[str], Awaitable[None]],
    ) -> None:
        self._spawn = spawn
        self._ask = ask
        self._turn = turn
        self._tasks: dict[str, asyncio.Task[None]] = {}
        self._paces: dict[str, Pace] = {}

    def __contains__(self, symbol: object) -> bool:
        return symbol in self._tasks

    def request(self, symbol: str) -> None:
        """Resubscribe ``symbol`` after its backoff; no effect if that is already pending."""
        if symbol not in self._tasks:
            self._tasks[symbol] = self._spawn(self._wait(symbol))

    def cancel(self, symbol: str | None = None) -> None:
        """Cancel what is pending, for one symbol or all."""
        for name in [symbol] if symbol is not None else list(self._tasks):
            task = self._tasks.pop(name, None)
            if task is not None:
                task.cancel()

    async def _wait(self, symbol: str) -> None:
        pace = self._paces.setdefault(symbol, Pace(cap=LONGEST_SECONDS))
        await asyncio.sleep(pace.delay(asyncio.get_running_loop().time()))
        await self._turn(symbol)
        del self._tasks[symbol]
        self._ask(symbol)
