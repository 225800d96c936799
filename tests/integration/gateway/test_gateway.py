"""The whole gateway as a process, between a broker and clients on loopback."""

from __future__ import annotations

import asyncio
import random
import signal
import socket
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from websockets.asyncio.client import connect

from alphapulse.config import KafkaSettings
from alphapulse.service import EXIT_OK, EXIT_REFUSED
from gateway.close_codes import RESTART, SLOW
from schemas.records import Depth
from tests.fixtures import market
from tests.fixtures.containers import KAFKAS
from tests.fixtures.gateway import serving
from tests.fixtures.market import START
from tests.fixtures.stream import ClientBook
from tests.integration.gateway.conftest import BOUND, Client, Feed, running_gateway

BOOK = {"op": "subscribe", "id": 1, "channel": "book", "venue": "kraken", "symbol": "BTC-USD"}


@pytest.fixture(params=KAFKAS)
def kafka(request: pytest.FixtureRequest) -> KafkaSettings:
    """Settings for each broker in turn, with all of our topics, empty."""
    settings: KafkaSettings = request.getfixturevalue(request.param)
    return settings


def stream(url: str) -> str:
    return url.replace("http", "ws", 1) + "/ws/v1"


def books(count: int, start: int = START) -> list[Depth]:
    """A walk of a book, seeded, received a millisecond after the other from ``start`` (ns) on; its numbers jump."""
    chance = random.Random(5)
    walk = []
    for sequence in range(1, count + 1):
        middle = 1000 + chance.randint(-3, 3)
        walk.append(
            market.depth(
                bids=[(middle - 1 - n, chance.randint(1, 9)) for n in range(20)],
                asks=[(middle + 1 + n, chance.randint(1, 9)) for n in range(20)],
                sequence=sequence * 7,
                received_time=start + sequence * 1_000_000,
            )
        )
    return walk


def book_of(messages: list[dict[str, Any]]) -> ClientBook:
    book = ClientBook()
    for message in messages:
        if message.get("channel") == "book" and "bids" in message:
            book.apply(message)
    return book


async def test_records_reach_clients_rest_and_health(feed: Feed, kafka: KafkaSettings, tmp_path: Path) -> None:
    walk = books(50, time.time_ns())
    await feed.put(walk[0], market.event(), market.trade("1"))
    async with running_gateway(tmp_path, kafka) as gateway:
        url = (await gateway.announced())["url"]
        async with connect(stream(url)) as connection:
            client = Client(connection)
            await client.say(**BOOK)
            await client.say(**BOOK | {"id": 2, "channel": "trades"})
            await client.say(op="subscribe", id=3, channel="arbitrage", symbol="*")
            await client.until(lambda got: {each.get("id") for each in got} >= {1, 2, 3})
            other = replace(walk[0], venue="coinbase")
            await feed.put(*walk[1:], other, market.trade("2"), market.opportunity(), market.statistics())
            await client.until(lambda got: book_of(got).equals(walk[-1]))
            await client.until(lambda got: any(each.get("opportunity_id") or each.get("opportunities") for each in got))
            await client.until(lambda got: any(each["type"] == "trades" for each in got))
            book = book_of(client.messages)
            assert book.snapshots == 1
            assert book.deltas >= 1
            trades = [each for each in client.messages if each.get("channel") == "trades" and "trades" in each]
            assert [trade["id"] for each in trades for trade in each["trades"]] == ["1", "2"]
        async with aiohttp.ClientSession(url) as session:
            async with session.get("/api/v1/books/kraken/BTC-USD") as response:
                found = await response.json()
            assert (found["epoch"], found["sequence"]) == (book.epoch, book.sequence) == (str(START), 350)
            assert dict(found["bids"]) == book.bids
            async with session.get("/api/v1/system/health") as response:
                health = await response.json()
            assert (health["status"], health["services"].keys()) == ("ok", {"gateway", "kafka"})


async def test_at_sigterm_clients_are_told_and_the_process_ends_in_order(
    feed: Feed, kafka: KafkaSettings, tmp_path: Path
) -> None:
    async with running_gateway(tmp_path, kafka) as gateway:
        announced = await gateway.announced()
        async with connect(stream(announced["url"])) as connection:
            client = Client(connection)
            await client.until(lambda got: got)
            assert gateway.process is not None
            gateway.process.send_signal(signal.SIGTERM)
            assert await client.closing_code() == RESTART.number
            assert client.messages[-1]["type"] == "shutdown"
        code, errors = await gateway.ended()
        assert code == EXIT_OK, errors
        assert "Traceback" not in errors
        assert not (tmp_path / "run" / "gateway.json").exists()


