"""Loads that are killed with -9 at any time and repeated: each row is there once, in tables and for consumers."""

from __future__ import annotations

import asyncio
import gzip
import os
import subprocess
import sys
import time
from collections import Counter, defaultdict
from pathlib import Path
from typing import Any

import pytest
from aiokafka import TopicPartition
from aiokafka.structs import ConsumerRecord

from alphapulse import topics
from alphapulse.config import KafkaSettings, Settings, environment
from alphapulse.errors import ServiceError
from alphapulse.kafka import producer, running
from alphapulse.kafka.tail import ends_of, tail_reader
from schemas.book_reader import BookReader
from schemas.codec import Codec
from schemas.records import L2Update, Trade, key_of
from sinks.clickhouse.database import query
from sinks.load.ledger import Ledger
from sinks.load.progress import Shown
from sinks.load.recording import Choice
from sinks.load.running import load, recordings, surveys
from sinks.load.symbols import Symbols
from sinks.load.tables import TableTarget
from sinks.load.topics import HEADER, TopicTarget
from tests.fixtures import live_files
from tests.fixtures.records import trade
from tests.fixtures.sink_process import Process, until
from tests.fixtures.vendor_truth import random_book, random_trades, tardis_books, tardis_trades
from tests.recordings import ours

CODEC = Codec()
TRADES = 130_000
MESSAGES = 8_000


@pytest.fixture
def settings(kafka: KafkaSettings, tmp_path: Path) -> Settings:
    base = Settings(data_dir=tmp_path / "data", kafka=kafka)
    clickhouse = base.clickhouse.model_copy(update={"batch_seconds": 0.2, "ttl_days": {"md.l2": 0.0}})
    return base.model_copy(update={"clickhouse": clickhouse})


def started(settings: Settings, *arguments: str, source: str = "csv") -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-m", "sinks.load", source, *arguments, "--json"],
        env={**os.environ, **environment(settings)},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


async def loaded(settings: Settings, path: Path, to: str = "topics", venue: str | None = None) -> dict[str, Any]:
    """Load a file in this process, whose start costs nothing; return what became of it."""
    shown = Shown(quiet=True)
    files = await asyncio.to_thread(surveys, [path], Symbols(venue, {}, None), shown)
    target = TableTarget(settings, shown.tell) if to == "tables" else TopicTarget(settings, shown.tell)
    await load(files, target, shown, None)
    return files[0].fields()


async def loaded_recording(settings: Settings, path: Path, to: str) -> list[dict[str, Any]]:
    """Load a recording in this process; return what became of its trades and its books."""
    shown = Shown(quiet=True)
    files = await asyncio.to_thread(recordings, [path], Choice(), shown)
    target = TableTarget(settings, shown.tell) if to == "tables" else TopicTarget(settings, shown.tell)
    await load(files, target, shown, None)
    return [one.fields() for one in files]


def long_recording(folder: Path, times: int) -> Path:
    """Write our recording of Kraken again and again, each time later: snapshots anew, trades that are repeated."""
    lines = [line.split(b" ", 1) for line in gzip.decompress(ours("kraken").path.read_bytes()).splitlines()]
    span = int(lines[-1][0]) - int(lines[0][0]) + 1
    path = folder / "kraken_long.rec.gz"
    with gzip.open(path, "wb", compresslevel=1) as file:
        for turn in range(times):
            file.writelines(b"%d %b\n" % (int(time) + turn * span, frame) for time, frame in lines)
    return path


async def held(settings: Settings, topic: str) -> list[ConsumerRecord[bytes, bytes]]:
    """Return what a consumer sees."""
    places = [TopicPartition(topic, number) for number in range(topics.PARTITIONS)]
    found: list[ConsumerRecord[bytes, bytes]] = []
    async with tail_reader(settings.kafka, places, client_id="test") as reader:
        await reader.read(await reader.held(places), lambda _, records: found.extend(records))
    return found


async def published(settings: Settings, topic: str) -> int:
    """Return the number of records that a topic has."""
    places = [TopicPartition(topic, number) for number in range(topics.PARTITIONS)]
    return sum((await ends_of(settings.kafka, places, client_id="test")).values())


