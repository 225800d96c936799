from __future__ import annotations

import asyncio
import contextlib
import json
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from starlette.types import Receive, Scope, Send
from websockets.asyncio.client import connect

from alphapulse.config import GatewaySettings
from gateway import http_protocol
from gateway.server import GatewayServer, listen
from tests.fixtures.gateway import serving

BOUND = 30.0
"""Seconds after which waiting is a failure."""
LARGE = 4_000_000
"""Bytes of the answer to /large: more than the kernel's buffers hold."""


class Application:
    """Reads the body, answers; counts what has ended."""

    def __init__(self) -> None:
        self.ended = asyncio.Event()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            while (await receive()).get("more_body"):
                continue
            await send({"type": "http.response.start", "status": 200, "headers": []})
            for _ in range(LARGE // 50_000 if scope["path"] == "/large" else 1):
                await send({"type": "http.response.body", "body": (b"x" * 99 + b"\n") * 500, "more_body": True})
            await send({"type": "http.response.body", "body": b"", "more_body": False})
        finally:
            self.ended.set()


@asynccontextmanager
async def connected(application: Application) -> AsyncIterator[tuple[asyncio.StreamReader, asyncio.StreamWriter]]:
    with listen(GatewaySettings(port=0)) as listening:
        server = GatewayServer(application)
        serving = asyncio.create_task(server.serve(sockets=[listening]))
        sock = socket.create_connection(listening.getsockname())
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        reader, writer = await asyncio.open_connection(sock=sock, limit=4096)
        try:
            yield reader, writer
        finally:
            writer.close()
            with contextlib.suppress(ConnectionError):
                await writer.wait_closed()
            await server.stop(serving)


@pytest.mark.parametrize(
    "begun",
    [
        b"",
        b"GET / HT",
        b"GET / HTTP/1.1\r\nHost: x\r\n",
        b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 9\r\n\r\n12345",
    ],
    ids=["nothing", "half a line", "half a head", "half a body"],
)
async def test_a_request_that_does_not_come_to_its_end(monkeypatch: pytest.MonkeyPatch, begun: bytes) -> None:
    monkeypatch.setattr(http_protocol, "REQUEST_SECONDS", 0.05)
    async with connected(Application()) as (reader, writer):
        writer.write(begun)
        assert await asyncio.wait_for(reader.read(), BOUND) == b""


async def test_requests_in_parts_on_one_connection() -> None:
    async with connected(Application()) as (reader, writer):
        for _ in range(3):
            for part in (b"POST / HTTP/1.1\r\n", b"Host: x\r\nContent-Length: 2\r\n", b"\r\n1", b"2"):
                writer.write(part)
                await writer.drain()
            assert await asyncio.wait_for(reader.readline(), BOUND) == b"HTTP/1.1 200 OK\r\n"
            while await asyncio.wait_for(reader.readline(), BOUND) != b"0\r\n":
                continue
            assert await asyncio.wait_for(reader.readline(), BOUND) == b"\r\n"


async def test_a_client_that_does_not_read_its_answer(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(http_protocol, "READ_SECONDS", 0.05)
    application = Application()
    async with connected(application) as (_, writer):
        writer.write(b"GET /large HTTP/1.1\r\nHost: x\r\n\r\n")
        await asyncio.wait_for(application.ended.wait(), BOUND)


async def test_what_is_not_http_is_a_problem() -> None:
    async with connected(Application()) as (reader, writer):
        writer.write(b"GET / HTTP/1.1\r\n\r\n")  # no Host
        head, _, body = (await asyncio.wait_for(reader.read(), BOUND)).partition(b"\r\n\r\n")
        assert head.startswith(b"HTTP/1.1 400 ")
        assert b"application/problem+json" in head
        assert json.loads(body)["code"] == "bad_request"


async def test_another_protocol_is_not_needed(caplog: pytest.LogCaptureFixture) -> None:
    async with connected(Application()) as (reader, writer):
        writer.write(b"GET / HTTP/1.1\r\nHost: x\r\nConnection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\n\r\n")
        assert await asyncio.wait_for(reader.readline(), BOUND) == b"HTTP/1.1 200 OK\r\n"
    assert not caplog.records


async def test_a_stream_has_no_such_deadlines(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(http_protocol, "REQUEST_SECONDS", 0.05)
    async with serving(tmp_path) as served, connect(served.stream) as client:
        await asyncio.sleep(0.2)
        await asyncio.wait_for(await client.ping(), BOUND)


async def test_the_head_of_a_request_is_bounded() -> None:
    async with connected(Application()) as (reader, writer):
        writer.write(b"GET / HTTP/1.1\r\nHost: x\r\nX: " + b"x" * 200_000)
        assert b" 400 " in await asyncio.wait_for(reader.readline(), BOUND)
