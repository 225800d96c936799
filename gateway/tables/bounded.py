"""Bound on the number of concurrent queries, of all clients and of each."""

from __future__ import annotations

import asyncio
from collections import Counter, deque
from collections.abc import Hashable
from contextvars import ContextVar
from typing import Final, NamedTuple

import pyarrow as pa

from gateway.tables.errors import TablesUnavailable
from gateway.tables.interface import Parameters, Tables

CONCURRENT: Final = 4
"""Queries at a time. A long result takes a turn for each page, so it does not keep the others out."""
SHARE: Final = 2
"""Queries at a time of one client."""
WAITING: Final = 64
"""Queries that wait for their turn; more are refused at once."""
PATIENCE_SECONDS: Final = 10.0
"""Maximum time a query waits for its turn."""

CALLER: Final[ContextVar[Hashable | None]] = ContextVar("tables_caller", default=None)
"""Whose query it is; None: of nobody, who has no share."""


class _Waiter(NamedTuple):
    caller: Hashable | None
    turn: asyncio.Future[None]


class BoundedTables:
    """Implements :class:`Tables` over another one.

    Args:
        tables: runs the queries.
        concurrent: queries at a time.
        share: of them, those of one client (:data:`CALLER`).
        waiting: how many may wait for their turn.
        patience_seconds: how long one waits for its turn.
    """

    def __init__(
        self,
        tables: Tables,
        *,
        concurrent: int = CONCURRENT,
        share: int = SHARE,
        waiting: int = WAITING,
        patience_seconds: float = PATIENCE_SECONDS,
    ) -> None:
        self._tables = tables
        self._concurrent = concurrent
        self._share = share
        self._most_waiting = waiting
        self._patience = patience_seconds
        self._running: Counter[Hashable | None] = Counter()
        self._waiting: deque[_Waiter] = deque()

    async def read(self, query: str, parameters: Parameters) -> pa.Table:
        caller = CALLER.get()
        await self._enter(caller)
        try:
            return await self._tables.read(query, parameters)
        finally:
            self._leave(caller)

    def _free(self, caller: Hashable | None) -> bool:
        if self._running.total() >= self._concurrent:
            return False
        return caller is None or self._running[caller] < self._share

    async def _enter(self, caller: Hashable | None) -> None:
        if self._free(caller):  # whoever waits could not take this turn, or would have it
            self._running[caller] += 1
            return
        if len(self._waiting) >= self._most_waiting:
            raise TablesUnavailable(f"{self._most_waiting} queries wait already")
        waiter = _Waiter(caller, asyncio.get_running_loop().create_future())
        self._waiting.append(waiter)
        try:
            async with asyncio.timeout(self._patience):
                await waiter.turn
        except BaseException as error:
            if waiter in self._waiting:
                self._waiting.remove(waiter)
            else:
                self._leave(caller)  # it was given a turn at the same time
            if isinstance(error, TimeoutError):
                raise TablesUnavailable(f"other queries have taken all turns for {self._patience:g} s") from None
            raise

    def _leave(self, caller: Hashable | None) -> None:
        self._running[caller] -= 1
        if not self._running[caller]:
            del self._running[caller]
        for waiter in list(self._waiting):
            # One that was cancelled meanwhile takes no turn, and removes itself.
            if not waiter.turn.done() and self._free(waiter.caller):
                self._waiting.remove(waiter)
                self._running[waiter.caller] += 1
                waiter.turn.set_result(None)

    async def close(self) -> None:
        await self._tables.close()
