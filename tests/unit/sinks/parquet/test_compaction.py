from __future__ import annotations

import asyncio
import json
import threading
from dataclasses import replace
from pathlib import Path

import pyarrow as pa
import pyarrow.dataset as ds
import pyarrow.parquet as pq
import pytest
from aiokafka import TopicPartition

from alphapulse.claim import InUse
from alphapulse.topics import EVENTS
from schemas.records import Event
from sinks.columns import batch
from sinks.contract import BatchChunk, Span
from sinks.parquet import local, merging
from sinks.parquet.compaction import Outcome, candidates, compact, settled_hour
from sinks.parquet.names import HOUR_NS, parsed
from sinks.parquet.store import Store, StoreError
from sinks.parquet.verification import verify
from sinks.parquet.writer import ParquetTarget
from tests.fixtures.parquet_files import (
    HOUR,
    KEY,
    L2_KEY,
    SYMBOLS,
    filled,
    found,
    offsets_in,
    paths_in,
    settings_at,
    store_in,
    write,
)
from tests.fixtures.records import START, one_of_each

OTHER = TopicPartition(KEY.topic, 1)
LATER = START // HOUR + 100
"""An hour after all that the tests write."""


def compacted(store: Store, topic: str = KEY.topic) -> list[Outcome]:
    with store.exclusively():
        outcomes = compact(store, topic, before=LATER)
        store.settle(0.0)
    return outcomes


async def test_small_files_become_one_per_hour_and_partition_but_for_the_newest(tmp_path: Path) -> None:
    store = await filled(tmp_path, (6, 6, 6, 6), keys=(KEY, OTHER), hours=2)
    before = ds.dataset(tmp_path / KEY.topic, format="parquet").to_table().sort_by([("_partition", "ascending")])
    outcomes = compacted(store)
    assert [(o.group.partition.partition, len(o.group.files), o.rows, o.reason) for o in outcomes] == [
        (0, 3, 9, ""),
        (1, 3, 9, ""),
        (0, 3, 9, ""),
        (1, 3, 9, ""),
    ]
    names = [path.rpartition("/")[2] for path in paths_in(tmp_path)]
    assert sum(name.startswith("compacted-life-0-0-17") for name in names) == 2
    assert len(names) == 8
    after = ds.dataset(tmp_path / KEY.topic, format="parquet").to_table()
    keys = [("_partition", "ascending"), ("_offset", "ascending")]
    assert after.select(before.column_names).sort_by(keys).equals(before.sort_by(keys))
    assert verify(store, KEY.topic, deep=True).faults == []
    assert [path.name for path in (tmp_path / ".work").iterdir() if path.suffix != ".lock"] == []
    assert compacted(store) == []


@pytest.mark.parametrize("pass_bytes", [1, merging.PASS_BYTES], ids=["instrument by instrument", "all at once"])
async def test_rows_without_venue_or_symbol_come_last(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, pass_bytes: int
) -> None:
    monkeypatch.setattr(merging, "PASS_BYTES", pass_bytes)
    (event,) = [one for one in one_of_each() if isinstance(one, Event)]
    key = TopicPartition(EVENTS, 0)
    target = ParquetTarget(settings_at(tmp_path), "life")
    await target.open()
    for first in (0, 12, 24):
        offsets = list(range(first, first + 12))
        events = [
            replace(event, time=START + n, venue=(None, "okx", "kraken")[n % 3], symbol=(None, "BTC-USD")[n % 2])
            for n in offsets
        ]
        await target.submit(BatchChunk(key, Event, batch(Event, events, 0, offsets)))
        spans = [Span(key, first, first + 11)]
        target.seal(spans)
        await target.write(spans, recovering=False, give_up=asyncio.Event())
    await target.close()
    store = store_in(tmp_path)
    assert [(outcome.rows, outcome.reason) for outcome in compacted(store, key.topic)] == [(24, "")]
    (path,) = paths_in(tmp_path, "compacted*")
    rows = pq.ParquetFile(tmp_path / path).read(["venue", "symbol", "_offset"]).to_pylist()
    places = [tuple(row.values()) for row in rows]
    assert places == sorted(places, key=lambda row: [(value is None, value or 0) for value in row])
    assert sorted(row["_offset"] for row in rows) == list(range(24))
    assert verify(store, key.topic, deep=True).faults == []