def counted(settings: Settings, table: str, identity: str) -> list[int]:
    text = f"SELECT count(), uniqExact({identity}) FROM {table} FORMAT TSV"
    return [int(part) for part in b"".join(query(settings.data_dir, settings.clickhouse.database, text, "TSV")).split()]


@pytest.mark.slow
@pytest.mark.timeout(600)
@pytest.mark.unmeasured
async def test_tables_have_each_row_once_after_kills(settings: Settings, tmp_path: Path) -> None:
    path = tmp_path / "trades.csv"
    path.write_text(random_trades(11, TRADES), encoding="utf-8")
    parts = settings.data_dir / "clickhouse" / "store"
    for kill in range(2):
        process = started(settings, str(path))
        before = live_files.count(parts, "data.bin", "data.mrk*")

        def grown(process: subprocess.Popen[str] = process, before: int = before) -> bool:
            now = live_files.count(parts, "data.bin", "data.mrk*")
            return now > before or process.poll() is not None

        await until(grown, f"life {kill} stores something")
        process.kill()
        await asyncio.to_thread(process.communicate)
    told = await loaded(settings, path, "tables")
    assert told["stored"] + told["present"] == TRADES
    assert await asyncio.to_thread(counted, settings, "trades", "trade_id") == [TRADES, TRADES]
    again = await loaded(settings, path, "tables")
    assert (again["stored"], again["present"]) == (0, TRADES)
    assert await asyncio.to_thread(counted, settings, "trades", "trade_id") == [TRADES, TRADES]


@pytest.mark.slow
@pytest.mark.timeout(600)
@pytest.mark.unmeasured
async def test_a_recording_is_in_tables_once_after_kills(settings: Settings, tmp_path: Path) -> None:
    path = long_recording(tmp_path, 40)
    parts = settings.data_dir / "clickhouse" / "store"
    for kill in range(2):
        process = started(settings, str(path), source="recording")
        before = live_files.count(parts, "data.bin", "data.mrk*")

        def grown(process: subprocess.Popen[str] = process, before: int = before) -> bool:
            return live_files.count(parts, "data.bin", "data.mrk*") > before or process.poll() is not None

        await until(grown, f"life {kill} stores something")
        process.kill()
        await asyncio.to_thread(process.communicate)
    trades, books = await loaded_recording(settings, path, "tables")
    assert trades["records"] == sum(one["trades"] for one in ours("kraken").instruments.values())
    assert (trades["repeated"] + trades["records"], books["repeated"]) == (trades["rows"], 0)
    for one, table, identity in (
        (trades, "trades", "venue, symbol, trade_id"),
        (books, "l2", "venue, symbol, epoch, sequence"),
    ):
        assert one["stored"] + one["present"] == one["records"]
        assert await asyncio.to_thread(counted, settings, table, identity) == [one["records"]] * 2
    again = await loaded_recording(settings, path, "tables")
    assert [(one["stored"], one["present"]) for one in again] == [(0, trades["records"]), (0, books["records"])]


@pytest.mark.slow
@pytest.mark.timeout(600)
@pytest.mark.unmeasured
async def test_consumers_see_a_recording_once_after_kills(settings: Settings, tmp_path: Path) -> None:
    path = long_recording(tmp_path, 20)
    kills = 0
    for topic in (topics.TRADES, topics.L2, topics.L2):
        seen = await published(settings, topic)
        process = started(settings, str(path), "--to", "topics", source="recording")
        while process.poll() is None and await published(settings, topic) <= seen:
            await asyncio.sleep(0.02)
        kills += process.poll() is None
        process.kill()
        await asyncio.to_thread(process.communicate)
    assert kills
    told = await loaded_recording(settings, path, "topics")
    again = await loaded_recording(settings, path, "topics")
    for one, repeated, topic in zip(told, again, (topics.TRADES, topics.L2), strict=True):
        assert (repeated["stored"], repeated["present"]) == (0, one["records"])
        found = await held(settings, topic)
        assert len(found) == one["records"]
        numbers = Counter(value for record in found for name, value in record.headers if name == HEADER)
        assert set(numbers.values()) == {1}
    readers: dict[str, BookReader] = defaultdict(BookReader)
    for record in await held(settings, topics.L2):
        update = CODEC.decode_as(L2Update, record.value or b"")
        assert record.key == key_of(update)
        assert readers[update.symbol].apply(update).value in ("snapshot", "delta", "invalidated")
    assert not any(reader.valid for reader in readers.values())


