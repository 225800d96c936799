"""Twenty clients that never read, beside one that does: they are conflated, then dropped, and it misses nothing.

What they cost in time is measured by ``python -m tests.load URL --silent 20``.
"""

from __future__ import annotations

import asyncio
import json
import socket
from pathlib import Path

import pytest
from prometheus_client import REGISTRY
from websockets.asyncio.client import connect

from gateway.close_codes import SLOW
from gateway.fanout import HubSession
from tests.fixtures.gateway import serving
from tests.fixtures.market import START
from tests.fixtures.stream import ClientBook
from tests.fixtures.stream_v2 import FollowedBook, sides_of
from tests.integration.gateway.conftest import BOUND, Client
from tests.integration.gateway.test_gateway import BOOK, books
from tests.load import clients as load

SILENT = 20
QUEUE_BYTES = 16_384


def dropped() -> float:
    """Return how many clients were closed because they read nothing."""
    return REGISTRY.get_sample_value("alphapulse_gateway_disconnects_total", {"code": str(SLOW.number)}) or 0.0


def queued(session: HubSession) -> int:
    """Return the length of what waits in a session's queue."""
    return session._outbox.waiting  # type: ignore[attr-defined,no-any-return]


@pytest.mark.parametrize("version", ["v1", "v2"])
async def test_clients_that_never_read_cost_the_others_nothing(tmp_path: Path, version: str) -> None:
    walk = books(1500)
    before = dropped()
    silent: list[socket.socket] = []
    async with serving(tmp_path, queue_bytes=QUEUE_BYTES, stall_seconds=0.2) as served:
        port = int(served.url.rpartition(":")[2])
        target = load.Target("127.0.0.1", port, f"/ws/{version}")
        async with connect(f"ws://127.0.0.1:{port}/ws/{version}") as connection:
            reader = Client(connection)
            await reader.say(**BOOK)
            await reader.until(lambda got: any(each["type"] == "snapshot" for each in got))
            try:
                for _ in range(SILENT):
                    made = await asyncio.to_thread(load.connect, target, [json.dumps(BOOK)], receive_buffer=4096)
                    silent.append(made)
                async with asyncio.timeout(BOUND):
                    while len(served.hub.sessions) < SILENT + 1 or not all(
                        session.subscriptions for session in served.hub.sessions
                    ):
                        await asyncio.sleep(0.01)
                (first, *others) = served.hub.sessions
                last = walk[-1].sequence
                following = asyncio.create_task(reader.until(lambda got: got[-1].get("sequence") == last))
                for depth in walk:
                    served.hub.apply(depth, START)
                    await asyncio.sleep(0)
                await following
                assert [each["sequence"] for each in reader.messages if each.get("sequence")] == [
                    depth.sequence for depth in walk
                ], "each book, in order"
                book = ClientBook() if version == "v1" else FollowedBook()
                for message in reader.messages:
                    if message.get("channel") == "book" and "bids" in message:
                        book.apply(message)
                assert (book.bids, book.asks) == sides_of(walk[-1])
                assert all(session.conflated for session in others)
                assert max(map(queued, others)) <= QUEUE_BYTES, "their queues are bounded"
                assert not first.conflated
                async with asyncio.timeout(BOUND):
                    while len(served.hub.sessions) > 1:
                        served.hub.check()
                        await asyncio.sleep(0.02)
                assert list(served.hub.sessions) == [first]
                assert dropped() == before + SILENT
                (after,) = books(1501)[-1:]
                served.hub.apply(after, START)
                await reader.until(lambda got: got[-1].get("sequence") == after.sequence)
            finally:
                for each in silent:
                    each.close()
