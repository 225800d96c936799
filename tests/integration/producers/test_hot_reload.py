"""The configuration changes under load: real processes, the embedded broker, files."""

from __future__ import annotations

import asyncio
import json
import os
import sys
import time
from collections import Counter
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from aiokafka import AIOKafkaConsumer, TopicPartition

from alphapulse import kafka as clients
from alphapulse import topics
from alphapulse.config import KafkaSettings
from schemas.book_reader import BookReader
from schemas.codec import Codec
from schemas.records import Event, L2Update
from tests.fixtures.live import Market, market

ROOT = Path(__file__).resolve().parents[3]
SYMBOLS = ("BTC-USD", "ETH-USD", "SOL-USD")
WITHIN_NS = 5_000_000_000
"""What the change of a file may take to show on a busy machine."""


class Reading:
    """What collectors publish, read as it comes."""

    def __init__(self, consumer: AIOKafkaConsumer) -> None:
        self._consumer = consumer
        self._codec = Codec()
        self.l2: dict[tuple[str, str], list[L2Update]] = {}
        self.events: list[Event] = []

    async def read(self) -> None:
        for messages in (await self._consumer.getmany(timeout_ms=50)).values():
            for message in messages:
                record = self._codec.decode(message.value)
                if isinstance(record, L2Update) and record.kind != "HEARTBEAT":
                    self.l2.setdefault((record.venue, record.symbol), []).append(record)
                elif isinstance(record, Event):
                    self.events.append(record)

    async def until(self, condition: Any, seconds: float = 30.0) -> None:
        async with asyncio.timeout(seconds):
            while not condition():
                await self.read()

    def records(self, symbol: str, venue: str = "kraken") -> list[L2Update]:
        return self.l2.get((venue, symbol), [])

    def deltas(self, symbol: str, venue: str = "kraken") -> int:
        return sum(record.kind == "DELTA" for record in self.records(symbol, venue))

    def valid(self, symbol: str, venue: str = "kraken") -> bool:
        reader = BookReader()
        for record in self.records(symbol, venue):
            reader.apply(record)
        return reader.valid

    def kinds(self, kind: str) -> list[Event]:
        return [event for event in self.events if event.kind == kind]


@asynccontextmanager
async def reading(kafka: KafkaSettings) -> AsyncIterator[Reading]:
    consumer = clients.consumer(kafka, group_id=None, client_id="reader")
    async with clients.running(consumer, kafka):
        names = (topics.L2, topics.EVENTS)
        consumer.assign([TopicPartition(name, number) for name in names for number in range(12)])
        await consumer.seek_to_beginning()
        yield Reading(consumer)


@asynccontextmanager
async def process(*arguments: str, kafka: KafkaSettings, data_dir: Path) -> AsyncIterator[asyncio.subprocess.Process]:
    environment = {
        **os.environ,
        "ALPHAPULSE_DATA_DIR": str(data_dir),
        "ALPHAPULSE_KAFKA__BOOTSTRAP": kafka.bootstrap,
        # On a busy machine frames wait in the socket; what a late book does, test_late_collector asks.
        "ALPHAPULSE_FRESHNESS__MAX_FEED_DELAY_MS": "0",
    }
    with said(data_dir).open("wb") as stderr:
        started = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", *arguments), cwd=ROOT, env=environment, stderr=stderr
        )
    try:
        yield started
    finally:
        if started.returncode is None:
            started.terminate()
            async with asyncio.timeout(20):
                await started.wait()
        sys.stderr.write(said(data_dir).read_text(encoding="utf-8"))


def said(data_dir: Path) -> Path:
    """Return the file with all that the process wrote to standard error."""
    data_dir.mkdir(exist_ok=True)
    return data_dir / "stderr.txt"


def table(venue: Market, symbols: Sequence[str], **others: object) -> str:
    """Return the venue's table of ``exchanges.toml``."""
    quoted = ", ".join(f'"{symbol}"' for symbol in symbols)
    lines = [
        f"[venues.{venue.venue}]",
        f"symbols = [{quoted}]",
        f'websocket_url = "{venue.told["websocket_url"]}"',
        f'rest_url = "{venue.told["rest_url"]}"',
        *(f"{key} = {value}" for key, value in others.items()),
    ]
    return "\n".join(lines) + "\n"