async def test_rows_are_sorted_by_instrument_with_statistics_that_prune(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(merging, "ROW_GROUP_ROWS", 10)
    store = await filled(tmp_path, (15, 15, 1))
    compacted(store)
    (path,) = paths_in(tmp_path, "compacted*")
    file = pq.ParquetFile(tmp_path / path)
    groups = [file.metadata.row_group(number) for number in range(file.metadata.num_row_groups)]
    symbol = next(n for n in range(len(file.schema)) if file.schema.column(n).path == "symbol")
    statistics = [group.column(symbol).statistics for group in groups]
    assert [(each.min, each.max) for each in statistics if each is not None] == [(name, name) for name in SYMBOLS]
    order = [file.schema.column(column.column_index).path for column in groups[0].sorting_columns]
    assert order == ["venue", "symbol", "_offset"]
    rows = file.read(["symbol", "_offset"]).to_pylist()
    assert rows == sorted(rows, key=lambda row: (row["symbol"], row["_offset"]))


async def test_in_many_passes_and_group_by_group_the_rows_are_the_same(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, size in (("at-once", merging.PASS_BYTES), ("in-passes", 1)):
        store = await filled(tmp_path / name, (20, 20, 1), keys=(L2_KEY,))
        monkeypatch.setattr(merging, "PASS_BYTES", size)
        monkeypatch.setattr(merging, "ROW_GROUP_ROWS", 3)
        assert [outcome.rows for outcome in compacted(store, L2_KEY.topic)] == [40]
    one, other = (pq.ParquetFile(found(tmp_path / name, "compacted*")).read() for name in ("at-once", "in-passes"))
    assert one.equals(other)


async def test_a_compacted_hour_takes_late_files_in(tmp_path: Path) -> None:
    store = await filled(tmp_path, (5, 5, 5))
    compacted(store)
    target = ParquetTarget(settings_at(tmp_path), "life")
    await target.open()
    for first in (15, 20):
        await write(target, first, 5)
    await target.close()
    assert [len(outcome.group.files) for outcome in compacted(store)] == [3]
    assert offsets_in(tmp_path) == list(range(25))
    assert verify(store, KEY.topic, deep=True).faults == []


async def test_what_may_be_uncommitted_or_not_over_is_left_alone(tmp_path: Path) -> None:
    store = await filled(tmp_path, (5, 5))
    assert candidates(store.files(KEY.topic), before=LATER) == []  # one file is committed, the other may be not
    store = await filled(tmp_path / "more", (5, 5, 5))
    hour = START // HOUR_NS
    assert candidates(store.files(KEY.topic), before=hour) == []
    (group,) = candidates(store.files(KEY.topic), before=hour + 1)
    assert [(file.first, file.last) for file in group.files] == [(0, 4), (5, 9)]
    assert group.name == "md.trades/0 2024-08-08 06"
    assert candidates(store.files(KEY.topic), before=hour + 1, at_least=3) == []


def test_an_hour_is_settled_some_time_after_its_end() -> None:
    assert settled_hour(7_200 + 599, 600) == 1
    assert settled_hour(7_200 + 600, 600) == 2


async def test_lives_of_a_broker_are_not_mixed(tmp_path: Path) -> None:
    for life in ("a", "b"):
        store = await filled(tmp_path, (5, 5, 5), incarnation=life)
    assert [outcome.group.incarnation for outcome in compacted(store)] == ["a", "b"]
    assert offsets_in(tmp_path) == sorted([*range(15), *range(15)])
    assert verify(store, KEY.topic).faults == []


async def test_files_that_overlap_are_named_and_left(tmp_path: Path) -> None:
    store = await filled(tmp_path, (5, 5, 5))
    first = paths_in(tmp_path)[0]
    doubled = first.replace("-0-0-4.", "-0-3-7.")
    (tmp_path / doubled).write_bytes((tmp_path / first).read_bytes())
    (outcome,) = compacted(store)
    assert "overlaps" in outcome.reason
    assert doubled in outcome.reason
    assert len(paths_in(tmp_path)) == 4


async def test_a_broken_file_is_named_and_the_other_groups_are_compacted(tmp_path: Path) -> None:
    store = await filled(tmp_path, (5, 5, 5), keys=(KEY, OTHER))
    broken = next(path for path in paths_in(tmp_path) if "-0-0-4." in path)
    (tmp_path / broken).write_bytes(b"PAR1 no PAR1")
    first, second = compacted(store)
    assert (first.group.partition, second.group.partition) == (OTHER, KEY) or first.reason
    reasons = {outcome.group.partition: outcome.reason for outcome in (first, second)}
    assert reasons[OTHER] == ""
    assert f"{broken} cannot be read" in reasons[KEY]
    assert len(paths_in(tmp_path)) == 3 + 2


async def test_columns_of_a_newer_version_are_kept(tmp_path: Path) -> None:
    store = await filled(tmp_path, (5, 5, 5))
    path = tmp_path / next(name for name in paths_in(tmp_path) if "-0-5-9." in name)
    file = pq.ParquetFile(path)
    newer = file.read().append_column("venue_flag", pa.array(["x"] * 5))
    with pq.ParquetWriter(path, newer.schema, store_schema=False) as writer:
        writer.write_table(newer)
        told = file.metadata.metadata or {}
        writer.add_key_value_metadata({key.decode(): value.decode() for key, value in told.items()})
    assert [outcome.reason for outcome in compacted(store)] == [""]
    rows = pq.ParquetFile(found(tmp_path, "compacted*")).read().sort_by("_offset")
    assert rows.column("venue_flag").to_pylist() == [None] * 5 + ["x"] * 5


async def test_two_compactions_do_not_meet(tmp_path: Path) -> None:
    store = await filled(tmp_path, (5, 5, 5))
    with store.exclusively(), pytest.raises(InUse, match="another compaction, retention or replay is at work"):
        compacted(store_in(tmp_path))
    assert len(compacted(store)) == 1


async def test_a_file_published_during_a_compaction_is_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store = await filled(tmp_path, (5, 5, 5))
    exchange = local.exchange
    place = tmp_path / paths_in(tmp_path)[0].rpartition("/")[0]
    turns: list[threading.Thread] = []

    def published_meanwhile(one: Path, other: Path) -> None:
        """A sink publishes while the folders are exchanged: it has to wait for its turn."""
        draft = tmp_path / ".work" / ".x.tmp"
        draft.write_bytes((tmp_path / paths_in(tmp_path)[0]).read_bytes())
        late = (draft, f"{place.relative_to(tmp_path)}/0a1b-life-0-15-19.parquet")
        turns.append(threading.Thread(target=store_publish, args=(late,)))
        turns[0].start()
        exchange(one, other)

    publisher = store_in(tmp_path)

    def store_publish(late: tuple[Path, str]) -> None:
        publisher.publish([late])

    monkeypatch.setattr(local, "exchange", published_meanwhile)
    compacted(store)
    turns[0].join()
    names = [path.rpartition("/")[2] for path in paths_in(tmp_path)]
    assert "0a1b-life-0-15-19.parquet" in names
    assert "compacted-life-0-0-9.parquet" in names
    assert len(names) == 3


async def test_a_source_that_was_removed_meanwhile_leaves_all_as_it_was(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = await filled(tmp_path, (5, 5, 5))
    merge = merging.merge

    def removed(*arguments: object) -> int:
        rows = merge(*arguments)  # type: ignore[arg-type]
        store.remove([paths_in(tmp_path)[0]])
        return rows

    monkeypatch.setattr("sinks.parquet.compaction.merge", removed)
    (outcome,) = compacted(store)
    assert "was removed meanwhile" in outcome.reason
    assert offsets_in(tmp_path) == list(range(5, 15))
    assert [path.name for path in (tmp_path / ".work").iterdir() if path.suffix != ".lock"] == []


async def test_a_file_system_that_cannot_exchange_is_told_and_nothing_changed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = await filled(tmp_path, (5, 5, 5))
    before = paths_in(tmp_path)
    monkeypatch.setattr("sinks.parquet.local.ctypes.CDLL", lambda *_, **__: object())
    with pytest.raises(StoreError, match="cannot exchange two folders at one instant"):
        compacted(store)
    assert paths_in(tmp_path) == before
    assert [path.name for path in (tmp_path / ".work").iterdir() if path.suffix != ".lock"] == []


async def test_the_metadata_of_a_compacted_file_hold_every_checkpoint(tmp_path: Path) -> None:
    store = await filled(tmp_path, (6, 6, 6), hours=2)
    compacted(store)
    path = found(tmp_path, "compacted*")
    metadata = pq.ParquetFile(path).metadata.metadata or {}
    stored = parsed(path.relative_to(tmp_path).as_posix())
    assert stored is not None
    checkpoints = json.loads(metadata[b"alphapulse.checkpoints"])
    assert [(entry["first"], entry["last"]) for entry in checkpoints] == [(0, 5), (6, 11)]
    assert sum(entry["rows"][str(stored.hour)] for entry in checkpoints) == 6
