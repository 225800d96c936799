"""The ordinary collector on the venue replay and on the simulated venues: what it holds is what they sent."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from alphapulse.config import PublisherSettings, Settings
from alphapulse.service import Service, announcement_path
from producers.collector.collector import Collector
from producers.collector.publisher import Publisher
from producers.registry import load
from producers.replay.recording import survey
from producers.replay.server import ReplayServer
from producers.simulator.listings import make_listings
from producers.simulator.market import Market
from producers.simulator.server import Simulation, feed_of
from producers.venue_server.session import BOOK, TRADES, VenueSubscription
from schemas.book_reader import BookReader
from schemas.codec import Codec
from schemas.records import Candle, Event, L2Update, Quote, Trade
from tests.fixtures.held_producer import HeldProducer
from tests.fixtures.venue_samples import samples
from tests.fixtures.venue_server import until
from tests.recordings import OURS, Recording, found, of, ours


class Collecting:
    """A collector with what it published."""

    def __init__(self, collector: Collector, producer: HeldProducer) -> None:
        self.collector = collector
        self._producer = producer

    def status(self) -> dict[str, Any]:
        return self.collector.status()

    def records(self) -> list[Any]:
        return list(self._producer.records())

    def trades(self, symbol: str) -> list[int]:
        records = self._producer.records()
        return [int(r.trade_id) for r in records if isinstance(r, Trade) and r.symbol == symbol]

    def digest(self, symbol: str) -> tuple[bool, str]:
        """Return whether the published book is valid, and its digest."""
        reader = BookReader()
        for record in self._producer.records():
            if isinstance(record, L2Update) and record.symbol == symbol:
                reader.apply(record)
        return reader.valid, reader.book.sha256(reader.price_exponent, reader.size_exponent)


@asynccontextmanager
async def collecting(venue: str, told: dict[str, Any]) -> AsyncIterator[Collecting]:
    """Run the collector on the addresses that a server announced."""
    feed = {name: told[name] for name in ("websocket_url", "rest_url")}
    feed |= {"symbols": tuple(told["symbols"]), "depth": told.get("depth")}
    settings = samples(venue).settings.model_copy(update=feed)
    producer = HeldProducer(prompt=True)
    publisher = Publisher(producer, Codec(), PublisherSettings(linger_ms=0), venue)
    collector = Collector(load(venue), settings, publisher, f"collector-{venue}")
    stopping = asyncio.Event()
    work = asyncio.create_task(collector.run(stopping, lambda _: None))
    try:
        yield Collecting(collector, producer)
    finally:
        stopping.set()
        async with asyncio.timeout(10):
            await work


@asynccontextmanager
async def serving(serve: Callable[[Service], Any], folder: Path) -> AsyncIterator[dict[str, Any]]:
    """Run a server; yield what it announces."""
    service = Service("venue", Settings(data_dir=folder))
    work = asyncio.create_task(serve(service))
    try:
        await until(lambda: service.ready or work.done())
        yield json.loads(announcement_path(service.settings, "venue").read_text())
    finally:
        service.stopping.set()
        async with asyncio.timeout(10):
            await work


@pytest.mark.parametrize(
    ("recording", "speed", "paced"),
    [
        # As the replay command does it, each; without pace ours, since that is the server's, whatever it plays.
        *((recording, None, True) for recording in found()),
        *((recording, None, False) for recording in of(OURS)),
        (ours("binance_us"), 30.0, False),
        (ours("kraken"), 30.0, True),
    ],
    ids=str,
)
async def test_a_replayed_recording_gives_the_expected_figures(
    recording: Recording, tmp_path: Path, speed: float | None, paced: bool
) -> None:
    server = ReplayServer(survey(recording.path), speed=speed, paced=paced)
    async with serving(server.serve, tmp_path) as told:
        assert told["venue"] == recording.venue
        async with collecting(told["venue"], told) as collected:

            def done() -> bool:
                status = server.status()
                sent = status["websocket_frames_sent"] + status["control_frames_sent"]
                taken = collected.status()["frames_done"] >= sent
                if paced and taken:  # as the replay command does it: a window beyond what has been taken
                    server.credit.grant(status["bytes_sent"] + 100_000)
                return bool(status["finished"]) and taken

            await until(done, 60)
            status = collected.status()
            assert server.status()["faults"] == []
            assert server.status()["reconnects"] == 0
            for symbol, figures in recording.instruments.items():
                counted = status["instruments"][symbol]
                wanted = {key: value for key, value in figures.items() if key != "book"}
                assert {key: counted[key] for key in wanted} == wanted, symbol
                assert collected.digest(symbol) == (figures["snapshots"] > 0, figures["book"]["sha256"]), symbol
            assert status["dead_letters"] == 0


@pytest.mark.parametrize(
    "venue", ["kraken", "coinbase", "coinbase_advanced", "binance", "binance_us", "okx", "bitstamp"]
)
async def test_a_collector_follows_a_simulated_venue_to_its_true_books(tmp_path: Path, venue: str) -> None:
    symbols = ["BTC-USDT", "ETH-USDT"] if venue == "binance" else ["BTC-USD", "ETH-USD"]
    simulation = Simulation(make_listings([venue], symbols), seed=5, rate=300.0)
    async with serving(simulation.serve, tmp_path) as announced:
        told = announced["venues"][venue]
        async with collecting(venue, told) as collected:

            def figures() -> list[dict[str, Any]]:
                return [collected.status()["instruments"].get(symbol, {}) for symbol in symbols]

            await until(lambda: all(f.get("deltas", 0) > 300 and f.get("trades", 0) > 30 for f in figures()), 30)
            simulation.market.pause(3600 * 10**9)  # nothing happens any more; what was sent arrives

            def arrived() -> bool:
                return all(
                    collected.digest(symbol)
                    == (True, part.book.sha256(-part.listing.price_decimals, -part.listing.size_decimals))
                    for (_, symbol), part in simulation.market.instruments.items()
                )

            await until(arrived, 20)
            status = collected.status()
            assert status["dead_letters"] == 0
            for symbol in symbols:
                counted = status["instruments"][symbol]
                assert (counted["gaps"], counted["checksums_bad"], counted["snapshots"]) == (0, 0, 1)
                trades = collected.trades(symbol)
                assert trades == list(range(trades[0], trades[0] + len(trades)))
                assert trades[-1] == simulation.market.instruments[venue, symbol].trades
            assert (status["instruments"]["BTC-" + symbols[0][4:]]["checksums_ok"] > 300) == (venue == "kraken")


async def test_a_recording_of_a_venue_that_brings_its_own_look_is_replayed(tmp_path: Path) -> None:
    (listing,) = make_listings(["okx"], ["BTC-USDT"])
    market = Market([listing], seed=3, rate=100.0, start_ns=1_700_000_000 * 10**9)
    instrument = market.instruments["okx", "BTC-USDT"]
    feed = feed_of("okx")([instrument])
    subscriptions = [VenueSubscription(BOOK, "BTC-USDT", "books"), VenueSubscription(TRADES, "BTC-USDT", "trades")]
    topics = {feed.topic(subscription): None for subscription in subscriptions}
    frames = [b'{"event":"subscribe","arg":{"channel":"books","instId":"BTC-USDT"}}', b"pong"]
    frames += [frame for subscription in subscriptions for frame in feed.opening(subscription, 1)]
    for event in market.advance(1_700_000_005 * 10**9):
        frames += [frame for _, frame in feed.frames(event, topics)]
    path = tmp_path / "made.rec"
    path.write_bytes(b"".join(b"%d %s\n" % (1_700_000_000 * 10**9 + n, frame) for n, frame in enumerate(frames)))
    server = ReplayServer(survey(path), speed=None, paced=False)
    async with serving(server.serve, tmp_path) as told:
        assert (told["venue"], told["symbols"]) == ("okx", ["BTC-USDT"])
        async with collecting("okx", told) as collected:
            true = instrument.book.sha256(-listing.price_decimals, -listing.size_decimals)
            await until(lambda: collected.digest("BTC-USDT") == (True, true), 20)
            assert collected.trades("BTC-USDT")[-1] == instrument.trades
            assert server.status()["faults"] == []


async def test_a_collector_follows_a_venue_without_books(tmp_path: Path) -> None:
    symbols = ["AAPL", "MSFT"]
    simulation = Simulation(make_listings(["alpaca"], symbols), seed=5, rate=200.0)
    async with (
        serving(simulation.serve, tmp_path) as announced,
        collecting("alpaca", announced["venues"]["alpaca"]) as collected,
    ):

        def best(symbol: str) -> tuple[int, int] | None:
            quotes = [one for one in collected.records() if isinstance(one, Quote) and one.symbol == symbol]
            return (quotes[-1].bid_price, quotes[-1].ask_price) if len(quotes) > 200 else None

        await until(lambda: all(best(symbol) for symbol in symbols), 30)
        simulation.market.pause(3600 * 10**9)

        def arrived() -> bool:
            for (_, symbol), part in simulation.market.instruments.items():
                bid, ask, scale = part.book.bids.best_price(), part.book.asks.best_price(), 8
                assert bid is not None
                assert ask is not None
                factor = 10 ** (scale - part.listing.price_decimals)
                if best(symbol) != (bid * factor, ask * factor):
                    return False
            return True

        await until(arrived, 20)
        assert collected.status()["dead_letters"] == 0
        for symbol in symbols:
            trades = [number % 10**19 for number in collected.trades(symbol)]
            assert trades == list(range(trades[0], trades[0] + len(trades)))
        events = [one.kind for one in collected.records() if isinstance(one, Event)]
        assert "subscribed" in events
        assert not {"subscription_refused", "mute"} & set(events)
        assert not any(isinstance(one, L2Update) for one in collected.records())
        assert all(one.venue == "alpaca_bars" for one in collected.records() if isinstance(one, Candle))
