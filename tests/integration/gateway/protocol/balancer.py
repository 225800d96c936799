"""A TCP balancer with small buffers: the connections of clients go to gateways in turn, and can be cut."""

from __future__ import annotations

import asyncio
import contextlib
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

CHUNK = 4096
BUFFER = 16_384
"""Bytes, of each socket: a client that does not read is felt by the gateway soon."""


class Balancer:
    """Forwards each connection to the next of ``targets`` (ports) that answers.

    Attributes:
        port: where clients connect.
        connections: how many there were.
    """

    def __init__(self, *targets: int) -> None:
        self.targets = list(targets)
        self.port = 0
        self.connections = 0
        self._writers: set[asyncio.StreamWriter] = set()

    @property
    def url(self) -> str:
        return f"ws://127.0.0.1:{self.port}/ws/v2"

    def cut(self) -> None:
        """Cut all connections at once, as a network does."""
        for writer in self._writers:
            writer.transport.abort()

    async def handle(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        writer.transport.set_write_buffer_limits(CHUNK)
        self._writers.add(writer)
        try:
            for _ in self.targets:
                self.targets.append(self.targets.pop(0))
                with contextlib.suppress(OSError):
                    await self._forward(reader, writer, self.targets[-1])
                    break
        finally:
            self._writers.discard(writer)
            writer.transport.abort()

    async def _forward(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, port: int) -> None:
        upstream = socket.socket()
        upstream.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, BUFFER)
        upstream.setblocking(False)
        try:
            await asyncio.get_running_loop().sock_connect(upstream, ("127.0.0.1", port))
            from_gateway, to_gateway = await asyncio.open_connection(sock=upstream, limit=CHUNK)
        except OSError:
            upstream.close()
            raise
        self._writers.add(to_gateway)
        try:
            ways = [
                asyncio.create_task(self._pump(reader, to_gateway)),
                asyncio.create_task(self._pump(from_gateway, writer)),
            ]
            await asyncio.wait(ways, return_when=asyncio.FIRST_COMPLETED)
            for way in ways:
                way.cancel()
            await asyncio.gather(*ways, return_exceptions=True)
        finally:
            self._writers.discard(to_gateway)
            to_gateway.transport.abort()

    @staticmethod
    async def _pump(source: asyncio.StreamReader, target: asyncio.StreamWriter) -> None:
        with contextlib.suppress(ConnectionError):
            while data := await source.read(CHUNK):
                target.write(data)
                await target.drain()


@asynccontextmanager
async def balancing(*targets: int) -> AsyncIterator[Balancer]:
    """Run a balancer on any free port until the end of the block."""
    balancer = Balancer(*targets)
    listening = socket.create_server(("127.0.0.1", 0))
    listening.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, BUFFER)
    server = await asyncio.start_server(balancer.handle, sock=listening, limit=CHUNK)
    balancer.port = listening.getsockname()[1]
    try:
        yield balancer
    finally:
        balancer.cut()
        server.close()
        await server.wait_closed()
