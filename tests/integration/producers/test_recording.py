"""Recording a simulated venue, killing the recorder, and replaying what it wrote."""

from __future__ import annotations

import asyncio
import json
import os
import sys
import time
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any, Final, TypeVar

import pytest

from alphapulse.config import PublisherSettings, Settings, VenueSettings
from alphapulse.service import Service, announcement_path
from producers.collector.collector import Collector
from producers.collector.publisher import Publisher
from producers.feed.book import BookStream
from producers.record.recorder import Recorder
from producers.registry import load, names
from producers.replay.lines import read
from producers.replay.recording import survey
from producers.replay.server import ReplayServer
from producers.simulator import server
from producers.simulator.instrument import SimulatedInstrument
from producers.simulator.listings import make_listings
from producers.simulator.server import Simulation
from schemas.book_reader import BookReader
from schemas.codec import Codec
from schemas.records import Candle, L2Update, Quote, Record, Trade
from tests.fixtures.held_producer import HeldProducer
from tests.fixtures.protocol_run import ProtocolRun
from tests.fixtures.venue_server import until

ROOT = Path(__file__).resolve().parents[3]
S: Final = 1_000_000_000
MINUTE: Final = 60 * S
ACCOUNT: Final[dict[str, Any]] = {"key": "mine", "secret": "own"}
"""The simulated venues, as the replay, take any."""
SYMBOLS: Final = {"binance": "BTC-USDT", "okx": "BTC-USDT"}

T = TypeVar("T", L2Update, Trade, Quote, Candle)


class Frozen:
    """Real time, until it is stopped: the market's last moment, from which on its books stay as they are.

    Args:
        speed: how many times as fast it is.
    """

    def __init__(self, speed: int = 1) -> None:
        self._began = time.time_ns()
        self._speed = speed
        self.stopped_at: int | None = None

    def __call__(self) -> int:
        if self.stopped_at is not None:
            return self.stopped_at
        return self._began + (time.time_ns() - self._began) * self._speed

    async def stop(self, simulation: Simulation) -> None:
        """Stop, and let what has happened until now go out."""
        last = self.stopped_at = self()
        await until(lambda: simulation.reached_ns >= last, 30)


@asynccontextmanager
async def serving(folder: Path, name: str, main: Any) -> AsyncIterator[dict[str, Any]]:
    service = Service(name, Settings(data_dir=folder))
    life = asyncio.create_task(service.live(main))
    try:
        await until(lambda: service.ready or life.done(), 30)
        told: dict[str, Any] = json.loads(announcement_path(service.settings, name).read_text())
        yield told
    finally:
        service.stopping.set()
        await life


def feed(told: dict[str, Any], **more: Any) -> dict[str, Any]:
    asked = ("symbols", "websocket_url", "rest_url", "key", "secret")
    return {name: told[name] for name in asked if name in told} | more


def written(folder: Path, but: Path | None) -> int:
    """Return how much is in files that are being written; one has a hidden name until its first block is in."""
    return sum(path.stat().st_size for path in folder.glob("[!.]*.part") if path != but)


async def record(
    venue: str, symbols: Sequence[str], folder: Path, *, speed: int = 1, **more: Any
) -> tuple[Path, dict[str, Any], dict[str, SimulatedInstrument]]:
    """Record a simulated venue; return the recording, the recorder's status and the markets as they ended.

    The market is as busy at any ``speed``; at a higher one the recording goes on until a minute has ended in it.
    """
    clock = Frozen(speed)
    simulation = Simulation(make_listings([venue], symbols), seed=1, rate=300.0 / speed, clock=clock)
    async with serving(folder / "s", "simulator", simulation.serve) as told:
        settings = VenueSettings(**feed(told["venues"][venue], **ACCOUNT, **more))
        recorder = Recorder(load(venue), settings, folder / "out", "record")
        stopping = asyncio.Event()
        work = asyncio.create_task(recorder.run(stopping, lambda state: None))
        await until(lambda: recorder.tape.frames > 400 or work.done(), 30)
        if speed > 1:
            minute_ends = clock() + -clock() % MINUTE
            await until(lambda: clock() > minute_ends + S, 30)
        await clock.stop(simulation)
        sent = simulation.venues[venue]
        await until(lambda: recorder.tape.frames >= sent.frames_sent, 30)
        status = recorder.status()
        stopping.set()
        await work
    (path,) = recorder.tape.files
    return path, status, {symbol: simulation.market.instruments[venue, symbol] for symbol in symbols}


async def replay(
    path: Path, folder: Path, ended: Callable[[Collector, list[Record]], bool], **more: Any
) -> list[Record]:
    """Return what a collector publishes of a recording until it has ``ended``."""
    found = survey(path)
    assert found.faults == []
    replayed = ReplayServer(found, speed=None, paced=False)
    async with serving(folder / "r", "replay", replayed.serve) as told:
        producer, codec = HeldProducer(prompt=True), Codec()
        publisher = Publisher(producer, codec, PublisherSettings(linger_ms=0), found.venue)
        collector = Collector(load(found.venue), VenueSettings(**feed(told, **more)), publisher, "collector")
        stopping = asyncio.Event()
        work = asyncio.create_task(collector.run(stopping, lambda state: None))

        def caught_up() -> bool:
            return bool(replayed.status()["finished"]) and ended(collector, producer.records())

        await until(lambda: work.done() or caught_up(), 30)
        await publisher.flush()
        records = producer.records()
        stopping.set()
        await work
    return records


def of(kind: type[T], records: list[Record]) -> list[T]:
    return [record for record in records if isinstance(record, kind)]


