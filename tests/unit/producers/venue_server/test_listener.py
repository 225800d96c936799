"""producers.venue_server.listener, with real clients."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager

import aiohttp
import pytest
from aiohttp import web
from websockets.asyncio.client import connect

from producers.venue_server.listener import ClientConnection, ConnectionGone, Listener, json_response, not_found
from producers.venue_server.session import SessionAnswer, VenueSession
from producers.venues.kraken.server import KrakenSession


class Echo:
    """A host that answers as its sessions do and notes what happens."""

    def __init__(self) -> None:
        self.connections: list[ClientConnection] = []
        self.gone = asyncio.Event()
        self.cancelled = asyncio.Event()
        self.asked = asyncio.Event()
        self.answers_pings = True

    def pongs(self) -> bool:
        return self.answers_pings

    def session(self) -> VenueSession:
        return KrakenSession(["BTC/USD"])

    def connected(self, connection: ClientConnection) -> None:
        self.connections.append(connection)

    async def answered(self, connection: ClientConnection, answer: SessionAnswer) -> None:
        for reply in answer.replies:
            await connection.send(reply)

    def disconnected(self, connection: ClientConnection) -> None:
        self.gone.set()

    async def rest(self, path: str, query: Mapping[str, str]) -> web.Response:
        if path != "/slow":
            return not_found()
        self.asked.set()
        try:
            await asyncio.sleep(60)
        except asyncio.CancelledError:
            self.cancelled.set()
            raise
        return json_response(b"{}")


@asynccontextmanager
async def listening(host: Echo, *, ping_seconds: float | None = None, strict: bool = False) -> AsyncIterator[str]:
    listener = Listener(host, ping_seconds=ping_seconds, strict=strict)
    port = await listener.open("127.0.0.1", 0)
    try:
        yield f"127.0.0.1:{port}"
    finally:
        await listener.close()


async def test_messages_and_requests_go_to_the_host() -> None:
    host = Echo()
    async with listening(host) as address:
        async with connect(f"ws://{address}/v2") as client:
            assert "status" in str(await client.recv())
            await client.send('{"method":"ping","req_id":1}')
            assert "pong" in str(await client.recv())
            await client.send(b'{"method":"ping","req_id":2}')
            assert "pong" in str(await client.recv())
            await asyncio.wait_for(await client.ping(), 10)
        await asyncio.wait_for(host.gone.wait(), 10)
        async with aiohttp.ClientSession() as http, http.get(f"http://{address}/nothing") as answer:
            assert answer.status == 404


async def test_bytes_that_are_no_text_go_out_as_binary() -> None:
    host = Echo()
    async with listening(host) as address, connect(f"ws://{address}/") as client:
        await client.recv()
        for frame in (b"ascii", "ümlaut".encode(), b"\xff\x00"):
            await host.connections[0].send(frame)
        assert [await client.recv() for _ in range(3)] == ["ascii", "ümlaut", b"\xff\x00"]


async def test_frames_of_every_length_go_out_in_one_write_as_one_by_one() -> None:
    host = Echo()
    frames = [b"x" * length for length in (0, 1, 125, 126, 65_535, 65_536, 70_000)]
    mixed = [b"ascii", "ümlaut".encode(), b"\xff\x00", b"{}"]
    async with listening(host) as address, connect(f"ws://{address}/", max_size=None) as client:
        await client.recv()
        for batch in (frames, frames[:1], [], mixed):
            await host.connections[0].send_all(batch)
        assert [await client.recv(decode=False) for _ in range(len(frames) + 1)] == [*frames, b""]
        assert [await client.recv() for _ in mixed] == ["ascii", "ümlaut", b"\xff\x00", "{}"]


async def test_a_client_that_does_not_read_holds_the_sender_up() -> None:
    host = Echo()
    frames = [b"x" * 1000] * 1000
    async with listening(host) as address:
        reader, writer = await asyncio.open_connection(*address.split(":"), limit=1000)
        writer.write(
            b"GET / HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
            b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\r\n"
        )
        await reader.readuntil(b"\r\n\r\n")

        async def send() -> None:
            for _ in range(30):
                await host.connections[0].send_all(frames)

        sending = asyncio.create_task(send())
        # 30 MB are more than the sockets of both ends take.
        assert not (await asyncio.wait({sending}, timeout=0.5))[0]
        received = 0
        async with asyncio.timeout(30):
            while not sending.done():
                received += len(await reader.read(1 << 20))
        await sending
        assert received > 0
        writer.close()


async def test_sending_to_a_client_that_left_says_so() -> None:
    host = Echo()
    async with listening(host) as address:
        async with connect(f"ws://{address}/") as client:
            await client.recv()
        await asyncio.wait_for(host.gone.wait(), 10)
        with pytest.raises(ConnectionGone):
            await host.connections[0].send(b"x")
        with pytest.raises(ConnectionGone):
            await host.connections[0].send_all([b"x", b"y"])


@pytest.mark.parametrize("strict", [True, False])
async def test_clients_are_pinged(strict: bool) -> None:
    host = Echo()
    async with (
        listening(host, ping_seconds=0.05, strict=strict) as address,
        aiohttp.ClientSession() as http,
        http.ws_connect(f"ws://{address}/", autoping=False) as client,
    ):
        kinds = [(await client.receive(timeout=10)).type for _ in range(2)]
        assert aiohttp.WSMsgType.PING in kinds
        if strict:  # no pong comes
            await asyncio.wait_for(host.gone.wait(), 10)


async def test_a_host_may_leave_pings_unanswered() -> None:
    host = Echo()
    async with listening(host) as address, connect(f"ws://{address}/v2", ping_interval=None) as client:
        await client.recv()
        host.answers_pings = False
        unanswered = asyncio.ensure_future(await client.ping())
        await client.send('{"method":"ping","req_id":1}')
        assert "pong" in str(await client.recv())  # which came behind it
        assert not unanswered.done()
        host.answers_pings = True
        await asyncio.wait_for(await client.ping(), 10)


async def test_a_request_whose_client_leaves_is_cancelled() -> None:
    host = Echo()
    async with listening(host) as address, aiohttp.ClientSession() as http:
        request = asyncio.create_task(http.get(f"http://{address}/slow"))
        await asyncio.wait_for(host.asked.wait(), 10)
        request.cancel()
        await asyncio.wait_for(host.cancelled.wait(), 10)


async def test_closing_says_going_away() -> None:
    host = Echo()
    async with listening(host) as address:
        client = await connect(f"ws://{address}/")
        await client.recv()
    await asyncio.wait_for(client.wait_closed(), 10)
    assert client.close_code == 1001
