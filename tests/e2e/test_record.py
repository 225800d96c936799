"""``alphapulse record`` on venues of which there is no real recording, and ``alphapulse replay`` of its files."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any

import pytest

from alphapulse.config import Settings
from alphapulse.service import Service, announcement_path
from producers.simulator.listings import make_listings
from producers.simulator.server import Simulation
from tests.e2e.command import ALPHAPULSE, ROOT, alphapulse, environment
from tests.fixtures.venue_server import until

pytestmark = [pytest.mark.slow, pytest.mark.unmeasured]

SYMBOLS = {"alpaca": "AAPL", "coinbase_advanced": "BTC-USD"}
KEYS = {"key": "mine", "secret": "own"}


async def record(folder: Path, *, kilobytes: int) -> list[Path]:
    """Record the venues until so much of each is on the disk, and kill the recorder."""
    listings = [listing for venue, symbol in SYMBOLS.items() for listing in make_listings([venue], [symbol])]
    simulator = Service("simulator", Settings(data_dir=folder / "simulator"))
    life = asyncio.create_task(simulator.live(Simulation(listings, seed=1, rate=200.0).serve))
    try:
        await until(lambda: simulator.ready or life.done(), 30)
        told: dict[str, Any] = json.loads(announcement_path(simulator.settings, "simulator").read_text())["venues"]
        feeds = {
            name: {"symbols": feed["symbols"], "websocket_url": feed["websocket_url"], **KEYS}
            for name, feed in told.items()
        }
        process = await asyncio.create_subprocess_exec(
            *(*ALPHAPULSE, "record", *SYMBOLS, "--out", str(folder / "out")),
            cwd=ROOT,
            env=environment(ALPHAPULSE_DATA_DIR=str(folder / "d"), ALPHAPULSE_VENUES=json.dumps(feeds)),
            stdin=asyncio.subprocess.DEVNULL,
        )

        def written() -> bool:
            sizes = [path.stat().st_size for path in (folder / "out").glob("[!.]*.part")]
            return len(sizes) == len(SYMBOLS) and min(sizes) > kilobytes * 1000

        try:
            await until(lambda: written() or process.returncode is not None, 60)
        finally:
            process.kill()
            await process.wait()
    finally:
        simulator.stopping.set()
        await life
    return sorted((folder / "out").iterdir())


async def test_what_a_killed_recorder_left_is_replayed_to_its_end(tmp_path: Path) -> None:
    files = await record(tmp_path, kilobytes=8)
    assert all(path.name.endswith(".part") for path in files)
    ended = await asyncio.to_thread(alphapulse, "replay", *files, "--data-dir", tmp_path / "data", "--json")
    assert ended.code == 0, ended.err
    rows = {row["venue"]: row for row in ended.json["instruments"]}
    assert {venue: row["symbol"] for venue, row in rows.items()} == SYMBOLS
    for venue, row in rows.items():
        assert row["trades"] == row["clickhouse"]["trades"] == row["parquet"]["trades"] > 50
        assert row["gaps"] == 0
        if venue != "alpaca":
            assert (row["snapshots"], row["book"]["crossed"]) == (1, False)
            assert row["deltas"] > 50
    assert ended.json["run"]["dead_letters"] == 0
    count = "SELECT count() FROM quotes"
    quotes = await asyncio.to_thread(alphapulse, "sql", count, "--data-dir", tmp_path / "data", "--format", "TSV")
    assert int(quotes.out) > 50
