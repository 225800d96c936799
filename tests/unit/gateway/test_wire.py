from __future__ import annotations

import asyncio
import contextlib
import socket
from pathlib import Path

import pytest
from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosed

from gateway import wire
from gateway.close_codes import NO_PONG
from gateway.fanout import Hub
from gateway.session import Session
from gateway.wire import StreamProtocol, text_frame
from tests.fixtures.gateway import serving
from tests.fixtures.stream import text_of


@pytest.mark.parametrize("text", ["", "{}", *("x" * size for size in (125, 126, 65_535, 65_536, 70_000)), "€"])
def test_a_frame_holds_its_text(text: str) -> None:
    assert text_of(text_frame(text)) == text


def protocol_of(hub: Hub) -> StreamProtocol:
    (session,) = hub.sessions
    assert isinstance(session, Session)
    assert isinstance(session._wire, StreamProtocol)
    return session._wire


async def test_a_client_that_answers_no_ping_is_closed(tmp_path: Path) -> None:
    async with serving(tmp_path) as served, connect(served.stream) as client:
        await client.recv()
        protocol = protocol_of(served.hub)
        protocol.keepalive_timeout()
        protocol.keepalive_timeout()
        with pytest.raises(ConnectionClosed) as closed:
            await asyncio.wait_for(client.recv(), 10)
        assert closed.value.rcvd is not None
        assert closed.value.rcvd.code == NO_PONG.number


async def test_a_client_that_never_finishes_the_handshake_is_cut_off(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(wire, "CLOSE_SECONDS", 0.05)
    async with serving(tmp_path) as served:
        port = int(served.url.rpartition(":")[2])
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(
            b"GET /ws/v1 HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
            b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\r\n"
        )
        await reader.readuntil(b"hello")
        protocol = protocol_of(served.hub)
        protocol.close(NO_PONG)
        assert not protocol.can_write
        with contextlib.suppress(ConnectionResetError):
            # The timeout is the failure: an orderly server would wait for the answer that never comes.
            while await asyncio.wait_for(reader.read(1000), 10):
                continue
        writer.close()
        with contextlib.suppress(ConnectionError):
            await writer.wait_closed()


async def test_writing_stops_at_the_mark_and_goes_on_when_the_client_reads(tmp_path: Path) -> None:
    async with serving(tmp_path) as served:
        sock = socket.socket()
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        sock.setblocking(False)
        await asyncio.get_running_loop().sock_connect(sock, ("127.0.0.1", int(served.url.rpartition(":")[2])))
        async with connect(served.stream, sock=sock, max_queue=1, max_size=None) as client:
            await client.recv()
            protocol = protocol_of(served.hub)
            drained = asyncio.Event()
            protocol.drained = drained.set
            frame = text_frame("x" * 60_000)
            written = 0
            while protocol.can_write:
                protocol.write(frame)
                written += 1
                assert written < 10_000
            assert not drained.is_set()
            for _ in range(written):
                await asyncio.wait_for(client.recv(), 10)
            await asyncio.wait_for(drained.wait(), 10)
            assert protocol.can_write
