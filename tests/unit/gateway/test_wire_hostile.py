"""Clients that break the WebSocket protocol, or keep to it and mean no good: raw bytes on a socket."""

from __future__ import annotations

import asyncio
import contextlib
import json
import socket
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from websockets.frames import Frame, Opcode

from gateway import wire
from gateway.session import Session
from gateway.wire import WRITE_BUFFER, StreamProtocol, text_frame
from tests.fixtures.gateway import Served, serving

BOUND = 30.0
"""Seconds after which waiting is a failure."""
HANDSHAKE = (
    "GET /ws/v1 HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
    "Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n"
)


class Raw:
    """A connection that reads only what it is told to.

    Attributes:
        received: what came so far.
    """

    def __init__(self, sock: socket.socket) -> None:
        self._sock = sock
        self.received = b""

    async def send(self, *frames: Frame) -> None:
        data = b"".join(frame.serialize(mask=True) for frame in frames)
        await asyncio.wait_for(asyncio.get_running_loop().sock_sendall(self._sock, data), BOUND)

    async def send_bytes(self, data: bytes) -> None:
        await asyncio.wait_for(asyncio.get_running_loop().sock_sendall(self._sock, data), BOUND)

    async def until(self, text: bytes) -> None:
        """Read until ``text`` was received."""
        while text not in self.received:
            part = await asyncio.wait_for(asyncio.get_running_loop().sock_recv(self._sock, 65_536), BOUND)
            assert part, f"closed after {self.received[-200:]!r}"
            self.received += part

    async def to_the_end(self) -> bytes:
        """Read until the server closes; return everything."""
        with contextlib.suppress(ConnectionResetError):
            while part := await asyncio.wait_for(asyncio.get_running_loop().sock_recv(self._sock, 65_536), BOUND):
                self.received += part
        return self.received


@asynccontextmanager
async def connected(served: Served) -> AsyncIterator[Raw]:
    """Connect to ``served`` with a small receive buffer."""
    with socket.socket() as sock:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        sock.setblocking(False)
        await asyncio.get_running_loop().sock_connect(sock, ("127.0.0.1", int(served.url.rpartition(":")[2])))
        yield Raw(sock)


@asynccontextmanager
async def greeted(served: Served) -> AsyncIterator[tuple[Raw, StreamProtocol]]:
    """Connect, and shake hands."""
    async with connected(served) as client:
        await client.send_bytes(f"{HANDSHAKE}\r\n".encode())
        await client.until(b'"hello"')
        (session,) = served.hub.sessions
        assert isinstance(session, Session)
        assert isinstance(session._wire, StreamProtocol)
        yield client, session._wire


def fragments(kind: Opcode, *parts: bytes) -> Sequence[Frame]:
    """Return a message in fragments."""
    kinds = [kind] + [Opcode.CONT] * (len(parts) - 1)
    return [Frame(kind, part, fin=n == len(parts) - 1) for n, (kind, part) in enumerate(zip(kinds, parts, strict=True))]


PING = json.dumps({"op": "ping", "id": "é"}, ensure_ascii=False).encode()


async def test_a_message_in_fragments_with_control_frames_between(tmp_path: Path) -> None:
    async with serving(tmp_path) as served, greeted(served) as (client, _):
        first, *others, last = fragments(Opcode.TEXT, *(PING[at : at + 1] for at in range(len(PING))))
        await client.send(first, Frame(Opcode.PING, b"between"), *others, Frame(Opcode.PONG, b"unasked"), last)
        await client.until(b'"pong"')
        assert Frame(Opcode.PONG, b"between").serialize(mask=False) in client.received


async def test_empty_fragments_are_not_kept(tmp_path: Path) -> None:
    async with serving(tmp_path) as served, greeted(served) as (client, protocol):
        await client.send(Frame(Opcode.TEXT, PING, fin=False), *[Frame(Opcode.CONT, b"", fin=False)] * 10_000)
        await client.send(Frame(Opcode.PING, b"here"))
        await client.until(b"here")
        assert len(protocol.frames) == 1
        await client.send(Frame(Opcode.CONT, b""))
        await client.until(b'"pong"')