def write(folder: Path, *tables: str) -> int:
    """Write ``exchanges.toml``; return when (ns)."""
    folder.mkdir(exist_ok=True)
    draft = folder / "exchanges.toml.new"
    draft.write_text("\n".join(tables), encoding="utf-8")
    draft.replace(folder / "exchanges.toml")
    return time.time_ns()


def only_epoch(reading: Reading, symbol: str) -> int:
    """Return the epoch of a book that has had one only."""
    epochs = {record.epoch for record in reading.records(symbol)}
    assert len(epochs) == 1, f"{symbol} was disturbed"
    return epochs.pop()


@pytest.mark.parametrize("venue_name", ["kraken", "coinbase", "binance_us"])
async def test_symbols_come_and_go_under_load_and_nothing_else_is_disturbed(
    kafka: KafkaSettings, tmp_path: Path, venue_name: str
) -> None:
    folder = tmp_path / "config"
    async with market(venue_name, *SYMBOLS, rate=300.0) as venue, reading(kafka) as it:
        it_records = partial(it.records, venue=venue_name)
        write(folder, table(venue, ["BTC-USD", "ETH-USD"]))
        arguments = ("producers", venue_name, "--config", str(folder))
        async with process(*arguments, kafka=kafka, data_dir=tmp_path / "data"):
            await it.until(lambda: it.deltas("BTC-USD", venue_name) > 100 and it.deltas("ETH-USD", venue_name) > 100)
            written = write(folder, table(venue, SYMBOLS))
            await it.until(lambda: it.deltas("SOL-USD", venue_name) > 50)
            first = it_records("SOL-USD")[0]
            assert first.kind == "SNAPSHOT"
            assert first.received_time - written < WITHIN_NS
            assert it.kinds("config_change")[-1].details == {"symbols": "+ SOL-USD"}

            written = write(folder, table(venue, ["BTC-USD", "SOL-USD"]))
            await it.until(lambda: it_records("ETH-USD")[-1].kind == "INVALID")
            assert it_records("ETH-USD")[-1].received_time - written < WITHIN_NS
            gone = len(it_records("ETH-USD"))
            count = it.deltas("BTC-USD", venue_name)
            await it.until(lambda: it.deltas("BTC-USD", venue_name) > count + 100)
            assert len(it_records("ETH-USD")) == gone
            for symbol in ("BTC-USD", "SOL-USD"):
                assert {record.kind for record in it_records(symbol)} == {"SNAPSHOT", "DELTA"}
                assert len({record.epoch for record in it_records(symbol)}) == 1, f"{symbol} was disturbed"
                assert it.valid(symbol, venue_name)
            assert len(it.kinds("connected")) == 1


async def test_a_wrong_file_is_refused_with_every_fault_and_all_goes_on(kafka: KafkaSettings, tmp_path: Path) -> None:
    folder = tmp_path / "config"
    async with market("kraken", *SYMBOLS) as venue, reading(kafka) as it:
        write(folder, table(venue, ["BTC-USD"]))
        async with process("producers", "kraken", "--config", str(folder), kafka=kafka, data_dir=tmp_path / "data"):
            await it.until(lambda: it.deltas("BTC-USD") > 20)
            write(folder, table(venue, ["BTC-USD", "eth"], depht=10))
            await it.until(lambda: len(it.kinds("config_refused")) == 1)
            faults = it.kinds("config_refused")[0].details
            assert len(faults) == 2
            assert "not a canonical symbol: 'eth'" in faults["1"]
            assert "did you mean depth?" in faults["2"]
            # What only the venue knows, and what another venue's table gets wrong: refused whole.
            write(folder, table(venue, SYMBOLS, depth=7), '[venues.krakn]\nsymbols = ["BTC-USD"]\n')
            await it.until(lambda: len(it.kinds("config_refused")) == 2)
            text = it.kinds("config_refused")[1].message
            assert "venues.kraken.depth: 7 is not supported" in text
            assert "venues.krakn: unknown venue" in text
            (folder / "exchanges.toml").unlink()
            await it.until(lambda: len(it.kinds("config_refused")) == 3)
            count = it.deltas("BTC-USD")
            await it.until(lambda: it.deltas("BTC-USD") > count + 20)
            only_epoch(it, "BTC-USD")
            assert it.kinds("config_change") == []
            write(folder, table(venue, ["BTC-USD", "ETH-USD"]))
            await it.until(lambda: it.deltas("ETH-USD") > 20)
            only_epoch(it, "BTC-USD")


