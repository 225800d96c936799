"""Centrifugo, a peer of the gateway's stream: its server process, its clients' messages, a publisher.

The program is not part of the project: build it in an empty Go module with
``go get -tool github.com/centrifugal/centrifugo/v6@v6.9.1`` and
``CGO_ENABLED=0 go build github.com/centrifugal/centrifugo/v6``.
"""

from __future__ import annotations

import asyncio
import json
import socket
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from pathlib import Path

from websockets.asyncio.client import ClientConnection, connect

from tests.load.clients import Target

PATH = "/connection/websocket"
PING = b"{}"
START_SECONDS = 20.0


def free_port() -> int:
    """Return a port that was free a moment ago."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def messages(channels: Iterable[str]) -> list[str]:
    """Return what a client sends: connect, then a subscription to each channel."""
    commands = [{"id": 1, "connect": {}}]
    commands += [{"id": number, "subscribe": {"channel": channel}} for number, channel in enumerate(channels, 2)]
    return ["\n".join(map(json.dumps, commands))]


class Publisher:
    """A client that publishes."""

    def __init__(self, connection: ClientConnection) -> None:
        self._connection = connection
        self._number = 1

    async def publish(self, publications: Iterable[tuple[str, str]]) -> None:
        """Publish (channel, JSON text) in one message."""
        lines = []
        for channel, text in publications:
            self._number += 1
            lines.append(f'{{"id":{self._number},"publish":{{"channel":"{channel}","data":{text}}}}}')
        await self._connection.send("\n".join(lines))

    async def answer(self) -> None:
        """Read answers, and answer pings, until cancelled."""
        async for text in self._connection:
            for line in str(text).splitlines():
                fields = json.loads(line)
                if not fields:
                    await self._connection.send(PING.decode("ascii"))
                elif "error" in fields:
                    raise RuntimeError(f"centrifugo refuses: {line}")


@asynccontextmanager
async def running(program: Path, folder: Path) -> AsyncIterator[tuple[int, Target, Publisher]]:
    """Run the server; give its process id, where its clients connect, and a publisher."""
    port = free_port()
    options = {"allow_subscribe_for_client": True, "allow_publish_for_client": True}
    configuration = {
        "client": {"insecure": True, "allowed_origins": ["*"]},
        "channel": {"without_namespace": options},
        "http_server": {"address": "127.0.0.1", "port": str(port)},
        "log": {"level": "error"},
    }
    path = folder / "centrifugo.json"
    path.write_text(json.dumps(configuration), encoding="utf-8")
    process = await asyncio.create_subprocess_exec(str(program), "--config", str(path))
    try:
        async with asyncio.timeout(START_SECONDS):
            while True:
                try:
                    connection = await connect(f"ws://127.0.0.1:{port}{PATH}", compression=None, max_size=None)
                    break
                except OSError:
                    await asyncio.sleep(0.05)
        async with connection:
            await connection.send(json.dumps({"id": 1, "connect": {}}))
            publisher = Publisher(connection)
            answering = asyncio.create_task(publisher.answer())
            try:
                yield process.pid, Target("127.0.0.1", port, PATH, pings=PING), publisher
            finally:
                answering.cancel()
                await asyncio.gather(answering, return_exceptions=True)
    finally:
        process.kill()
        await process.wait()
