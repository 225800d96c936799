"""The stream's endpoint over a real connection on loopback: who gets in, and how it ends."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any

import pytest
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed, InvalidStatus

from gateway.close_codes import CONNECTION_LIMIT, MISUSE, RESTART
from gateway.delivery import MAX_REFUSED
from tests.fixtures import market
from tests.fixtures.gateway import serving
from tests.fixtures.market import START
from tests.fixtures.stream import messages_of

BOOK = {"op": "subscribe", "id": 1, "channel": "book", "venue": "kraken", "symbol": "BTC-USD"}


async def receive(client: ClientConnection) -> list[dict[str, Any]]:
    text = await asyncio.wait_for(client.recv(), 10)
    assert isinstance(text, str)
    return messages_of(text)


async def closing_code(client: ClientConnection) -> int | None:
    """Read until the server closes; return its code, None if it just cut the connection."""
    try:
        while True:
            await asyncio.wait_for(client.recv(), 10)
    except ConnectionClosed as closed:
        return closed.rcvd.code if closed.rcvd is not None else None


async def test_a_client_is_greeted_subscribes_and_follows(tmp_path: Path) -> None:
    async with serving(tmp_path) as served, connect(served.stream, compression="deflate") as client:
        assert (await receive(client))[0]["type"] == "hello"
        assert client.response is not None
        assert "Sec-WebSocket-Extensions" not in client.response.headers, "nothing is compressed per connection"
        await client.send(json.dumps(BOOK))
        assert [message["type"] for message in await receive(client)] == ["subscribed", "snapshot"]
        served.hub.apply(market.depth(), START)
        served.hub.apply(market.depth(bids=[(99, 1)], sequence=2), START)
        assert [message["type"] for message in await receive(client)] == ["snapshot", "delta"]
        await client.send(b"\x00")
        assert (await receive(client))[0]["code"] == "not_text"
        assert len(served.hub.sessions) == 1
    assert not served.hub.sessions


async def test_a_gone_client_leaves_its_feeds(tmp_path: Path) -> None:
    async with serving(tmp_path) as served:
        async with connect(served.stream) as client:
            await client.send(json.dumps(BOOK))
            while (await receive(client))[-1]["type"] != "snapshot":
                pass
            client.transport.abort()
        await served.hub.emptied(10)
        assert not served.hub.sessions
        served.hub.apply(market.depth(), START)


async def test_pages_of_other_hosts_are_refused_with_a_reason(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    async with serving(tmp_path, allowed_origins=("https://desk.example",)) as served:
        with pytest.raises(InvalidStatus) as refused:
            await connect(served.stream, origin="http://evil.example").__aenter__()  # type: ignore[arg-type]
        assert refused.value.response.status_code == 403
        text = refused.value.response.body.decode()
        assert "http://evil.example" in text
        assert "gateway.allowed_origins" in text
        for origin in (served.url, "https://desk.example"):
            async with connect(served.stream, origin=origin) as client:  # type: ignore[arg-type]
                assert (await receive(client))[0]["type"] == "hello"
    assert [record.getMessage() for record in caplog.records if record.levelname == "ERROR"] == []


async def test_while_it_catches_up_no_client_gets_in(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    async with serving(tmp_path, live=False) as served:
        served.hub.apply(market.depth(), START)
        with pytest.raises(InvalidStatus) as refused:
            await connect(served.stream).__aenter__()
        response = refused.value.response
        assert (response.status_code, response.headers["Retry-After"]) == (503, "1")
        assert json.loads(response.body)["code"] == "catching_up"
        assert not served.hub.sessions
        served.hub.live = True
        async with connect(served.stream) as client:
            await client.send(json.dumps(BOOK))
            messages = await receive(client)
            while messages[-1]["type"] != "snapshot":
                messages += await receive(client)
            assert messages[-1]["sequence"] == 1
    assert [record.getMessage() for record in caplog.records if record.levelname == "ERROR"] == []


async def test_connections_are_bounded(tmp_path: Path) -> None:
    async with serving(tmp_path, max_connections=1) as served, connect(served.stream) as first:
        await receive(first)
        async with connect(served.stream) as second:
            assert await closing_code(second) == CONNECTION_LIMIT.number
        assert len(served.hub.sessions) == 1
        await first.send('{"op":"ping","id":5}')
        assert (await receive(first))[0] == {"type": "pong", "id": 5, "time": START // 1000}


async def test_at_the_end_clients_are_told_and_closed_with_1012(tmp_path: Path) -> None:
    async with serving(tmp_path) as served, connect(served.stream) as client:
        await receive(client)
        served.hub.shut_down()
        assert (await receive(client))[0]["type"] == "shutdown"
        assert await closing_code(client) == RESTART.number
        async with connect(served.stream) as late:
            assert await closing_code(late) == RESTART.number


async def test_misuse_ends_in_a_terminal_code(tmp_path: Path) -> None:
    async with serving(tmp_path) as served, connect(served.stream) as client:
        for _ in range(MAX_REFUSED):
            await client.send("nonsense")
        assert await closing_code(client) == MISUSE.number


async def test_a_message_beyond_all_bounds_ends_the_connection(tmp_path: Path) -> None:
    async with serving(tmp_path) as served, connect(served.stream) as client:
        await client.send("x" * 5000)
        assert [message["type"] for message in await receive(client) + await receive(client)] == ["hello", "error"]
        await client.send("x" * 100_000)
        assert await closing_code(client) == 1009


async def test_a_request_that_is_no_handshake_is_answered(tmp_path: Path) -> None:
    async with serving(tmp_path) as served:
        reader, writer = await asyncio.open_connection("127.0.0.1", int(served.url.rpartition(":")[2]))
        writer.write(
            b"GET /ws/v1 HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
            b"Sec-WebSocket-Version: 7\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\r\n"
        )
        assert b" 400 " in await asyncio.wait_for(reader.readline(), 10)
        writer.close()
        await writer.wait_closed()