@pytest.mark.parametrize("closing", [False, True])
async def test_text_that_is_not_utf_8_is_1007_and_no_fault_of_ours(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, closing: bool
) -> None:
    async with serving(tmp_path) as served, greeted(served) as (client, _):
        end = [Frame(Opcode.CLOSE, (1000).to_bytes(2, "big"))] if closing else []
        await client.send(*fragments(Opcode.TEXT, b"\xf0\x9f", b"\x98"), *end)
        code = 1000 if closing else 1007
        assert code.to_bytes(2, "big") in (await client.to_the_end())[-40:]
    assert not [record for record in caplog.records if record.exc_info]


@pytest.mark.parametrize(
    ("data", "code"),
    [
        (Frame(Opcode.TEXT, PING).serialize(mask=False), 1002),
        (b"\xc1\x80\0\0\0\0", 1002),
        (b"\x80\x80\0\0\0\0", 1002),
        (b"\x83\x80\0\0\0\0", 1002),
        (b"\x81\xff\xff\xff\xff\xff\xff\xff\xff\xff\0\0\0\0", 1009),
        (b"\x89\xfe\x00\x7e\0\0\0\0" + b"x" * 126, 1002),
        (b"\x88\x81\0\0\0\0\x03", 1002),
    ],
    ids=["unmasked", "reserved bit", "continuation of nothing", "opcode 3", "2^64 bytes", "long ping", "half a code"],
)
async def test_frames_against_the_protocol_end_the_connection(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, data: bytes, code: int
) -> None:
    async with serving(tmp_path) as served, greeted(served) as (client, _):
        await client.send_bytes(data)
        assert code.to_bytes(2, "big") in (await client.to_the_end()).rpartition(b"\x88")[2]
    assert not [record for record in caplog.records if record.exc_info]


async def test_a_client_that_pings_and_reads_nothing_is_not_remembered(tmp_path: Path) -> None:
    async with serving(tmp_path) as served, greeted(served) as (client, protocol):
        for number in range(200):
            await client.send(
                *(Frame(Opcode.PING, f"{number:03}-{each:03}".ljust(125).encode()) for each in range(100))
            )
        await client.send(Frame(Opcode.TEXT, PING))
        async with asyncio.timeout(BOUND):
            while protocol.can_write or not served.hub.sessions:
                await asyncio.sleep(0.01)
        # The mark, and the pongs of the last bytes that were read at once.
        assert protocol.transport.get_write_buffer_size() < WRITE_BUFFER + 512 * 1024
        await client.until(b'"pong"')
        await client.until(b"199-099")
        assert client.received.count(b"-0") < 200 * 100


async def test_a_client_that_closes_and_does_not_read_the_rest_is_cut_off(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(wire, "CLOSE_SECONDS", 0.05)
    async with serving(tmp_path) as served, greeted(served) as (client, protocol):
        while protocol.can_write:
            protocol.write(text_frame("x" * 60_000))
        await client.send(Frame(Opcode.CLOSE, (1000).to_bytes(2, "big")))
        async with asyncio.timeout(BOUND):
            while not protocol.disconnected:
                await asyncio.sleep(0.01)


@pytest.mark.parametrize("headers", [f"Cookie: {'x' * 9000}\r\n", "X-Header: 1\r\n" * 200], ids=["long", "many"])
async def test_a_handshake_with_too_much_in_its_header_is_answered(tmp_path: Path, headers: str) -> None:
    async with serving(tmp_path) as served, connected(served) as client:
        await client.send_bytes(f"{HANDSHAKE}{headers}\r\n".encode())
        assert (await client.to_the_end()).startswith(b"HTTP/1.1 431 ")
