"""CPU per delivery of the gateway's fan-out, against ``websockets.broadcast`` and one ``send_text`` per client.

``python -m tests.benchmarks.bench_gateway [--clients N] [--publications N]``

All run in this process on uvloop, one after the other; the clients are sockets of another process that read and
discard. What counts is this process's CPU time, divided by messages times clients. The gateway's figures include its
state, the book's delta and its encoding; the others send ready text of the same length.
"""

from __future__ import annotations

import argparse
import asyncio
import multiprocessing
import random
import selectors
import socket
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from itertools import pairwise
from multiprocessing.synchronize import Event

import uvicorn
import uvloop
from fastapi import FastAPI, WebSocket
from websockets.asyncio.server import ServerConnection, broadcast, serve

from alphapulse.config import GatewaySettings, Settings
from gateway import protocol
from gateway.app import create_app
from gateway.fanout import Hub
from gateway.feeds import changed_levels
from gateway.health.monitor import HealthMonitor, ReadingProgress
from gateway.rest.symbol_editor import SymbolEditor
from gateway.server import GatewayServer, listen
from gateway.state import MarketState
from gateway.tables import tables_of
from schemas.records import Depth
from tests.fixtures import market
from tests.fixtures.gateway import NOBODY, Events, open_gate

PAUSE = 0.002
"""Seconds between batches, so that the reading process keeps up; the loop sleeps meanwhile."""

Publish = Callable[[int], Awaitable[None]]
"""Publishes that many messages to all clients at once."""

HANDSHAKE = (
    "GET /ws/v1 HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
    "Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\r\n"
)
# Text frame, masked with zeros.
_SUBSCRIBE = b'{"op":"subscribe","id":1,"channel":"book","venue":"kraken","symbol":"BTC-USD"}'
SUBSCRIBE = bytes([0x81, 0x80 | len(_SUBSCRIBE)]) + bytes(4) + _SUBSCRIBE


def read_all(port: int, clients: int, stop: Event) -> None:
    """Be ``clients`` clients: connect, subscribe, discard what comes."""
    selector = selectors.DefaultSelector()
    sockets = [socket.create_connection(("127.0.0.1", port)) for _ in range(clients)]
    for each in sockets:
        each.sendall(HANDSHAKE.format(port=port).encode())
        answer = b""
        while b"\r\n\r\n" not in answer:
            answer += each.recv(4096)
        each.sendall(SUBSCRIBE)
        each.setblocking(False)
        selector.register(each, selectors.EVENT_READ)
    while not stop.is_set():
        for key, _ in selector.select(timeout=0.1):
            if not key.fileobj.recv(65536):  # type: ignore[union-attr]
                selector.unregister(key.fileobj)


def walk(count: int) -> list[Depth]:
    """Books of 20 levels a side of which about six change from one to the next."""
    chance = random.Random(1)
    bids = {6_168_500 - n: chance.randint(1, 10**9) for n in range(20)}
    asks = {6_168_510 + n: chance.randint(1, 10**9) for n in range(20)}
    found = []
    for sequence in range(1, count + 1):
        for side in (bids, asks):
            for price in chance.sample(sorted(side), 3):
                side[price] = chance.randint(1, 10**9)
        found.append(market.depth(sorted(bids.items(), reverse=True), sorted(asks.items()), sequence, size_exponent=-8))
    return found


def texts(depths: list[Depth]) -> list[str]:
    """The deltas of ``depths`` as the gateway would write them."""
    return [
        protocol.book_delta(
            after,
            before.sequence,
            changed_levels(before.bid_prices, before.bid_sizes, after.bid_prices, after.bid_sizes),
            changed_levels(before.ask_prices, before.ask_sizes, after.ask_prices, after.ask_sizes),
        )
        for before, after in pairwise(depths)
    ]


@asynccontextmanager
async def gateway(depths: list[Depth], clients: int) -> AsyncIterator[tuple[int, Publish, Callable[[], int]]]:
    state = MarketState({"kraken": ("BTC-USD",)}, max_book_age=market.MAX_BOOK_AGE)
    hub = Hub(state, queue_bytes=1_048_576, clock=lambda: market.START)
    hub.live = True
    settings = Settings(kafka=NOBODY, gateway=GatewaySettings(port=0, max_connections=clients))
    health = HealthMonitor(settings, "gateway", state, hub, lambda: ReadingProgress({}, {}))
    editor = SymbolEditor(None, Events().take, hub.clock)
    gate = open_gate(settings, hub.clock)
    app = create_app(settings, state, hub, health, tables_of(settings), editor, gate=gate)
    server = GatewayServer(app)
    records = iter(depths)

    async def publish(count: int) -> None:
        for _ in range(count):
            record = next(records)
            hub.apply(record, record.received_time)

    with listen(settings.gateway) as listening:
        task = asyncio.create_task(server.serve(sockets=[listening]))
        yield listening.getsockname()[1], publish, lambda: sum(each.subscriptions for each in hub.sessions)
        await server.stop(task)


