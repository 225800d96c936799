"""Bound on the number of concurrent queries."""

from __future__ import annotations

import asyncio
from typing import Final

import pyarrow as pa

from gateway.tables.errors import TablesUnavailable
from gateway.tables.interface import Parameters, Tables

CONCURRENT: Final = 4
"""Queries at a time. A long result takes a turn for each page, so it does not keep the others out."""
PATIENCE_SECONDS: Final = 10.0
"""Maximum time a query waits for its turn."""


class BoundedTables:
    """Implements :class:`Tables` over another one.

    Args:
        tables: runs the queries.
        concurrent: queries at a time.
        patience_seconds: how long one waits for its turn.
    """

    def __init__(
        self, tables: Tables, *, concurrent: int = CONCURRENT, patience_seconds: float = PATIENCE_SECONDS
    ) -> None:
        self._tables = tables
        self._turns = asyncio.Semaphore(concurrent)
        self._patience = patience_seconds

    async def read(self, query: str, parameters: Parameters) -> pa.Table:
        try:
            async with asyncio.timeout(self._patience):
                await self._turns.acquire()
        except TimeoutError:
            raise TablesUnavailable(f"other queries have taken all turns for {self._patience:g} s") from None
        try:
            return await self._tables.read(query, parameters)
        finally:
            self._turns.release()

    async def close(self) -> None:
        await self._tables.close()
