"""Exports: how many at a time, and their end."""

from __future__ import annotations

import asyncio
import gzip
from collections.abc import AsyncGenerator
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from gateway.access.errors import AccessRefused
from gateway.rest import exports
from gateway.rest.exports import PIECE, ExportResponse, Exports, LargeResponse
from tests.fixtures import market
from tests.fixtures.gateway import serving


def test_places_are_counted_by_owner_and_for_all() -> None:
    made = Exports(most=5, most_of_one=4)
    places = [made.enter("a") for _ in range(4)]
    with pytest.raises(AccessRefused, match="of a client") as refused:
        made.enter("a")
    assert (refused.value.status, refused.value.headers["Retry-After"]) == (429, "10")
    made.enter("b")
    with pytest.raises(AccessRefused, match="of all clients"):
        made.enter("c")
    with pytest.raises(AccessRefused, match="of all clients"):
        made.enter(None)
    for _ in range(2):
        places[0].release()  # only once
    assert len(made) == 4
    made.enter("a")


class Parts:
    """Parts of a body without end."""

    def __init__(self) -> None:
        self.closed = False

    async def parts(self) -> AsyncGenerator[bytes, None]:
        try:
            while True:
                yield bytes(3 * PIECE)
        finally:
            self.closed = True


async def test_a_client_that_takes_nothing_ends_its_export() -> None:
    made, of = Exports(), Parts()
    response = ExportResponse(of.parts(), made.enter("a"), {}, "text/csv", stall_seconds=0.05)
    sent: list[Any] = []

    async def send(message: Any) -> None:
        sent.append(message)
        if len(sent) > 3:
            await asyncio.get_running_loop().create_future()

    async def receive() -> Any:
        return await asyncio.get_running_loop().create_future()

    async with asyncio.timeout(10):
        await response({"type": "http", "path": "/", "asgi": {"spec_version": "2.4"}}, receive, send)
    assert [len(each["body"]) for each in sent[1:]] == [PIECE] * 3
    assert sent[-1]["more_body"], "cut off"
    assert (len(made), of.closed) == (0, True)


async def test_too_many_exports_are_refused_and_places_come_back(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(exports.Exports.__init__, "__defaults__", (0, 4))
    async with serving(tmp_path) as served, aiohttp.ClientSession(headers={"Accept": "text/csv"}) as http:
        url = f"{served.url}/api/v1/trades?limit=5"
        async with http.get(url) as answer:
            assert (answer.status, answer.headers["Retry-After"]) == (429, "10")
            assert (await answer.json())["code"] == "connection_limit"
        async with http.get(url, headers={"Accept": "application/json"}) as answer:
            assert answer.status == 200
    monkeypatch.setattr(exports.Exports.__init__, "__defaults__", (1, 4))
    async with serving(tmp_path) as served, aiohttp.ClientSession(headers={"Accept": "text/csv"}) as http:
        served.hub.apply(market.trade(), served.now)
        for method, query, status in (
            ("GET", "", 200),
            ("HEAD", "", 200),
            ("GET", "&cursor=x", 422),
            ("GET", "&from=1", 503),
            ("GET", "", 200),
        ):
            url = f"{served.url}/api/v1/trades?limit=5{query}"
            async with http.request(method, url) as answer:
                assert answer.status == status, "the place of the one before is free again"
                await answer.read()


async def test_a_large_body_is_sent_in_pieces() -> None:
    body = bytes(range(256)) * (PIECE // 256 * 2 + 1)
    sent: list[Any] = []

    async def send(message: Any) -> None:
        sent.append(message)

    await LargeResponse(body)({"type": "http"}, send, send)  # type: ignore[arg-type]
    assert b"".join(each["body"] for each in sent[1:]) == body
    assert [each["more_body"] for each in sent[1:]] == [True, True, False]


async def test_a_large_answer_arrives_whole(tmp_path: Path) -> None:
    async with serving(tmp_path) as served, aiohttp.ClientSession(auto_decompress=False) as http:
        for number in range(1000):
            served.hub.apply(market.trade(str(number), received_time=served.now - 1000 + number), served.now)
        url = f"{served.url}/api/v1/trades?limit=900"
        async with http.get(url, headers={"Accept-Encoding": "gzip"}) as answer:
            packed = await answer.read()
            assert answer.headers["Content-Encoding"] == "gzip"
        async with http.get(url, headers={"Accept-Encoding": "identity"}) as answer:
            plain = await answer.read()
    assert len(plain) > PIECE
    assert gzip.decompress(packed) == plain
