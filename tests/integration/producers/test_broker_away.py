"""The broker stops answering under a flood: memory stays bounded, nothing is lost in silence, all of it heals."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from alphapulse import topics
from alphapulse.config import KafkaSettings
from producers.simulator.listings import make_listings
from producers.simulator.server import Simulation
from schemas.book_reader import BookReader
from schemas.records import Event, L2Update, Trade
from tests.fixtures.venue_server import until
from tests.integration.producers.test_collecting import ROOT, read_all, status
from tests.integration.producers.test_recording import Frozen, serving

MOST_BYTES = 262_144
MOST_RECORDS = 3_000
SYMBOLS = ("BTC-USD", "ETH-USD")


@asynccontextmanager
async def process(*arguments: str, **environment: str) -> AsyncIterator[asyncio.subprocess.Process]:
    """Run a module; kill it at the end, stopped or not."""
    running = await asyncio.create_subprocess_exec(
        sys.executable, "-m", *arguments, cwd=ROOT, env={**os.environ, **environment}
    )
    try:
        yield running
    finally:
        if running.returncode is None:
            running.kill()
        await running.wait()


def resident_bytes(pid: int) -> int:
    return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


async def test_a_broker_that_stops_under_a_flood(tmp_path: Path) -> None:
    clock = Frozen()
    simulation = Simulation(make_listings(["kraken"], SYMBOLS), seed=3, rate=300.0, clock=clock)
    run = tmp_path / "run"
    async with (
        serving(tmp_path / "s", "simulator", simulation.serve) as told,
        process("alphapulse.brokers.memory.broker", ALPHAPULSE_DATA_DIR=str(tmp_path)) as broker,
    ):
        await until(lambda: (run / "broker.json").exists() and "bootstrap" in (run / "broker.json").read_text(), 20)
        bootstrap = json.loads((run / "broker.json").read_text())["bootstrap"]
        feed = {"symbols": SYMBOLS, "websocket_url": told["venues"]["kraken"]["websocket_url"]}
        settings = {
            "ALPHAPULSE_DATA_DIR": str(tmp_path),
            "ALPHAPULSE_KAFKA__BOOTSTRAP": bootstrap,
            "ALPHAPULSE_VENUES": json.dumps({"kraken": feed}),
            "ALPHAPULSE_PUBLISHER__MAX_IN_FLIGHT": str(MOST_RECORDS),
            "ALPHAPULSE_PUBLISHER__MAX_IN_FLIGHT_BYTES": str(MOST_BYTES),
            "ALPHAPULSE_PUBLISHER__BROKER_PATIENCE_S": "0.5",
        }
        async with process("producers", "kraken", **settings) as collector:
            figures: dict[str, Any] = {}

            async def waiting_for(what: Any) -> None:
                async with asyncio.timeout(60):
                    while not what(figures):
                        await asyncio.sleep(0.02)
                        figures.update(await status(tmp_path, "collector-kraken"))

            await waiting_for(lambda now: now.get("frames_done", 0) > 500)
            before = resident_bytes(collector.pid)
            broker.send_signal(signal.SIGSTOP)
            await waiting_for(lambda now: not now["connected"])
            at_the_bound = figures["in_flight_bytes"], figures["in_flight"], figures["frames"]
            for _ in range(20):  # the venue floods on, but is not read
                figures.update(await status(tmp_path, "collector-kraken"))
                assert (figures["in_flight_bytes"], figures["in_flight"], figures["frames"]) == at_the_bound
            assert at_the_bound[0] >= MOST_BYTES or at_the_bound[1] >= MOST_RECORDS
            assert at_the_bound[0] < MOST_BYTES + 50_000
            assert at_the_bound[1] < MOST_RECORDS + 50
            assert resident_bytes(collector.pid) - before < 40_000_000

            broker.send_signal(signal.SIGCONT)
            await waiting_for(lambda now: now["connected"] and now["frames"] > at_the_bound[2] + 500)
            await clock.stop(simulation)
            sent = -1
            venue = simulation.venues["kraken"]
            while sent != (sent := venue.frames_sent):
                figures.clear()
                await waiting_for(lambda now: now and now["frames_done"] == now["frames"])
            published = await read_all(KafkaSettings(bootstrap=bootstrap), topics.L2, topics.TRADES, topics.EVENTS)
    for symbol in SYMBOLS:
        updates = [record for record in published if isinstance(record, L2Update) and record.symbol == symbol]
        _check_book(simulation, symbol, [update for update in updates if update.kind != "HEARTBEAT"])
        _check_trades(symbol, published)
    (gap,) = [record for record in published if isinstance(record, Event) and record.kind == "disconnected"]
    assert (gap.severity, gap.message) == ("WARNING", "the broker acknowledged nothing for 0.5 s")


def _check_book(simulation: Simulation, symbol: str, updates: list[L2Update]) -> None:
    reader = BookReader()
    for update in updates:
        reader.apply(update)
    market = simulation.market.instruments["kraken", symbol]
    wanted = market.book.sha256(-market.listing.price_decimals, -market.listing.size_decimals)
    assert reader.valid
    assert reader.book.sha256(reader.price_exponent, reader.size_exponent) == wanted
    assert [update.kind for update in updates if update.kind != "DELTA"] == ["SNAPSHOT", "INVALID", "SNAPSHOT"]


def _check_trades(symbol: str, published: list[Any]) -> None:
    ids = [int(record.trade_id) for record in published if isinstance(record, Trade) and record.symbol == symbol]
    gaps = [record for record in published if isinstance(record, Event) and record.kind == "trade_gap"]
    missing = sum(int(gap.details["missing"]) for gap in gaps if gap.symbol == symbol)
    assert len(set(ids)) == len(ids)
    assert max(ids) - min(ids) + 1 - len(ids) == missing
