"""producers.simulator.server and outbox, with real clients on loopback."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from datetime import datetime
from functools import partial
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from websockets.asyncio.client import ClientConnection
from websockets.asyncio.client import connect as connect_bounded
from websockets.exceptions import ConnectionClosed

from alphapulse.config import Settings
from alphapulse.service import Service, announcement_path
from producers.simulator.faults import Sent, VenueFaults
from producers.simulator.listings import make_listings
from producers.simulator.scripts import Fault
from producers.simulator.server import Faults, Simulation
from tests.fixtures.venue_clients import BinanceClient, CoinbaseClient, KrakenClient
from tests.fixtures.venue_server import until

# A client whose queue is full reads nothing any more, not even the answer to its Close.
connect = partial(connect_bounded, max_queue=None)
VENUES = ("kraken", "coinbase", "binance_us")


class Running:
    """A simulation that serves."""

    def __init__(self, simulation: Simulation, announced: dict[str, Any]) -> None:
        self.simulation = simulation
        self.venues: dict[str, Any] = announced["venues"]

    def url(self, venue: str) -> str:
        address: str = self.venues[venue]["websocket_url"]
        return address


@asynccontextmanager
async def serving(
    folder: Path,
    *venues: str,
    rate: float = 200.0,
    faults: Faults = VenueFaults,
    clock: Callable[[], int] = time.time_ns,
) -> AsyncIterator[Running]:
    service = Service("simulator", Settings(data_dir=folder))
    simulation = Simulation(
        make_listings(venues, ["BTC-USD", "ETH-USD"]), seed=1, rate=rate, faults=faults, clock=clock
    )
    life = asyncio.create_task(service.live(simulation.serve))
    try:
        await until(lambda: service.ready or life.done())
        yield Running(simulation, json.loads(announcement_path(service.settings, "simulator").read_text()))
    finally:
        service.stopping.set()
        await life


async def read_to_the_end(socket: ClientConnection) -> None:
    while True:
        await socket.recv()


async def test_every_venue_is_announced_with_its_addresses_and_symbols(tmp_path: Path) -> None:
    async with serving(tmp_path, *VENUES) as running:
        assert list(running.venues) == list(VENUES)
        for name in VENUES:
            assert running.venues[name]["symbols"] == ["BTC-USD", "ETH-USD"]
            assert running.venues[name]["rest_url"].startswith("http://127.0.0.1:")
        assert running.url("kraken").endswith("/v2")
        status = running.simulation.status()
        assert status["seed"] == 1
        assert set(status["venues"]) == set(VENUES)


async def test_a_kraken_client_follows_a_book_whose_checksums_hold(tmp_path: Path) -> None:
    async with serving(tmp_path, "kraken") as running, connect(running.url("kraken")) as socket:
        await socket.send('{"method":"subscribe","params":{"channel":"instrument"}}')
        await socket.send('{"method":"subscribe","params":{"channel":"book","symbol":["BTC/USD"],"depth":25}}')
        await socket.send('{"method":"subscribe","params":{"channel":"trade","symbol":["BTC/USD"],"snapshot":true}}')
        client = KrakenClient("BTC/USD", 25)
        methods = set()
        async with asyncio.timeout(30):
            while client.checked < 100 or not client.trades:
                frame = await socket.recv(decode=False)
                methods.add(json.loads(frame).get("method"))
                client.take(frame)
        assert "subscribe" in methods
        numbers = [number for number, *_ in client.trades]
        assert numbers == list(range(numbers[0], numbers[0] + len(numbers)))


async def test_a_coinbase_client_follows_a_book_and_hears_heartbeats(tmp_path: Path) -> None:
    async with serving(tmp_path, "coinbase") as running, connect(running.url("coinbase")) as socket:
        channels = ["level2_batch", "matches", "heartbeat"]
        await socket.send(json.dumps({"type": "subscribe", "product_ids": ["BTC-USD"], "channels": channels}))
        client = CoinbaseClient("BTC-USD")
        kinds: list[str] = []
        async with asyncio.timeout(30):
            while not {"heartbeat", "match", "l2update"} <= set(kinds):
                frame = await socket.recv(decode=False)
                kinds.append(json.loads(frame)["type"])
                client.take(frame)
        assert kinds[:2] == ["subscriptions", "snapshot"]
        assert max(client.bids) < min(client.asks)


async def test_a_binance_client_joins_snapshot_and_diffs(tmp_path: Path) -> None:
    async with serving(tmp_path, "binance_us") as running, aiohttp.ClientSession() as http:
        streams = "btcusd@depth@100ms/btcusd@trade"
        async with connect(f"{running.url('binance_us')}/stream?streams={streams}") as socket:
            client = BinanceClient("BTCUSD")
            async with asyncio.timeout(30):
                for _ in range(5):
                    client.take(await socket.recv(decode=False))
                depth = f"{running.venues['binance_us']['rest_url']}/api/v3/depth?symbol=BTCUSD&limit=5000"
                async with http.get(depth) as answer:
                    client.snapshot(await answer.read())
                for _ in range(200):
                    client.take(await socket.recv(decode=False))
            assert max(client.bids) < min(client.asks)
            assert client.trades
        async with http.get(running.venues["binance_us"]["rest_url"] + "/nothing") as answer:
            assert answer.status == 404


async def test_unsubscribed_is_silent_and_subscribed_again_starts_with_a_snapshot(tmp_path: Path) -> None:
    async with serving(tmp_path, "kraken", rate=500.0) as running, connect(running.url("kraken")) as socket:
        book = '"params":{"channel":"book","symbol":["BTC/USD"],"depth":10}}'
        await socket.send('{"method":"subscribe",' + book)
        await socket.send('{"method":"unsubscribe",' + book)
        await socket.send('{"method":"subscribe","req_id":9,' + book)
        async with asyncio.timeout(30):
            kinds: list[str] = []
            while len(kinds) < 6:
                frame = json.loads(await socket.recv())
                if frame.get("channel") != "status" and not (kinds and kinds[-1] == "update" == frame.get("type")):
                    kinds.append(frame.get("method") or frame.get("type"))
        kinds = [kind for kind in kinds if kind != "update"]
        assert kinds[:5] == ["subscribe", "snapshot", "unsubscribe", "subscribe", "snapshot"]


async def test_a_client_that_does_not_keep_up_is_cut_off_and_counted(tmp_path: Path) -> None:
    class Swollen(VenueFaults):
        def passes(self, now_ns: int) -> bool:
            return False

        def frame(
            self, topic: Any, symbol: str, frame: bytes, now_ns: int, *, snapshot: bool = False
        ) -> Sequence[Sent]:
            return (Sent(topic, 1, frame + b" " * 500_000),)

    async with serving(tmp_path, "coinbase", faults=Swollen) as running:
        async with connect(running.url("coinbase"), max_queue=1, max_size=None) as socket:
            await socket.send('{"type":"subscribe","product_ids":["BTC-USD"],"channels":["level2_batch"]}')
            venue = running.simulation.venues["coinbase"]
            await until(lambda: venue.slow_clients == 1, 30)
            with pytest.raises(ConnectionClosed):
                await asyncio.wait_for(read_to_the_end(socket), 30)
        assert venue.status() == {
            "connections": 0,
            "subscriptions": 0,
            "frames_sent": venue.frames_sent,
            "slow_clients": 1,
            "refused": {},
            "faults": {},
        }


def faulty(*script: Fault, seed: int = 1) -> Faults:
    return lambda venue: VenueFaults(venue, script, seed=seed)


async def test_faults_stand_between_encoder_and_socket(tmp_path: Path) -> None:
    script = [Fault(kind="duplicate", frame=n) for n in range(1, 8)]
    async with serving(tmp_path, "coinbase", faults=faulty(*script)) as running:
        async with connect(running.url("coinbase")) as socket:
            await socket.send('{"type":"subscribe","product_ids":["ETH-USD"],"channels":["level2_batch"]}')
            async with asyncio.timeout(30):
                frames = [await socket.recv() for _ in range(7)]
        assert frames[1] == frames[2] != frames[3] == frames[4] != frames[5] == frames[6]
        assert running.simulation.venues["coinbase"].status()["faults"]["duplicate"] >= 3


async def test_a_connection_is_cut_in_the_middle_of_the_snapshot(tmp_path: Path) -> None:
    subscribe = '{"method":"subscribe","params":{"channel":"book","symbol":["BTC/USD"],"depth":1000}}'
    async with serving(tmp_path, "kraken", faults=faulty(Fault(kind="cut_snapshot", frame=1))) as running:
        async with asyncio.timeout(30), connect(running.url("kraken")) as socket:
            await socket.send(subscribe)
            with pytest.raises(ConnectionClosed) as closed:
                await _until_snapshot(socket)
            assert closed.value.rcvd is None  # without a word
        async with asyncio.timeout(30), connect(running.url("kraken")) as socket:
            await socket.send(subscribe)
            await _until_snapshot(socket)


async def test_a_mute_venue_stays_connected_and_a_new_connection_is_heard(tmp_path: Path) -> None:
    subscribe = '{"type":"subscribe","product_ids":["ETH-USD"],"channels":["level2_batch"]}'
    script = faulty(Fault(kind="mute", frame=3, seconds=3600.0), Fault(kind="refuse", at=0.0))
    async with serving(tmp_path, "coinbase", faults=script) as running, asyncio.timeout(30):
        async with connect(running.url("coinbase")) as socket:
            while json.loads(await _ask(socket, subscribe))["type"] == "error":
                pass
            venue = running.simulation.venues["coinbase"]
            await until(lambda: venue.faults.number > 50, 20)
            sent = venue.frames_sent
            await until(lambda: venue.faults.number > 100, 20)
            assert venue.frames_sent == sent
            await (await socket.ping())
        async with connect(running.url("coinbase")) as socket:
            assert json.loads(await _ask(socket, subscribe))["type"] == "subscriptions"
            assert json.loads(await socket.recv())["type"] == "snapshot"
        assert venue.faults.happened["refuse"] == 1


async def test_a_stalled_venue_says_nothing_not_even_that_it_is_there(tmp_path: Path) -> None:
    subscribe = '{"type":"subscribe","product_ids":["ETH-USD"],"channels":["level2_batch","heartbeat"]}'
    script = faulty(Fault(kind="stall", frame=3, seconds=3600.0))
    async with (
        serving(tmp_path, "coinbase", faults=script) as running,
        asyncio.timeout(30),
        connect(running.url("coinbase"), ping_interval=None) as socket,
    ):
        await _ask(socket, subscribe)
        venue = running.simulation.venues["coinbase"]
        await until(lambda: venue.faults.stalls(time.time_ns()), 20)
        sent = venue.frames_sent
        unanswered = asyncio.ensure_future(await socket.ping())
        venue.beat(time.time_ns())
        await until(lambda: venue.faults.number > 50, 20)
        assert (venue.frames_sent, unanswered.done()) == (sent, False)


async def _until_snapshot(socket: ClientConnection) -> None:
    while json.loads(await socket.recv()).get("type") != "snapshot":
        pass


async def _ask(socket: ClientConnection, message: str) -> str | bytes:
    await socket.send(message)
    return await socket.recv()


async def test_rest_is_slow_and_failing(tmp_path: Path) -> None:
    script = faulty(
        Fault(kind="rest_429", at=0.0, seconds=7.0),
        Fault(kind="rest_418", at=0.0),
        Fault(kind="rest_503", at=0.0),
        Fault(kind="rest_500", at=0.0),
        Fault(kind="rest_slow", at=0.0, seconds=0.01),
    )
    async with serving(tmp_path, "binance_us", faults=script) as running, aiohttp.ClientSession() as http:
        statuses, after = [], []
        for _ in range(6):
            url = running.venues["binance_us"]["rest_url"] + "/api/v3/depth?symbol=BTCUSD&limit=5"
            async with http.get(url) as answer:
                statuses.append(answer.status)
                after.append(answer.headers.get("Retry-After"))
                assert ("code" in await answer.json()) == (answer.status != 200)
        assert statuses == [429, 418, 503, 500, 200, 200]
        assert after[0] == "7"


async def test_a_skewed_clock_shows_in_the_venues_times(tmp_path: Path) -> None:
    script = faulty(Fault(kind="skew", at=0.0, seconds=-86_400.0))
    async with (
        serving(tmp_path, "coinbase", faults=script) as running,
        asyncio.timeout(30),
        connect(running.url("coinbase")) as socket,
    ):
        await socket.send('{"type":"subscribe","product_ids":["ETH-USD"],"channels":["level2_batch"]}')
        while (frame := json.loads(await socket.recv()))["type"] != "l2update":
            pass
    behind = time.time() - datetime.fromisoformat(frame["time"]).timestamp()
    assert 86_000 < behind < 87_000


async def test_coinbase_sends_away_who_subscribes_to_nothing(tmp_path: Path) -> None:
    async with serving(tmp_path, "coinbase") as running:
        venue = running.simulation.venues["coinbase"]
        async with connect(running.url("coinbase")) as idle, connect(running.url("coinbase")) as busy:
            await busy.send('{"type":"subscribe","product_ids":["ETH-USD"],"channels":["matches"]}')
            await busy.recv()
            for connection in list(venue._outboxes):
                venue._send_away_idler(connection)
            await asyncio.wait_for(idle.wait_closed(), 20)
            await busy.ping()
            assert venue.status()["connections"] == 1


async def test_after_a_sleep_of_the_machine_the_market_goes_on_without_a_rush(tmp_path: Path) -> None:
    asleep = 0
    async with serving(tmp_path, "kraken", clock=lambda: time.time_ns() + asleep) as running:
        before = running.simulation.events
        asleep = 3600 * 10**9
        await until(lambda: running.simulation.skipped_seconds > 3590 and running.simulation.events > before)
        assert running.simulation.events - before < 10_000


class Clock:
    """A clock that a test sets."""

    def __init__(self) -> None:
        self.now = 10**18

    def __call__(self) -> int:
        return self.now


@pytest.mark.parametrize(("rate", "least", "most"), [(1e-4, 0.1, 0.1), (10_000.0, 0.005, 0.005), (10.0, 0.005, 0.1)])
def test_it_sleeps_until_something_happens_but_no_less_than_a_tick(rate: float, least: float, most: float) -> None:
    clock = Clock()
    simulation = Simulation(make_listings(["kraken"], ["BTC-USD"]), seed=3, rate=rate, clock=clock)
    for _ in range(50):
        simulation.step(clock.now)
        rest = simulation._rest_seconds(clock.now, clock.now + 10**9)
        assert least <= rest <= most
        # Nothing that is due is slept through: the next event lies at the end of the rest, or within a tick.
        upcoming = (simulation.market.next_ns - clock.now) / 1e9
        assert rest <= max(upcoming, 0.005)
        clock.now += int(rest * 1e9)


def test_it_does_not_sleep_through_a_heartbeat_or_what_a_stall_holds_back() -> None:
    clock = Clock()
    simulation = Simulation(make_listings(["kraken"], ["BTC-USD"]), seed=3, rate=1e-4, clock=clock)
    assert simulation._rest_seconds(clock.now, clock.now + 30_000_000) == pytest.approx(0.03)
    simulation.venues["kraken"].faults._stalled.append(Sent(("book", "BTC/USD", ""), 1, b"{}"))
    assert simulation._rest_seconds(clock.now, clock.now + 10**9) == 0.005