async def test_after_kill_9_a_client_that_comes_back_is_in_step(
    feed: Feed, kafka: KafkaSettings, tmp_path: Path
) -> None:
    walk = books(30, time.time_ns())
    await feed.put(*walk[:10])
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    async with running_gateway(tmp_path, kafka, port=port) as gateway:
        async with connect(stream((await gateway.announced())["url"])) as connection:
            client = Client(connection)
            await client.say(**BOOK)
            await client.until(lambda got: book_of(got).equals(walk[9]))
            before = book_of(client.messages)
            assert gateway.process is not None
            gateway.process.kill()
            await connection.wait_closed()
        await gateway.ended()
    await feed.put(*walk[10:20])
    async with running_gateway(tmp_path, kafka, port=port) as gateway:
        await gateway.announced()
        async with connect(f"ws://127.0.0.1:{port}/ws/v1") as connection:
            client = Client(connection)
            await client.say(**BOOK)
            await client.until(lambda got: book_of(got).equals(walk[19]))
            again = book_of(client.messages)
            assert (before.epoch, before.sequence) == (str(START), 70)
            assert (again.epoch, again.sequence) == (str(START), 140), "the numbers are the book's, not the gateway's"
            await feed.put(*walk[20:])
            await client.until(lambda got: book_of(got).equals(walk[-1]))


async def test_a_port_in_use_is_one_clear_message(kafka: KafkaSettings, tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        async with running_gateway(tmp_path, kafka, port=port) as gateway:
            code, errors = await gateway.ended()
    assert code == EXIT_REFUSED
    assert errors.splitlines()[-1] == (
        f"gateway: gateway.port: 127.0.0.1:{port} is in use by another process; "
        "choose another port, or 0 for any free one"
    )
    assert "Traceback" not in errors


async def test_a_slow_client_is_conflated_then_closed_and_others_notice_nothing(tmp_path: Path) -> None:
    walk = books(3000)
    async with serving(tmp_path, queue_bytes=16_384, stall_seconds=0.2) as served:
        slow_socket = socket.socket()
        slow_socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        slow_socket.setblocking(False)
        address = ("127.0.0.1", int(served.url.rpartition(":")[2]))
        await asyncio.get_running_loop().sock_connect(slow_socket, address)
        async with connect(served.stream, sock=slow_socket, max_queue=1) as slow, connect(served.stream) as fast:
            clients = Client(slow), Client(fast)
            for client in clients:
                await client.say(**BOOK)
                await client.until(lambda got: any(each["type"] == "snapshot" for each in got))
            (session, _) = served.hub.sessions
            last = walk[-1].received_time // 1000
            following = asyncio.create_task(clients[1].until(lambda got: got[-1].get("time") == last))
            for depth in walk:
                served.hub.apply(depth, START)
                await asyncio.sleep(0)
            await following
            assert book_of(clients[1].messages).deltas == len(walk) - 1, "the other client missed nothing"
            assert session.conflated
            async with asyncio.timeout(BOUND):
                while session in served.hub.sessions:
                    served.hub.check()
                    await asyncio.sleep(0.02)
            served.hub.apply(market.trade(), START)
            assert await clients[0].closing_code() == SLOW.number
            assert len(served.hub.sessions) == 1


async def test_a_client_that_was_slow_for_a_while_is_put_in_step(tmp_path: Path) -> None:
    walk = books(3000)
    async with serving(tmp_path, queue_bytes=16_384) as served:
        slow_socket = socket.socket()
        slow_socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        slow_socket.setblocking(False)
        address = ("127.0.0.1", int(served.url.rpartition(":")[2]))
        await asyncio.get_running_loop().sock_connect(slow_socket, address)
        async with connect(served.stream, sock=slow_socket, max_queue=1) as connection:
            client = Client(connection)
            await client.say(**BOOK)
            await client.until(lambda got: any(each["type"] == "snapshot" for each in got))
            (session,) = served.hub.sessions
            for depth in walk:
                served.hub.apply(depth, START)
                await asyncio.sleep(0)
            assert session.conflated
            await client.until(lambda got: book_of(got).equals(walk[-1]))
            book = book_of(client.messages)
            assert book.deltas < len(walk) - 1
            assert book.snapshots == 3, "one before the first Depth, one with it, one after the pause"
            assert not session.conflated