def timeless(records: Sequence[T]) -> list[T]:
    """Return ``records`` without their times of receipt, which are the collector's own."""
    return [replace(record, received_time=0) for record in records]


def same(stream: BookStream | BookReader, market: SimulatedInstrument) -> bool:
    listing = market.listing
    true = market.book.sha256(-listing.price_decimals, -listing.size_decimals)
    return stream.book.sha256(stream.price_exponent, stream.size_exponent) == true


async def check(
    path: Path, status: dict[str, Any], markets: dict[str, SimulatedInstrument], folder: Path, **more: Any
) -> None:
    """Check that a replay gives the markets' books, and all trades that the recorder saw."""

    def ended(collector: Collector, records: list[Record]) -> bool:
        states = [state for line in collector.shards for state in line.protocol.instruments.values()]
        return len(states) == len(markets) and all(same(state.book, markets[state.symbol]) for state in states)

    records = await replay(path, folder, ended, **more)
    for symbol, market in markets.items():
        reader = BookReader()
        for update in of(L2Update, records):
            if update.symbol == symbol:
                reader.apply(update)
        assert reader.valid
        assert same(reader, market)
        trades = [int(trade.trade_id) for trade in of(Trade, records) if trade.symbol == symbol]
        assert trades == list(range(trades[0], trades[0] + len(trades)))
        assert len(trades) == status["instruments"][symbol]["trades"]


@pytest.mark.parametrize("venue", [name for name in names() if name != "alpaca"])
async def test_a_recording_replayed_gives_the_books_and_trades_of_the_venue(venue: str, tmp_path: Path) -> None:
    path, status, markets = await record(venue, [SYMBOLS.get(venue, "BTC-USD")], tmp_path)
    assert status["connected"]
    await check(path, status, markets, tmp_path)


async def test_what_was_recorded_on_two_connections_is_replayed_on_one_and_on_two(tmp_path: Path) -> None:
    """Of a venue that numbers each connection's frames: none may seem missing."""
    symbols = ["BTC-USD", "ETH-USD"]
    path, status, markets = await record("coinbase_advanced", symbols, tmp_path, symbols_per_connection=1)
    for most in (1, 2):
        await check(path, status, markets, tmp_path / str(most), symbols_per_connection=most)


async def test_a_recording_replayed_gives_the_trades_quotes_and_bars_of_a_venue_without_books(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # The simulation sleeps by its own clock, which here is twenty times too long.
    monkeypatch.setattr(server, "_REST_SECONDS", server._TICK_SECONDS)
    path, status, markets = await record("alpaca", ["AAPL"], tmp_path, speed=20)
    assert status["connected"]
    recorded = ProtocolRun(load("alpaca").protocol(VenueSettings(symbols=("AAPL",), **ACCOUNT)))
    for line in read(path):
        assert line.received_ns is not None
        recorded.frame(line.received_ns, line.frame)
    size = len(recorded.records) + len(recorded.quotes) + len(recorded.candles)

    def ended(collector: Collector, records: list[Record]) -> bool:
        return sum(isinstance(record, Trade | Quote | Candle) for record in records) >= size

    records = await replay(path, tmp_path, ended)
    assert timeless(of(Trade, records)) == timeless(of(Trade, [*recorded.records]))
    assert timeless(of(Quote, records)) == timeless(recorded.quotes)
    assert timeless(of(Candle, records)) == timeless(recorded.candles)
    assert recorded.candles
    trades = [int(trade.trade_id) % 10**19 for trade in of(Trade, records)]
    assert trades == list(range(trades[0], trades[0] + len(trades)))
    assert len(trades) == status["instruments"]["AAPL"]["trades"] > 10
    market = markets["AAPL"]
    last, listing = of(Quote, records)[-1], market.listing
    best = market.book.bids.best_price(), market.book.asks.best_price()
    scale = 10 ** (-last.price_exponent - listing.price_decimals)
    assert (last.bid_price // scale, last.ask_price // scale) == best


async def test_a_killed_recorder_loses_a_moment_and_the_next_one_finishes_its_file(tmp_path: Path) -> None:
    simulation = Simulation(make_listings(["kraken"], ["BTC-USD"]), seed=1, rate=300.0)
    out = tmp_path / "out"
    async with serving(tmp_path / "s", "simulator", simulation.serve) as told:
        environment = {
            **os.environ,
            "ALPHAPULSE_DATA_DIR": str(tmp_path / "d"),
            "ALPHAPULSE_VENUES": json.dumps({"kraken": feed(told["venues"]["kraken"])}),
        }
        arguments = ["-m", "producers.record", "kraken", "--out", str(out)]
        torn: Path | None = None
        for life in (1, 2):
            process = await asyncio.create_subprocess_exec(sys.executable, *arguments, cwd=ROOT, env=environment)
            try:
                await until(lambda old=torn: written(out, old) > 20_000, 30)  # type: ignore[misc]
            finally:
                process.kill() if life == 1 else process.terminate()
                code = await asyncio.wait_for(process.wait(), 20)
            if life == 1:
                (torn,) = out.iterdir()
                with torn.open("ab") as file:
                    file.write(b"\x1f\x8b\x08\x00 half a block")
                left = survey(torn)
                assert left.frames > 50
                assert left.incomplete is not None
                assert left.incomplete.startswith(f"{torn}:{left.frames + 1}: the recording is truncated")
        assert code == 0
    first, second = sorted(out.iterdir())
    assert torn is not None
    assert first.name == torn.name.removesuffix(".part")
    for path in (first, second):
        found = survey(path)
        assert found.incomplete is None
        assert found.faults_total == 0
        assert found.symbols == {"BTC/USD": "BTC-USD"}
    assert sum(1 for _ in read(first)) > 50
