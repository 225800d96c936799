"""Turns of queries: a share for each client, and a queue with an end."""

from __future__ import annotations

import asyncio
from collections.abc import Hashable

import pyarrow as pa
import pytest

from gateway.tables import BoundedTables, Parameters, TablesUnavailable
from gateway.tables.bounded import CALLER


class Slow:
    """Tables that answer when told to."""

    def __init__(self) -> None:
        self.running: list[Hashable | None] = []
        self.go = asyncio.Event()

    async def read(self, query: str, parameters: Parameters) -> pa.Table:
        self.running.append(CALLER.get())
        await self.go.wait()
        return pa.table({})

    async def close(self) -> None:
        """Nothing to close."""


async def settled() -> None:
    for _ in range(10):
        await asyncio.sleep(0)


async def test_one_client_does_not_take_all_turns() -> None:
    slow = Slow()
    tables = BoundedTables(slow, concurrent=4, share=2, waiting=4)

    async def ask(caller: Hashable | None) -> None:
        CALLER.set(caller)
        await tables.read("", {})

    asking = [asyncio.create_task(ask("a")) for _ in range(5)]
    await settled()
    asking.append(asyncio.create_task(ask("b")))
    await settled()
    assert slow.running == ["a", "a", "b"]
    asking.append(asyncio.create_task(ask(None)))
    await settled()
    assert slow.running == ["a", "a", "b", None]
    asking.append(asyncio.create_task(ask("c")))
    await settled()
    with pytest.raises(TablesUnavailable, match="4 queries wait already"):
        await ask("d")
    asking[3].cancel()
    asking[0].cancel()
    await settled()
    assert slow.running == ["a", "a", "b", None, "a"], "the first who waits and has a turn left"
    asking[5].cancel()
    await settled()
    assert slow.running[5:] == ["c"]
    slow.go.set()
    results = await asyncio.gather(*asking, return_exceptions=True)
    assert [isinstance(each, BaseException) for each in results] == [
        True,
        False,
        False,
        True,
        False,
        True,
        False,
        False,
    ]
    assert (tables._running.total(), len(tables._waiting)) == (0, 0)


async def test_who_gives_up_leaves_the_queue() -> None:
    slow = Slow()
    tables = BoundedTables(slow, concurrent=1, patience_seconds=0.01)
    first = asyncio.create_task(tables.read("", {}))
    await settled()
    with pytest.raises(TablesUnavailable, match="all turns"):
        await tables.read("", {})
    assert len(tables._waiting) == 0
    slow.go.set()
    await first
    await tables.read("", {})
