from __future__ import annotations

import json
from pathlib import Path

import pytest
from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosed, InvalidStatus

from alphapulse.config import AccessSettings
from gateway.close_codes import CONNECTION_LIMIT
from gateway.v2.document import document
from tests.fixtures.gateway import Served, serving


def address(served: Served) -> str:
    return served.url.replace("http", "ws", 1) + "/ws/v2"


async def refusal(served: Served, **arguments: object) -> int:
    with pytest.raises(InvalidStatus) as refused:
        await connect(address(served), **arguments)  # type: ignore[arg-type]
    return refused.value.response.status_code


async def test_foreign_pages_and_unknown_subprotocols_are_refused(tmp_path: Path) -> None:
    async with serving(tmp_path) as served:
        assert await refusal(served, origin="https://elsewhere.example") == 403
        assert await refusal(served, subprotocols=["mqtt"]) == 400
        async with connect(address(served), subprotocols=["mqtt", "alphapulse.v2.msgpack"]) as connection:  # type: ignore[list-item]
            assert connection.subprotocol == "alphapulse.v2.msgpack"
            assert isinstance(await connection.recv(), bytes)
        served.hub.live = False
        assert await refusal(served) == 503


async def test_connections_are_limited_across_versions(tmp_path: Path) -> None:
    async with (
        serving(tmp_path, max_connections=1) as served,
        connect(served.stream),
        connect(address(served)) as second,
    ):
        with pytest.raises(ConnectionClosed) as closed:
            await second.recv()
        assert closed.value.rcvd is not None
        assert closed.value.rcvd.code == CONNECTION_LIMIT.number


async def test_clients_without_credentials_hold_a_quarter_of_the_connections(tmp_path: Path) -> None:
    async with serving(tmp_path, max_connections=8, access=AccessSettings(mode="required")) as served:
        key = served.key("stream:*:*")
        async with connect(address(served)) as first, connect(address(served)) as second:
            await first.recv()
            await second.recv()
            async with connect(address(served)) as third:
                with pytest.raises(ConnectionClosed) as closed:
                    await third.recv()
                assert closed.value.rcvd is not None
                assert closed.value.rcvd.code == CONNECTION_LIMIT.number
            headers = {"Authorization": f"Bearer {key}"}
            async with connect(address(served), additional_headers=headers) as known:
                assert json.loads(await known.recv())["type"] == "hello"
            await first.send(json.dumps({"op": "auth", "token": key}))
            assert json.loads(await first.recv())["type"] == "authenticated"
            async with connect(address(served)) as fourth:
                assert json.loads(await fourth.recv())["type"] == "hello", "the first one's place is free"


async def test_the_document_is_served(tmp_path: Path) -> None:
    async with serving(tmp_path) as served:
        assert await served.get("/api/asyncapi.json") == document()
