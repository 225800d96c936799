"""The collector on venues that enforce their limits: never refused, and as fast as they allow. In virtual time."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise

import pytest
from pydantic import SecretStr
from websockets.asyncio.server import ServerConnection

from alphapulse.config import VenueSettings
from producers.feed.actions import Resubscribe
from producers.feed.venue import Limit, Venue
from producers.registry import load
from producers.simulator.listings import make_listings
from producers.simulator.server import Simulation
from tests.fixtures.live import Live, live
from tests.fixtures.venue_server import until, websocket_venue
from tests.fixtures.virtual_time import run

START = 1_700_000_000 * 10**9
SYMBOLS = tuple(f"C{number:03}-USD" for number in range(500))
RATE = 0.3  # events a second and symbol at first: every symbol is heard of before the collector worries about it
LIVELY_SECONDS = 40.0
SLOWER = 0.97  # then so much of the time nothing happens


@dataclass
class Outcome:
    """How a start went.

    Attributes:
        seconds: until all was asked for and all books were valid.
        refused: what the venue refused, by its own count.
        complaints: of the collector.
        connections: that it holds.
    """

    seconds: float
    refused: dict[str, int]
    complaints: list[str]
    connections: int


async def start(venue: Venue, symbols: Sequence[str], most: float, depth: int | None = None) -> Outcome:
    """Let a collector take up ``symbols``; return when all books are valid, or fail after ``most`` seconds."""
    loop = asyncio.get_running_loop()

    def clock() -> int:
        return START + round(loop.time() * 1e9)

    simulation = Simulation(make_listings([venue.name], symbols), seed=1, rate=RATE, clock=clock, limits=1.0)
    simulated = simulation.venues[venue.name]
    told = await simulated.open()

    async def go_on() -> None:
        while True:
            simulation.step(clock())
            simulated.beat(clock())
            await asyncio.sleep(1.0)
            if loop.time() > LIVELY_SECONDS:
                simulation.market.pause(round(SLOWER * 1e9))

    market = asyncio.create_task(go_on())
    settings = VenueSettings(
        symbols=tuple(symbols),
        depth=depth,
        websocket_url=told["websocket_url"],
        rest_url=told["rest_url"],
        instrument_silence_seconds=3600.0,
    )
    try:
        async with live(venue, settings, max_in_flight=1_000_000, clock=clock) as it:
            began = loop.time()
            while (waited_for := _waited_for(it, symbols)) and loop.time() - began < most:
                await asyncio.sleep(0.25)
            seconds = loop.time() - began
            assert waited_for == set(), f"after {seconds:g} s"
            kinds = ("snapshot_failed", "subscription_refused", "disconnected", "silent")
            complaints = [event.message for kind in kinds for event in it.events(kind)]
            return Outcome(seconds, dict(simulated.limiter.refused), complaints, simulated.status()["connections"])
    finally:
        market.cancel()
        await asyncio.gather(market, return_exceptions=True)
        await simulated.close()


def _waited_for(it: Live, symbols: Sequence[str]) -> set[str]:
    """Return the symbols without a valid book, and the connections that have something left to say."""
    states = {symbol: state for line in it.collector.shards for symbol, state in line.protocol.instruments.items()}
    talking = {f"connection {number}" for number, line in enumerate(it.collector.shards) if not line.settled}
    return {symbol for symbol in symbols if symbol not in states or not states[symbol].book.valid} | talking


@pytest.mark.unmeasured
@pytest.mark.parametrize(
    ("venue", "depth", "fastest"),
    [
        # 5 connections, 3 messages on each: nothing has to wait.
        ("kraken", None, 0.0),
        # 500 snapshots of weight 50 within 6000 a minute: 120 at once, the last ones after 4 full minutes.
        ("binance", 1000, 4 * 60.0),
        # 25 connections at 8 a second; their 75 messages, 8 a second from one address, take 9 full seconds.
        ("coinbase_advanced", None, 9.0),
        # 5 connections at 3 a second.
        ("okx", None, 1.0),
        # 500 snapshots, 400 in 24 seconds.
        ("bitstamp", None, 24.0),
    ],
)
def test_500_symbols_start_within_the_limits_and_as_fast_as_they_allow(
    venue: str, depth: int | None, fastest: float
) -> None:
    most = 1.2 * fastest + 1.0
    outcome = run(start(load(venue), SYMBOLS, most, depth), sockets=True)
    print(f"{venue}: {outcome.seconds:g} s on {outcome.connections} connections; {fastest:g} s are allowed")  # noqa: T201
    assert outcome.refused == {}
    assert outcome.complaints == []
    assert fastest - 0.25 <= outcome.seconds <= most


@pytest.mark.parametrize("venue", ["kraken", "coinbase", "binance", "okx", "coinbase_advanced", "bitstamp"])
def test_quiet_books_are_confirmed_every_second_within_the_limits(venue: str) -> None:
    """A market in which nothing happens for ten minutes."""
    symbols, seconds = SYMBOLS[:4], 600

    async def work() -> tuple[dict[str, list[float]], dict[str, int], list[str]]:
        loop = asyncio.get_running_loop()

        def clock() -> int:
            return START + round(loop.time() * 1e9)

        simulation = Simulation(make_listings([venue], symbols), seed=1, rate=0.001, clock=clock, limits=1.0)
        simulated = simulation.venues[venue]
        told = await simulated.open()

        async def go_on() -> None:
            while True:
                simulated.beat(clock())
                await asyncio.sleep(1.0)

        market = asyncio.create_task(go_on())
        settings = VenueSettings(
            symbols=symbols,
            websocket_url=told["websocket_url"],
            rest_url=told["rest_url"],
            instrument_silence_seconds=36_000.0,
        )
        patient = replace(load(venue), silence_seconds=36_000.0)  # the simulated beats go by the real time
        async with live(patient, settings, clock=clock) as it:
            if venue == "binance":  # a diff is what makes it ask for a snapshot
                await until(lambda: it.collector.connected, 60)
                simulation.step(clock() + 10**12)
            await until(lambda: all(it.figures(symbol).get("valid") for symbol in symbols), 60)
            began = loop.time()
            await asyncio.sleep(seconds)
            times = {
                symbol: [(beat.received_time - START) / 1e9 for beat in it.heartbeats(symbol)] for symbol in symbols
            }
            complaints = [event.message for event in it.events("disconnected")]
        market.cancel()
        await simulated.close()
        found = {symbol: [time for time in beats if time > began + 1] for symbol, beats in times.items()}
        return found, dict(simulated.limiter.refused), complaints

    heard, refused, complaints = run(work(), sockets=True)
    assert (refused, complaints) == ({}, [])
    for times in heard.values():
        assert len(times) <= seconds + 1
        gaps = [late - early for early, late in pairwise(times)]
        # The pings that these want of every client take the place of every tenth one.
        assert max(gaps) <= (2.1 if venue in ("okx", "bitstamp") else 1.6)


def test_a_collector_that_asks_for_too_much_is_refused_and_heeds_it() -> None:
    careless = replace(load("binance"), rest_limit=None)
    outcome = run(start(careless, SYMBOLS[:60], 300.0), sockets=True)
    # 24 snapshots a minute: the last ones after two. It is refused, but backs off before it is banned.
    assert 120 <= outcome.seconds < 200
    assert set(outcome.refused) == {"rest"}
    assert len(outcome.complaints) == outcome.refused["rest"]
    assert "HTTP 429" in outcome.complaints[0]


def test_a_collector_that_connects_too_often_is_refused_and_heeds_it() -> None:
    careless = replace(load("okx"), connects=Limit(1000, 1.0), symbols_per_connection=1)
    outcome = run(start(careless, SYMBOLS[:10], 60.0), sockets=True)
    assert set(outcome.refused) == {"connect"}
    assert outcome.connections == 10
    assert 3 <= outcome.seconds < 20


def test_a_connection_that_the_venue_still_counts_is_waited_for() -> None:
    async def work() -> tuple[float, dict[str, int]]:
        loop = asyncio.get_running_loop()
        listings = make_listings(["alpaca"], ["AAPL"])
        simulation = Simulation(listings, seed=1, rate=1.0, clock=lambda: START, limits=1.0)
        simulated = simulation.venues["alpaca"]
        told = await simulated.open()
        settings = VenueSettings(
            symbols=("AAPL",), websocket_url=told["websocket_url"], key=SecretStr("k"), secret=SecretStr("s")
        )
        async with live(load("alpaca"), settings) as it:
            await until(lambda: simulated.status()["subscriptions"], 60)
            for connection in list(simulated._outboxes):
                connection.abort()
            lost = loop.time()
            await until(lambda: it.events("disconnected"), 60)
            while not simulated.status()["subscriptions"] and loop.time() - lost < 200:
                await asyncio.sleep(0.25)
            seconds = loop.time() - lost
        await simulated.close()
        return seconds, dict(simulated.limiter.refused)

    seconds, refused = run(work(), sockets=True)
    assert 90 <= seconds < 125
    assert set(refused) == {"connection"}
    assert refused["connection"] <= 4, "it waits before it tries again"


async def okx_collector(venue: Venue, symbols: Sequence[str], work: Callable[[Live], Awaitable[None]]) -> None:
    """Do ``work`` with a collector of quiet simulated books."""
    loop = asyncio.get_running_loop()
    simulation = Simulation(
        make_listings(["okx"], SYMBOLS[:4]), seed=1, rate=RATE, clock=lambda: START + round(loop.time() * 1e9)
    )
    simulated = simulation.venues["okx"]
    told = await simulated.open()
    settings = VenueSettings(
        symbols=tuple(symbols), websocket_url=told["websocket_url"], instrument_silence_seconds=36_000.0
    )
    async with live(venue, settings) as it:
        await until(lambda: all(it.figures(symbol).get("valid") for symbol in symbols))
        await work(it)
        assert it.events("disconnected") == []
    await simulated.close()


def test_a_connection_that_took_all_its_requests_makes_way_for_a_new_one() -> None:
    few = replace(load("okx"), requests=Limit(1, 3600.0), symbols_per_connection=2)

    async def work(it: Live) -> None:
        it.collector.reconfigure(it.collector.settings.model_copy(update={"symbols": SYMBOLS[:2]}))
        await until(lambda: it.figures(SYMBOLS[1]).get("valid"), 100.0)
        assert it.kinds(SYMBOLS[0]) == ["SNAPSHOT", "SNAPSHOT"], "a new connection took it over, without a gap"
        (event,) = it.events("replacing")
        assert "the venue's request limit for this connection is exhausted" in event.message

    run(okx_collector(few, SYMBOLS[:1], work), sockets=True)


def test_the_repairs_of_one_book_leave_the_others_theirs() -> None:
    few = replace(load("okx"), requests=Limit(30, 3600.0))
    bad, good = SYMBOLS[:2]

    async def work(it: Live) -> None:
        (line,) = it.collector.shards
        for _ in range(600):
            line.act([Resubscribe(bad)])
            await asyncio.sleep(1.0)
        asked = it.figures(bad)["snapshots"]
        assert 7 <= asked <= 9, "half of the requests is left"
        assert {event.symbol for event in it.events("resync_waits")} == {bad}
        line.act([Resubscribe(good)])
        await until(lambda: it.figures(good)["snapshots"] == 2, 10.0)
        assert it.events("replacing") == []
        assert it.figures(good)["valid"]

    run(okx_collector(few, [bad, good], work), sockets=True)


def test_what_is_asked_for_first_does_not_wait_behind_repairs() -> None:
    heard: list[str] = []

    async def talk(socket: ServerConnection) -> None:
        async for text in socket:
            heard.append(str(text))  # noqa: PERF401 as they come

    async def work() -> float:
        loop = asyncio.get_running_loop()
        async with websocket_venue(talk) as url:
            settings = VenueSettings(symbols=SYMBOLS[:60], websocket_url=url)
            async with live(replace(load("coinbase"), silence_seconds=36_000.0), settings) as it:
                await until(lambda: heard)
                it.collector.shards[0].act([Resubscribe(symbol) for symbol in SYMBOLS[:60]])
                await asyncio.sleep(3.0)
                added = loop.time()
                it.collector.reconfigure(settings.model_copy(update={"symbols": SYMBOLS[:61]}))
                await until(lambda: any(SYMBOLS[60] in text for text in heard))
                asked = loop.time() - added
                await until(lambda: sum("unsubscribe" in text for text in heard) == 60, 60.0)
                return asked

    assert run(work(), sockets=True) <= 1.1, "one turn of the venue's limit"
