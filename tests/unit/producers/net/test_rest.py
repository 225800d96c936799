from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import replace
from itertools import pairwise

import pytest
from aiohttp import web

from producers.feed.actions import FetchSnapshot
from producers.feed.venue import Limit
from producers.net import rest as rest_module
from producers.net.rest import RestClient
from producers.registry import load
from tests.fixtures.venue_server import rest_venue, until
from tests.fixtures.virtual_time import run

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


class Asker:
    """Takes answers and failures."""

    def __init__(self) -> None:
        self.bodies: list[bytes] = []
        self.reasons: list[str] = []


@asynccontextmanager
async def client(handler: Handler, limit: Limit | None = None) -> AsyncIterator[RestClient]:
    async with rest_venue(handler) as url:
        venue = replace(load("binance"), rest_limit=limit)
        made = RestClient(venue, url + "/", asyncio.create_task)
        try:
            yield made
        finally:
            await made.close()


def fetch(it: RestClient, asker: Asker, symbol: str = "BTC-USD", *, number: int = 1, attempt: int = 0) -> None:
    request = FetchSnapshot(symbol, f"/depth?symbol={symbol}&limit=100", number, attempt)
    it.fetch(asker, request, asker.bodies.append, asker.reasons.append)


@pytest.mark.parametrize("status", [418, 429, 503])
async def test_the_venues_wish_to_be_left_alone_binds_all_requests(status: int) -> None:
    times: list[float] = []

    async def answer(request: web.Request) -> web.StreamResponse:
        times.append(asyncio.get_running_loop().time())
        if len(times) == 1:
            return web.Response(status=status, headers={"Retry-After": "1"}, text="slow down")
        return web.Response(text="{}")

    async with client(answer) as it:
        first, second = Asker(), Asker()
        fetch(it, first)
        await until(lambda: first.reasons)
        fetch(it, second, "ETH-USD")
        await until(lambda: second.bodies and first.bodies)
        assert f"HTTP {status} for /depth" in first.reasons[0]
        assert min(times[1:]) - times[0] >= 1.0
        assert second.reasons == []


async def test_a_ban_without_a_term_is_taken_for_a_long_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rest_module, "UNSTATED_PAUSES", {429: 0.5, 418: 3600.0})

    async def answer(request: web.Request) -> web.StreamResponse:
        return web.Response(status=418)

    async with client(answer) as it:
        asker = Asker()
        fetch(it, asker)
        await until(lambda: asker.reasons)
        assert it._gate._budget.wait(asyncio.get_running_loop().time()) > 3500


async def test_a_server_error_is_tried_again_and_holds_up_nobody_else() -> None:
    async def answer(request: web.Request) -> web.StreamResponse:
        if request.query["symbol"] == "BTC-USD" and not other.bodies:
            return web.Response(status=500)
        return web.Response(text="{}")

    async with client(answer) as it:
        one, other = Asker(), Asker()
        fetch(it, one)
        await until(lambda: one.reasons)
        fetch(it, other, "ETH-USD")
        await until(lambda: other.bodies)
        await until(lambda: one.bodies)
        assert "HTTP 500" in one.reasons[0]


async def test_requests_keep_to_the_weight_allowed() -> None:
    times: list[float] = []

    async def answer(request: web.Request) -> web.StreamResponse:
        times.append(asyncio.get_running_loop().time())
        return web.Response(text="{}")

    # Each weighs 5: two in half a second.
    async with client(answer, Limit(10, 0.5)) as it:
        asker = Asker()
        for number in range(6):
            fetch(it, asker, f"A{number}-USD")
        await until(lambda: len(asker.bodies) == 6)
        for early, late in zip(times, times[2:], strict=False):
            assert late - early >= 0.49


async def test_a_newer_request_takes_the_place_of_an_older_one() -> None:
    release = asyncio.Event()

    async def answer(request: web.Request) -> web.StreamResponse:
        await release.wait()
        return web.Response(text="{}")

    async with client(answer) as it:
        asker = Asker()
        fetch(it, asker)
        fetch(it, asker, number=2)
        assert it.asking(asker, "BTC-USD")
        release.set()
        await until(lambda: asker.bodies)
        await until(lambda: not it.asking(asker, "BTC-USD"))
        assert len(asker.bodies) == 1
        it.forget(asker)
        assert not it.asking(asker, "BTC-USD")


async def test_repairs_of_one_symbol_come_ever_more_slowly() -> None:
    times: list[float] = []

    async def answer(request: web.Request) -> web.StreamResponse:
        times.append(asyncio.get_running_loop().time())
        return web.Response(text="{}")

    async with client(answer) as it:
        asker = Asker()
        for number in range(5):
            fetch(it, asker, number=number)
            await until(lambda: len(asker.bodies) > number)  # noqa: B023 awaited in its turn
        gaps = [late - early for early, late in pairwise(times)]
        assert gaps[2] >= 0.45
        assert gaps[3] >= 0.95


async def test_an_address_that_is_none_is_a_failure_like_others() -> None:
    it = RestClient(load("binance"), "", asyncio.create_task)
    body, reason = await it.get("/api")
    assert body is None
    assert "/api" in reason
    await it.close()


def test_what_does_not_exist_is_asked_for_ever_more_rarely() -> None:
    asked = 0

    async def answer(request: web.Request) -> web.StreamResponse:
        nonlocal asked
        asked += 1
        return web.Response(status=400, text='{"code":-1121,"msg":"Invalid symbol."}')

    async def work() -> None:
        async with client(answer) as it:
            asker = Asker()
            fetch(it, asker)
            await asyncio.sleep(3600.0)
            assert len(asker.reasons) == asked
            assert "Invalid symbol." in asker.reasons[0]

    run(work(), sockets=True)
    assert 12 <= asked <= 24, "pauses from 2 s to 10 min"
