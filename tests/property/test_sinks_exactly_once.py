"""Any records in any batches, killed at any moment any number of times: each row is stored exactly once."""

from __future__ import annotations

import asyncio
import gc
import os
import tempfile
from collections import Counter
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
from aiokafka import TopicPartition
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from alphapulse.config import ClickHouseSettings, ParquetSettings, Settings
from schemas.codec import Codec
from sinks.clickhouse.writer import ClickHouseTarget
from sinks.parquet.writer import ParquetTarget
from tests.fixtures.examples import examples
from tests.fixtures.log import Fuse, Killed, Log, Pace
from tests.fixtures.memory_engine import MemoryEngine
from tests.fixtures.records import START, l2, trade
from tests.fixtures.sink_life import decodable, live, uncommitted

KEYS = (TopicPartition("md.trades", 0), TopicPartition("md.trades", 5), TopicPartition("md.l2", 0))
DAY = 86_400 * 10**9
CODEC = Codec()


@st.composite
def logs(draw: st.DrawFn) -> Log:
    """A log of a few messages: trades over several days, L2 records, some of them no records at all."""
    log = Log()
    for number in range(draw(st.integers(1, 30))):
        key = draw(st.sampled_from(KEYS))
        if draw(st.integers(0, 9)) == 0:
            log.append(key, b"no record")
        elif key.topic == "md.l2":
            log.append(key, CODEC.encode(l2(number)))
        else:
            time = START + draw(st.integers(0, 2)) * DAY + number
            log.append(key, CODEC.encode(trade(number, received_time=time)))
    return log


deaths = st.lists(st.integers(1, 25), max_size=5)
slices = st.lists(st.integers(1, 8), max_size=12)
batch_records = st.integers(1, 12)
paces = st.lists(st.integers(0, 8), min_size=1, max_size=6).map(tuple)
"""How long commits and inserts take, in turns of the loop that reads meanwhile."""


def expected(log: Log) -> Counter[tuple[str, int, int, int]]:
    """Topic, partition, offset and price (or sequence) of each row that must be there."""
    rows: Counter[tuple[str, int, int, int]] = Counter()
    for key, messages in log.partitions.items():
        for message in messages:
            if decodable(message.value or b""):
                record: Any = CODEC.decode(message.value or b"")
                figure = record.price if key.topic == "md.trades" else record.sequence
                rows[key.topic, key.partition, message.offset, figure] += 1
    return rows


def assert_commits_in_order(log: Log) -> None:
    last: dict[TopicPartition, int] = {}
    for key, commit in log.history:
        assert commit.offset >= last.get(key, 0)
        last[key] = commit.offset


def in_tables(engine: MemoryEngine) -> Counter[tuple[str, int, int, int]]:
    found: Counter[tuple[str, int, int, int]] = Counter()
    for topic, table, name in (("md.trades", "trades", "price"), ("md.l2", "l2", "sequence")):
        for row in engine.rows_of.get(table, []):
            found[topic, row["_partition"], row["_offset"], row[name]] += 1
    return found


def in_files(root: Path) -> Counter[tuple[str, int, int, int]]:
    found: Counter[tuple[str, int, int, int]] = Counter()
    for path in root.rglob("*.parquet"):
        topic = path.parts[len(root.parts)]
        for row in pq.read_table(path, partitioning=None).to_pylist():
            figure = row["price"] if topic == "md.trades" else row["sequence"]
            found[topic, row["_partition"], row["_offset"], figure] += 1
    return found


@settings(max_examples=examples(80), deadline=None)
@given(
    log=logs(),
    deaths=deaths,
    slices=slices,
    records=batch_records,
    embedded=st.booleans(),
    view=st.booleans(),
    pace=paces,
)
def test_rows_are_in_the_tables_once(
    log: Log,
    deaths: list[int],
    slices: list[int],
    records: int,
    embedded: bool,
    view: bool,
    pace: tuple[int, ...],
) -> None:
    engine = MemoryEngine(embedded=embedded)
    engine.pace = Pace(pace)
    if view:
        engine.views["trades"] = []
    fuses = [Fuse(at) for at in deaths] + [Fuse()]

    async def lives() -> None:
        for fuse in fuses:
            engine.fuse = fuse
            bounds = ClickHouseSettings(batch_records=records)
            target = ClickHouseTarget(bounds, engine, "life-1", asyncio.Event())  # type: ignore[arg-type]
            try:
                await live(log, target, fuse, slices, Pace(pace))
            except Killed:
                continue

    asyncio.run(lives())
    assert uncommitted(log) == {}
    assert_commits_in_order(log)
    assert in_tables(engine) == expected(log)


@settings(max_examples=examples(30), deadline=None)
@given(
    log=logs(),
    slices=slices,
    pace=paces,
    failures=st.lists(st.sampled_from(["", "before", "midway", "after"]), max_size=8),
    records=batch_records,
    embedded=st.booleans(),
)
def test_a_server_that_fails_now_and_then_gets_rows_once(
    log: Log, failures: list[str], records: int, embedded: bool, slices: list[int], pace: tuple[int, ...]
) -> None:
    engine = MemoryEngine(embedded=embedded)
    engine.pace = Pace(pace)
    engine.failures = failures
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("sinks.clickhouse.engine.RETRY_SECONDS", (0.0,))
        target = ClickHouseTarget(ClickHouseSettings(batch_records=records), engine, "life-1", asyncio.Event())  # type: ignore[arg-type]
        asyncio.run(live(log, target, slices=slices, pace=Pace(pace)))
    assert uncommitted(log) == {}
    assert in_tables(engine) == expected(log)


@settings(max_examples=examples(30), deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(log=logs(), deaths=deaths, slices=slices, records=batch_records, pace=paces)
def test_rows_are_in_the_files_once(
    log: Log, deaths: list[int], slices: list[int], records: int, pace: tuple[int, ...]
) -> None:
    with tempfile.TemporaryDirectory() as place, pytest.MonkeyPatch.context() as patch:
        root = Path(place)
        current = Fuse()
        rename = Path.rename

        def dying_rename(self: Path, target: Path) -> Path:
            current.burn()
            done = rename(self, target)
            current.burn()
            return done

        def dying_fsync(handle: int) -> None:
            current.burn()

        patch.setattr(Path, "rename", dying_rename)
        patch.setattr(os, "fsync", dying_fsync)

        async def lives() -> None:
            nonlocal current
            for fuse in [*(Fuse(at) for at in deaths), Fuse()]:
                current = Fuse()
                bounds = ParquetSettings(path=str(root), batch_records=records)
                target = ParquetTarget(Settings(parquet=bounds), "life-1")
                await target.open()
                current = fuse
                try:
                    await live(log, target, fuse, slices, Pace(pace))
                except Killed:
                    die(target)

        # Each death collects garbage, of this example alone: all objects of a test run take a third of a second.
        gc.freeze()
        try:
            asyncio.run(lives())
        finally:
            gc.unfreeze()
        assert uncommitted(log) == {}
        assert_commits_in_order(log)
        assert in_files(root) == expected(log)
        assert list(root.rglob(".*.tmp")) == []


def die(target: ParquetTarget) -> None:
    """Do what the kernel does for a killed process: close its files, as they are."""
    for file in (*target._sealed, *target._open.values()):
        if file._file is not None:
            os.close(os.dup(file._file.fileno()))
            file._file.raw.close()  # type: ignore[attr-defined]
        file._writer = None
    target._thread.shutdown(wait=True)
    gc.collect()