async def test_a_changed_depth_replaces_the_connection_without_an_invalid_book(
    kafka: KafkaSettings, tmp_path: Path
) -> None:
    folder = tmp_path / "config"
    async with market("kraken", *SYMBOLS) as venue, reading(kafka) as it:
        write(folder, table(venue, ["BTC-USD"], depth=10))
        async with process("producers", "kraken", "--config", str(folder), kafka=kafka, data_dir=tmp_path / "data"):
            await it.until(lambda: it.deltas("BTC-USD") > 20)
            assert len(it.records("BTC-USD")[0].bid_prices) == 10
            written = write(folder, table(venue, ["BTC-USD"], depth=100))
            await it.until(lambda: it.kinds("replaced"))
            snapshots = [record for record in it.records("BTC-USD") if record.kind == "SNAPSHOT"]
            assert snapshots[-1].received_time - written < WITHIN_NS
            assert len(snapshots[-1].bid_prices) > 10
            assert "INVALID" not in {record.kind for record in it.records("BTC-USD")}


async def test_patterns_are_resolved_against_what_the_venue_trades(kafka: KafkaSettings, tmp_path: Path) -> None:
    folder = tmp_path / "config"
    symbols = ("BTC-USDT", "ETH-USDT", "BTC-USDC")
    async with market("binance", *symbols) as venue, reading(kafka) as it:
        write(folder, table(venue, ["BTC-*", "*-GBP"]))
        async with process("producers", "binance", "--config", str(folder), kafka=kafka, data_dir=tmp_path / "data"):
            await it.until(lambda: it.deltas("BTC-USDT", "binance") and it.deltas("BTC-USDC", "binance"))
            assert it.records("ETH-USDT", "binance") == []
            first, second = it.kinds("symbols_resolved")
            assert (first.severity, first.message) == ("INFO", "BTC-* matches 2 symbols: BTC-USDC, BTC-USDT")
            assert (second.severity, second.message) == ("WARNING", "*-GBP matches no instrument of the venue")
            write(folder, table(venue, ["*-USDT"]))
            await it.until(lambda: it.deltas("ETH-USDT", "binance"))
            await it.until(lambda: it.records("BTC-USDC", "binance")[-1].kind == "INVALID")
            assert len({record.epoch for record in it.records("BTC-USDT", "binance")}) == 1


async def test_collect_starts_and_stops_venues_as_the_file_says(kafka: KafkaSettings, tmp_path: Path) -> None:
    folder = tmp_path / "config"
    async with market("kraken", *SYMBOLS) as kraken, market("coinbase", *SYMBOLS) as coinbase, reading(kafka) as it:
        write(folder, table(kraken, ["BTC-USD"]))
        command = ("alphapulse.cli", "--config", str(folder), "collect")
        async with process(*command, kafka=kafka, data_dir=tmp_path / "data") as running:
            await it.until(lambda: it.deltas("BTC-USD") > 20)
            write(folder, table(kraken, ["BTC-USD"]), table(coinbase, ["ETH-USD"]))
            await it.until(lambda: it.deltas("ETH-USD", "coinbase") > 5)
            write(folder, table(kraken, ["BTC-USD"]), table(coinbase, ["ETH-USD"], enabled="false"))
            await it.until(lambda: it.records("ETH-USD", "coinbase")[-1].kind == "INVALID")
            count = it.deltas("BTC-USD")
            await it.until(lambda: it.deltas("BTC-USD") > count + 20)
            only_epoch(it, "BTC-USD")
            assert running.returncode is None
    lines = [json.loads(line) for line in said(tmp_path / "data").read_text(encoding="utf-8").splitlines()]
    told = Counter((line["service"], line["event"]) for line in lines)
    # Where a container's engine looks for logs: also those of the collectors, to their end.
    for service in ("collector-kraken", "collector-coinbase"):
        assert told[service, "ready"] == told[service, "stopped"] == 1
    assert told["collect", "config change"] >= 2
