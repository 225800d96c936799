"""Real sink processes on the embedded broker, killed (-9) again and again under load: nothing lost, nothing doubled."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import random
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import AsyncIterator, Callable, Iterator
from decimal import Decimal
from pathlib import Path
from typing import Any

import pyarrow.dataset as ds
import pytest

from alphapulse.config import KafkaSettings, Settings, environment
from alphapulse.embedded.broker import EmbeddedBroker
from alphapulse.kafka import LagReader, producer, running
from schemas.codec import Codec
from schemas.records import L2Update, Trade, key_of
from tests.fixtures.records import l2, trade

RECORDS = 2_000
KILLS = 4
PATIENCE_SECONDS = 90.0
TOPICS = ("md.trades", "md.l2")


@pytest.fixture
def settings(kafka: KafkaSettings, tmp_path: Path) -> Settings:
    base = Settings(data_dir=tmp_path, kafka=kafka)
    return base.model_copy(
        update={
            "clickhouse": base.clickhouse.model_copy(update={"batch_records": 700, "batch_seconds": 0.2}),
            "parquet": base.parquet.model_copy(update={"topics": TOPICS, "batch_records": 700, "batch_seconds": 0.2}),
        }
    )


class Process:
    """One life after the other of a sink's process."""

    def __init__(self, target: str, settings: Settings) -> None:
        self.target = target
        self.settings = settings
        self._running: subprocess.Popen[bytes] | None = None
        self.log = (settings.data_dir / f"{target}.log").open("ab")

    def start(self) -> None:
        self._running = subprocess.Popen(
            [sys.executable, "-m", "sinks", self.target],
            env={**os.environ, **environment(self.settings)},
            stdout=self.log,
            stderr=self.log,
        )

    def kill(self) -> None:
        if self._running is not None:
            self._running.kill()
            self._running.wait()

    def stop(self) -> int:
        assert self._running is not None
        self._running.terminate()
        return self._running.wait(timeout=30)

    def alive(self) -> bool:
        return self._running is not None and self._running.poll() is None

    def ask(self, path: str, body: bytes | None = None) -> Any:
        told = json.loads((self.settings.data_dir / "run" / f"sink-{self.target}.json").read_text())
        assert told["pid"] == (self._running.pid if self._running is not None else 0)
        request = urllib.request.Request(f"http://127.0.0.1:{told['ops_port']}{path}", data=body)
        with urllib.request.urlopen(request, timeout=30) as answer:  # noqa: S310 loopback
            return json.loads(answer.read())

    def status(self) -> dict[str, Any]:
        try:
            found: dict[str, Any] = self.ask("/status")
        except (OSError, AssertionError, json.JSONDecodeError, urllib.error.URLError):
            return {}
        return found


@pytest.fixture(params=["clickhouse", "parquet"])
def process(request: pytest.FixtureRequest, settings: Settings) -> Iterator[Process]:
    made = Process(request.param, settings)
    yield made
    made.kill()
    made.log.close()


async def until(condition: Callable[[], bool], what: str) -> None:
    deadline = time.monotonic() + PATIENCE_SECONDS
    while not await asyncio.to_thread(condition):
        assert time.monotonic() < deadline, what
        await asyncio.sleep(0.05)


@contextlib.asynccontextmanager
async def load(settings: Settings) -> AsyncIterator[tuple[list[Trade], list[L2Update]]]:
    """Publish trades and L2 records of several instruments for as long as the block takes, at least RECORDS each."""
    trades: list[Trade] = []
    updates: list[L2Update] = []
    codec = Codec()
    enough = asyncio.Event()

    async def publish() -> None:
        async with running(producer(settings.kafka, client_id="load"), settings.kafka) as sink:
            while len(trades) < RECORDS or not enough.is_set():
                for _ in range(10):
                    number = len(trades)
                    # Three seconds before midnight: the rows span two days, months' ends aside.
                    trades.append(trade(number, symbol=f"BTC-U{number % 5}"))
                    updates.append(l2(number, symbol=f"BTC-U{number % 5}"))
                    for record in (trades[-1], updates[-1]):
                        topic = TOPICS[isinstance(record, L2Update)]
                        await sink.send(topic, codec.encode(record), key=key_of(record))
                await asyncio.sleep(0.02)

    task = asyncio.create_task(publish())
    try:
        yield trades, updates
    finally:
        enough.set()
        await task


async def all_committed(settings: Settings, group: str) -> None:
    deadline = time.monotonic() + PATIENCE_SECONDS
    async with LagReader(settings.kafka, {group: TOPICS}) as reader:
        while (left := (await reader.read())[group].total) > 0:
            assert time.monotonic() < deadline, f"{left} records are left unread"
            await asyncio.sleep(0.1)


async def test_killed_at_random_moments_under_load(
    process: Process, settings: Settings, broker: EmbeddedBroker
) -> None:
    chance = random.Random(20260301)
    async with load(settings) as (trades, updates):
        for _ in range(KILLS):
            process.start()
            await until(lambda: process.status().get("batches", 0) >= 1, "the sink does not come up")
            await asyncio.sleep(chance.uniform(0.0, 0.4))
            process.kill()
        process.start()
        await until(lambda: process.status().get("batches", 0) >= 1, "the sink does not come up")
    group = (settings.clickhouse if process.target == "clickhouse" else settings.parquet).group
    await all_committed(settings, group)
    assert process.alive()
    rows = await asyncio.to_thread(_in_tables if process.target == "clickhouse" else _in_files, process)
    assert rows == {
        "trades": [len(trades), len(trades), _notional(trades)],
        "l2": [len(updates), len(updates), sum(sum(update.bid_sizes) for update in updates)],
    }
    assert await asyncio.to_thread(process.stop) == 0
    assert list(settings.data_dir.rglob(".*.tmp")) == []


def _notional(trades: list[Trade]) -> str:
    total = sum((Decimal(t.price).scaleb(-2) * Decimal(t.size).scaleb(-8) for t in trades), Decimal(0))
    return format(total.normalize(), "f")


def _in_tables(process: Process) -> dict[str, list[Any]]:
    queries = {
        "trades": "SELECT (SELECT count() FROM trades), (SELECT uniqExact(symbol, trade_id) FROM trades), "
        "toString(sum(notional)) FROM v_trades",
        "l2": "SELECT count(), uniqExact(symbol, sequence), toInt64(sum(arraySum(bid_sizes))) FROM l2",
    }
    found: dict[str, list[Any]] = {}
    for name, query in queries.items():
        row = process.ask("/sql?format=JSONCompact", query.encode())["data"][0]
        found[name] = [int(row[0]), int(row[1]), row[2] if name == "trades" else int(row[2])]
    return found


def _in_files(process: Process) -> dict[str, list[Any]]:
    root = process.settings.data_dir / "parquet"
    trades = ds.dataset(root / "md.trades", format="parquet").to_table().to_pylist()
    updates = ds.dataset(root / "md.l2", format="parquet").to_table().to_pylist()
    notional = sum((Decimal(r["price"]).scaleb(-2) * Decimal(r["size"]).scaleb(-8) for r in trades), Decimal(0))
    return {
        "trades": [len(trades), len({(r["symbol"], r["trade_id"]) for r in trades}), format(notional.normalize(), "f")],
        "l2": [
            len(updates),
            len({(r["symbol"], r["sequence"]) for r in updates}),
            sum(sum(r["bid_sizes"]) for r in updates),
        ],
    }