@asynccontextmanager
async def websockets_broadcast(
    depths: list[Depth], clients: int
) -> AsyncIterator[tuple[int, Publish, Callable[[], int]]]:
    subscribed: set[ServerConnection] = set()

    async def handle(connection: ServerConnection) -> None:
        await connection.recv()
        subscribed.add(connection)
        await connection.wait_closed()

    messages = iter(texts(depths))

    async def publish(count: int) -> None:
        for _ in range(count):
            broadcast(subscribed, next(messages))

    async with serve(handle, "127.0.0.1", 0, compression=None) as server:
        yield next(iter(server.sockets)).getsockname()[1], publish, lambda: len(subscribed)


@asynccontextmanager
async def send_text_each(depths: list[Depth], clients: int) -> AsyncIterator[tuple[int, Publish, Callable[[], int]]]:
    subscribed: list[WebSocket] = []
    app = FastAPI()

    @app.websocket("/ws/v1")
    async def stream(websocket: WebSocket) -> None:
        await websocket.accept()
        await websocket.receive_text()
        subscribed.append(websocket)
        await websocket.receive()  # the end

    messages = iter(texts(depths))

    async def publish(count: int) -> None:
        for _ in range(count):
            text = next(messages)
            for websocket in subscribed:
                await websocket.send_text(text)

    config = uvicorn.Config(app, ws="websockets-sansio", ws_per_message_deflate=False, lifespan="off", log_config=None)
    server = uvicorn.Server(config)
    with listen(GatewaySettings(port=0)) as listening:
        task = asyncio.create_task(server.serve(sockets=[listening]))
        yield listening.getsockname()[1], publish, lambda: len(subscribed)
        server.should_exit = True
        await task


Contender = Callable[[list[Depth], int], AbstractAsyncContextManager[tuple[int, Publish, Callable[[], int]]]]
"""Books and number of clients → (port, publish, number of clients that have subscribed)."""


async def measure(contender: Contender, clients: int, publications: int, batch: int) -> float:
    """Return CPU seconds of this process per message and client."""
    depths = walk(publications + 2)
    spawn = multiprocessing.get_context("spawn")
    stop = spawn.Event()
    async with contender(depths, clients) as (port, publish, subscribed):
        reader = spawn.Process(target=read_all, args=(port, clients, stop), daemon=True)
        reader.start()
        try:
            async with asyncio.timeout(60):
                while subscribed() < clients:
                    await asyncio.sleep(0.01)
            await publish(1)
            await asyncio.sleep(0.2)
            before = time.process_time()
            for _ in range(publications // batch):
                await publish(batch)
                await asyncio.sleep(PAUSE * batch)
            spent = time.process_time() - before
        finally:
            stop.set()
            await asyncio.to_thread(reader.join)
    return spent / (publications // batch * batch * clients)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--clients", type=int, default=200)
    parser.add_argument("--publications", type=int, default=800)
    options = parser.parse_args()
    contenders: list[tuple[str, Contender, int]] = [
        ("websockets.broadcast", websockets_broadcast, 1),
        ("uvicorn, send_text per client", send_text_each, 1),
        ("gateway, one message a tick", gateway, 1),
        ("gateway, 8 messages a tick", gateway, 8),
    ]
    baseline: float | None = None
    size = len(texts(walk(2))[0])
    sys.stdout.write(f"{options.clients} clients, {options.publications} messages of about {size} bytes\n")
    for name, contender, batch in contenders:
        cost = uvloop.run(measure(contender, options.clients, options.publications, batch))
        baseline = baseline if baseline is not None else cost
        sys.stdout.write(f"{name:32} {cost * 1e6:6.2f} us CPU a delivery, {cost / baseline:5.2f} of the baseline\n")
        sys.stdout.flush()
    return 0


if __name__ == "__main__":
    sys.exit(main())
