"""A gateway on loopback whose answers are the test's: for the client's I/O."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any, cast

import msgspec
from websockets.asyncio.server import Server, ServerConnection, serve
from websockets.typing import Subprotocol

KRAKEN = {"venue": "kraken", "symbol": "BTC-USD"}
HELLO = {"type": "hello", "version": 2, "gateway": "g", "time": 1, "heartbeat_ms": 60_000, "max_book_age_ms": 60_000}


class Peer:
    """The gateway's end of one connection.

    Attributes:
        number: of the connection, from 1 on.
    """

    def __init__(self, connection: ServerConnection, number: int) -> None:
        self.connection = connection
        self.number = number
        self._binary = connection.subprotocol == "alphapulse.v2.msgpack"

    async def say(self, **fields: Any) -> None:
        data = msgspec.msgpack.encode(fields) if self._binary else msgspec.json.encode(fields).decode()
        await self.connection.send(data)

    async def hello(self, access: str = "open", **changes: Any) -> None:
        await self.say(**HELLO | {"access": access} | changes)

    async def heard(self) -> dict[str, Any]:
        """Return the client's next operation but pings."""
        while True:
            data = await self.connection.recv()
            fields = msgspec.msgpack.decode(data) if isinstance(data, bytes) else msgspec.json.decode(data)
            if fields["op"] != "ping":
                return cast("dict[str, Any]", fields)

    async def accept(self, recovered: bool | None = None) -> dict[str, Any]:
        """Take a subscription and confirm it for kraken's BTC-USD."""
        asked = await self.heard()
        assert asked["op"] == "subscribe"
        feeds = [KRAKEN | {"recovered": recovered}]
        await self.say(type="subscribed", id=asked["id"], channel=asked["channel"], feeds=feeds)
        return asked

    async def trades(self, *numbers: int) -> None:
        trades = [{"id": str(n), "side": "buy", "price": "1.5", "size": "2", "time": n} for n in numbers]
        await self.say(type="trades", channel="trades", trades=trades, **KRAKEN)


Script = Callable[[Peer], Awaitable[None]]


class ScriptedGateway:
    """Runs ``script`` for each connection; ``failures`` are what scripts raised.

    Attributes:
        url: of the stream.
        connections: how many there were.
    """

    def __init__(self, script: Script) -> None:
        self._script = script
        self.connections = 0
        self.url = ""

    async def handle(self, connection: ServerConnection) -> None:
        self.connections += 1
        await self._script(Peer(connection, self.connections))


@asynccontextmanager
async def scripted(script: Script, **options: Any) -> AsyncIterator[ScriptedGateway]:
    """Serve ``script`` until the end of the block."""
    gateway = ScriptedGateway(script)
    protocols = [Subprotocol("alphapulse.v2.json"), Subprotocol("alphapulse.v2.msgpack")]
    server: Server = await serve(
        gateway.handle, "127.0.0.1", 0, subprotocols=protocols, ping_interval=None, compression=None, **options
    )
    gateway.url = f"ws://127.0.0.1:{next(iter(server.sockets)).getsockname()[1]}/ws/v2"
    try:
        yield gateway
    finally:
        server.close()
        await server.wait_closed()


async def forever(peer: Peer) -> None:
    """Keep the connection until the client leaves."""
    await peer.connection.wait_closed()


async def at_last(condition: Callable[[], object]) -> None:
    """Wait until ``condition`` holds."""
    async with asyncio.timeout(30):
        while not condition():
            await asyncio.sleep(0.01)