@pytest.mark.slow
@pytest.mark.timeout(600)
@pytest.mark.unmeasured
async def test_consumers_see_each_record_once_after_kills(settings: Settings, tmp_path: Path) -> None:
    path = tmp_path / "book.csv"
    symbols = ("BTC-USD", "ETH-USD", "SOL-USD")
    path.write_text(random_book(12, MESSAGES, symbols), encoding="utf-8")
    kills = 0
    for _ in range(2):
        seen = await published(settings, topics.L2)
        process = started(settings, str(path), "--to", "topics")
        while process.poll() is None and await published(settings, topics.L2) <= seen:
            await asyncio.sleep(0.05)
        kills += process.poll() is None
        process.kill()
        await asyncio.to_thread(process.communicate)
    assert kills
    told = await loaded(settings, path)
    again = await loaded(settings, path)
    assert (again["stored"], again["present"]) == (0, told["records"])
    found = await held(settings, topics.L2)
    assert len(found) == told["records"]
    numbers = Counter(value for record in found for name, value in record.headers if name == HEADER)
    assert set(numbers.values()) == {1}
    readers: dict[str, BookReader] = defaultdict(BookReader)
    states: Counter[str] = Counter()
    for record in found:
        update = CODEC.decode_as(L2Update, record.value or b"")
        assert record.key == key_of(update)
        outcome = readers[update.symbol].apply(update).value
        assert outcome in ("snapshot", "delta", "invalidated")
        states[update.symbol] += outcome != "invalidated"
    assert states == {symbol: len(of) for symbol, of in tardis_books(path).items()}


@pytest.mark.timeout(600)
async def test_what_is_loaded_into_topics_the_sink_stores(settings: Settings, tmp_path: Path) -> None:
    path = tmp_path / "trades.csv"
    path.write_text(random_trades(13, 300), encoding="utf-8")
    sink = Process("clickhouse", settings)
    try:
        sink.start()
        await until(lambda: sink.status().get("partitions", 0) > 0, "the sink starts")
        told = await loaded(settings, path)
        assert told["stored"] == 300
        await until(lambda: sink.status().get("records", 0) >= 300, "the sink stores")
        assert await asyncio.to_thread(counted, settings, "trades", "trade_id") == [300, 300]
    finally:
        sink.kill()
        sink.log.close()
    records = [CODEC.decode_as(Trade, record.value or b"") for record in await held(settings, topics.TRADES)]
    assert [record.trade_id for record in records] == [one[0] for one in tardis_trades(path)]


async def test_an_instrument_that_is_published_now_is_refused(settings: Settings, tmp_path: Path) -> None:
    path = tmp_path / "trades.csv"
    path.write_text(random_trades(14, 20), encoding="utf-8")
    live = trade(1)
    async with running(producer(settings.kafka, client_id="test"), settings.kafka) as writer:
        # Young as long as the test takes.
        soon = time.time_ns() // 10**6 + 3_600_000
        await writer.send_and_wait(topics.TRADES, CODEC.encode(live), key=b"kraken|BTC-USD", timestamp_ms=soon)
    with pytest.raises(ServiceError, match=r"kraken\|BTC-USD: a collector publishes it now"):
        await loaded(settings, path)
    told = await loaded(settings, path, venue="archive")
    assert told["stored"] == 20


async def test_a_load_whose_records_the_broker_has_dropped_is_done_again(settings: Settings, tmp_path: Path) -> None:
    path = tmp_path / "trades.csv"
    path.write_text(random_trades(15, 20), encoding="utf-8")
    told = await loaded(settings, path)
    ledger = Ledger(settings, settings.kafka.incarnation)
    entry = await ledger.read(told["id"])
    assert entry is not None
    assert (entry.state, entry.records, entry.topic) == ("done", 20, topics.TRADES)
    entry.ends = dict.fromkeys(entry.ends, 0)
    await ledger.write(told["id"], entry)
    assert (await loaded(settings, path))["stored"] == 20
