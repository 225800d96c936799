"""What a client feels of the limits, on loopback."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import aiohttp
import pytest
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed, InvalidStatus

from producers.feed.venue import Limit
from producers.simulator.limits import VenueLimits
from producers.simulator.listings import make_listings
from producers.simulator.market import Market
from producers.simulator.server import feed_of, limits_of
from producers.simulator.venue import SimulatedVenue
from tests.fixtures.virtual_time import run


class Venue:
    def __init__(self, simulated: SimulatedVenue, told: dict[str, Any]) -> None:
        self.simulated = simulated
        self.url: str = told["websocket_url"]
        self.rest: str = told["rest_url"]

    @property
    def refused(self) -> dict[str, int]:
        return dict(self.simulated.status()["refused"])


@asynccontextmanager
async def venue(name: str, limits: VenueLimits | None = None) -> AsyncIterator[Venue]:
    symbols = ["AAPL"] if name == "alpaca" else ["BTC-USD"]
    market = Market(make_listings([name], symbols), seed=1, rate=1.0, start_ns=0)
    feed = feed_of(name)(list(market.instruments.values()))
    simulated = SimulatedVenue(name, feed, limits=limits if limits is not None else limits_of(name))
    told = await simulated.open()
    try:
        yield Venue(simulated, told)
    finally:
        await simulated.close()


async def ask(socket: ClientConnection, message: str) -> Any:
    await socket.send(message)
    return json.loads(await asyncio.wait_for(socket.recv(), 10))


@pytest.mark.parametrize("pings", [0, 2])
async def test_binance_hangs_up_on_the_sixth_message_of_a_second_pings_counted(pings: int) -> None:
    async with venue("binance") as it, connect(it.url + "/stream?streams=btcusd@trade", ping_interval=None) as socket:
        for _ in range(pings):
            await socket.ping()
        for number in range(5 - pings):
            assert (await ask(socket, f'{{"method":"LIST_SUBSCRIPTIONS","id":{number}}}'))["id"] == number
        with pytest.raises(ConnectionClosed) as closed:
            await ask(socket, '{"method":"LIST_SUBSCRIPTIONS","id":9}')
        assert closed.value.rcvd is not None
        assert (closed.value.rcvd.code, closed.value.rcvd.reason) == (1008, "Too many requests")
        assert it.refused == {"message": 1}


def test_a_client_that_answers_the_venues_pings_stays_though_they_are_counted() -> None:
    async def work() -> None:
        async with venue("binance") as it:
            async with connect(it.url + "/stream?streams=btcusd@trade", ping_interval=None) as socket:
                await asyncio.sleep(100.0)  # a ping every 20 s, each to be answered within 10
                assert (await ask(socket, '{"method":"LIST_SUBSCRIPTIONS","id":1}'))["id"] == 1
            assert it.refused == {}

    run(work(), sockets=True)


async def test_krakens_rate_is_an_error_and_the_connection_stays() -> None:
    limits = VenueLimits(messages=Limit(2, 60.0))
    async with venue("kraken", limits) as it, connect(it.url) as socket:
        assert json.loads(await socket.recv())["channel"] == "status"
        for number in range(2):
            assert (await ask(socket, f'{{"method":"ping","req_id":{number}}}'))["method"] == "pong"
        answer = await ask(socket, '{"method":"subscribe","req_id":7,"params":{"channel":"instrument"}}')
        assert (answer["error"], answer["success"], answer["req_id"]) == ("Exceeded msg rate", False, 7)


@pytest.mark.parametrize(
    ("name", "message", "found"),
    [
        ("coinbase", '{"type":"subscribe"}', {"type": "error", "reason": "Rate limit exceeded"}),
        ("coinbase_advanced", '{"type":"subscribe"}', {"type": "error", "message": "rate limit exceeded"}),
        ("okx", '{"op":"subscribe"}', {"event": "error", "code": "60014"}),
    ],
)
async def test_others_say_so_too_and_count_all_connections_of_an_address(
    name: str, message: str, found: dict[str, str]
) -> None:
    limits = VenueLimits(messages=Limit(1, 60.0), messages_by_address=True)
    async with venue(name, limits) as it, connect(it.url) as first, connect(it.url) as second:
        assert not found.items() <= (await ask(first, message)).items()
        assert found.items() <= (await ask(second, message)).items()


async def test_okx_does_not_count_pings_among_requests() -> None:
    async with venue("okx", VenueLimits(requests=Limit(1, 60.0))) as it, connect(it.url) as socket:
        for _ in range(3):
            await socket.send("ping")
            assert await socket.recv() == "pong"
        subscribe = '{"op":"subscribe","args":[{"channel":"tickers","instId":"BTC-USD"}]}'
        assert (await ask(socket, subscribe))["event"] == "subscribe"
        assert (await ask(socket, subscribe))["code"] == "60014"


async def test_too_many_connects_are_refused_at_the_handshake() -> None:
    async with venue("kraken", VenueLimits(connects=Limit(1, 60.0), ban_seconds=600.0)) as it, connect(it.url):
        with pytest.raises(InvalidStatus) as refused:
            await connect(it.url)
        assert refused.value.response.status_code == 429
        assert refused.value.response.headers["Retry-After"] == "600"
        assert it.refused == {"connect": 1}


async def test_alpaca_serves_one_connection_and_the_next_when_it_is_gone() -> None:
    sign_in = '{"action":"auth","key":"k","secret":"s"}'
    async with venue("alpaca") as it:
        async with connect(it.url) as first, connect(it.url) as second:
            for socket in (first, second):
                assert json.loads(await socket.recv()) == [{"T": "success", "msg": "connected"}]
            limit = [{"T": "error", "code": 406, "msg": "connection limit exceeded"}]
            assert await ask(second, sign_in) == limit
            assert await ask(first, sign_in) == [{"T": "success", "msg": "authenticated"}]
            assert it.refused == {"connection": 1}
        async with connect(it.url) as third:
            await third.recv()
            assert await ask(third, sign_in) == [{"T": "success", "msg": "authenticated"}]


async def test_a_connection_without_data_is_closed() -> None:
    async with venue("okx", VenueLimits(idle_seconds=-1.0)) as it, connect(it.url) as socket:
        it.simulated.beat(0)
        await asyncio.wait_for(socket.wait_closed(), 10)


async def test_binance_tells_the_weight_used_then_429_then_418() -> None:
    async with venue("binance") as it, aiohttp.ClientSession() as http:

        async def get(limit: int) -> tuple[int, str, int, Any]:
            async with http.get(f"{it.rest}/api/v3/depth?symbol=BTCUSD&limit={limit}") as answer:
                after = int(answer.headers.get("Retry-After", "0"))
                return answer.status, answer.headers.get("X-MBX-USED-WEIGHT-1M", ""), after, await answer.json()

        assert (await get(100))[:3] == (200, "5", 0)
        for _ in range(23):
            assert (await get(5000))[0] == 200
        status, used, after, body = await get(5000)
        assert (status, used, body["code"]) == (429, "5755", -1003)
        assert 50 <= after <= 60
        assert (await get(100))[:2] == (200, "5760"), "what is left may be used"
        statuses = [(await get(5000))[0] for _ in range(11)]
        assert statuses == [429] * 10 + [418]
        status, _, after, body = await get(100)
        assert (status, body["code"]) == (418, -1003)
        assert 100 <= after <= 120


@pytest.mark.parametrize(
    ("name", "path", "body"),
    [
        ("kraken", "/0/public/AssetPairs", {"error": ["EAPI:Rate limit exceeded"]}),
        ("okx", "/api/v5/public/instruments?instType=SPOT", {"code": "50011"}),
        ("coinbase", "/products", {"message": "Too many requests"}),
    ],
)
async def test_other_venues_refuse_requests_in_their_own_words(name: str, path: str, body: dict[str, Any]) -> None:
    async with venue(name) as it, aiohttp.ClientSession() as http:
        limit = limits_of(name).rest
        assert limit is not None
        answers = []
        for _ in range(int(limit.amount) + 1):
            async with http.get(it.rest + path) as answer:
                answers.append((answer.status, await answer.json()))
        assert [status for status, _ in answers] == [200] * int(limit.amount) + [429]
        assert body.items() <= answers[-1][1].items()
