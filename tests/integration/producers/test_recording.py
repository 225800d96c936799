"""Recording a simulated venue, killing the recorder, and replaying what it wrote."""

from __future__ import annotations

import asyncio
import json
import os
import sys
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from alphapulse.config import PublisherSettings, Settings, VenueSettings
from alphapulse.service import Service, announcement_path
from producers.collector import Collector
from producers.publisher import Publisher
from producers.record.recorder import Recorder
from producers.replay.lines import read
from producers.replay.recording import survey
from producers.replay.server import ReplayServer
from producers.simulator.listings import make_listings
from producers.simulator.server import Simulation
from producers.venues import load
from schemas.book_reader import BookReader
from schemas.codec import Codec
from schemas.records import L2Update, Trade
from tests.fixtures.held_producer import HeldProducer
from tests.fixtures.venue_server import until

ROOT = Path(__file__).resolve().parents[3]


class Frozen:
    """Real time, until it is stopped: the market's last moment, from which on its books stay as they are."""

    def __init__(self) -> None:
        self.stopped_at: int | None = None

    def __call__(self) -> int:
        return self.stopped_at if self.stopped_at is not None else time.time_ns()

    async def stop(self, simulation: Simulation) -> None:
        """Stop, and let what has happened until now go out."""
        last = self.stopped_at = time.time_ns()
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
    return {
        "symbols": ["BTC-USD"],
        "websocket_url": told["websocket_url"],
        "rest_url": told.get("rest_url"),
        **more,
    }


def written(folder: Path, but: Path | None) -> int:
    """Return how much there is in files that are being written."""
    return sum(path.stat().st_size for path in folder.glob("*.part") if path != but)


@pytest.mark.parametrize("venue", ["kraken", "coinbase", "binance_us"])
async def test_a_recording_replayed_gives_the_books_and_trades_of_the_venue(venue: str, tmp_path: Path) -> None:
    clock = Frozen()
    simulation = Simulation(make_listings([venue], ["BTC-USD"]), seed=1, rate=300.0, clock=clock)
    market = simulation.market.instruments[venue, "BTC-USD"]
    async with serving(tmp_path / "s", "simulator", simulation.serve) as told:
        settings = VenueSettings(**feed(told["venues"][venue]))
        recorder = Recorder(load(venue), settings, tmp_path / "out", "record")
        stopping = asyncio.Event()
        work = asyncio.create_task(recorder.run(stopping, lambda state: None))
        await until(lambda: recorder.tape.frames > 400 or work.done(), 30)
        await clock.stop(simulation)
        sent = simulation.venues[venue]
        await until(lambda: recorder.tape.frames >= sent.frames_sent, 30)
        status = recorder.status()
        assert status["connected"]
        stopping.set()
        await work
    tick, lot = -market.listing.price_decimals, -market.listing.size_decimals
    wanted = market.book.sha256(tick, lot)

    (path,) = recorder.tape.files
    replayed = ReplayServer(survey(path), speed=None, paced=False)
    async with serving(tmp_path / "r", "replay", replayed.serve) as told:
        producer, codec = HeldProducer(capacity=10_000, prompt=True), Codec()
        publisher = Publisher(producer, codec, PublisherSettings(linger_ms=0), venue)
        await publisher.start()
        collector = Collector(load(venue), VenueSettings(**feed(told)), publisher, "collector")
        stopping = asyncio.Event()
        work = asyncio.create_task(collector.run(stopping, lambda state: None))
        book = collector.lines

        def caught_up() -> bool:
            state = book[0].protocol.instruments["BTC-USD"].book if book else None
            return state is not None and state.book.sha256(state.price_exponent, state.size_exponent) == wanted

        await until(lambda: work.done() or caught_up(), 30)
        await publisher.flush()
        records = producer.records()
        stopping.set()
        await work
    reader = BookReader()
    for record in records:
        if isinstance(record, L2Update):
            reader.apply(record)
    assert reader.valid
    assert reader.book.sha256(reader.price_exponent, reader.size_exponent) == wanted
    trades = [int(record.trade_id) for record in records if isinstance(record, Trade)]
    assert trades == list(range(trades[0], trades[0] + len(trades)))
    assert len(trades) == status["instruments"]["BTC-USD"]["trades"]


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
