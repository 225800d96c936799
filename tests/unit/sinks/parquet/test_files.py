from __future__ import annotations

import fcntl
from pathlib import Path

import pyarrow.parquet as pq
import pytest
from aiokafka import TopicPartition

from schemas.records import Trade
from sinks.columns import batch, schema
from sinks.parquet.encodings import options
from sinks.parquet.files import (
    HOUR_NS,
    HourFile,
    Stored,
    hour_folder,
    make_folder,
    remove_dead_drafts,
    safe_name,
    stored,
)
from tests.fixtures.records import START, trade

KEY = TopicPartition("md.trades", 3)
HOUR = START // HOUR_NS


def open_file(root: Path, incarnation: str = "life-1") -> HourFile:
    return HourFile(root, KEY, HOUR, incarnation, schema(Trade), options(Trade))


def rows(first: int, count: int) -> object:
    offsets = list(range(first, first + count))
    return batch(Trade, [trade(number) for number in offsets], 3, offsets)


def write(root: Path, first: int, count: int, incarnation: str = "life-1") -> Stored:
    file = open_file(root, incarnation)
    file.add(rows(first, count))  # type: ignore[arg-type]
    file.finish()
    return file.publish()


def test_a_file_is_named_by_hour_and_offsets_and_knows_them(tmp_path: Path) -> None:
    written = write(tmp_path, 100, 5)
    folder = tmp_path / "md.trades" / "date=2024-08-08" / "hour=06"
    assert written.path.parent == folder
    assert written.path.name.endswith("-life~2d~1-3-100-104.parquet")
    assert (written.first, written.last, written.rows) == (100, 104, 5)
    found = pq.ParquetFile(written.path)
    metadata = {key.decode(): value.decode() for key, value in (found.metadata.metadata or {}).items()}
    assert {key: metadata[f"alphapulse.{key}"] for key in ("topic", "partition", "incarnation")} == {
        "topic": "md.trades",
        "partition": "3",
        "incarnation": "life-1",
    }
    assert (metadata["alphapulse.first_offset"], metadata["alphapulse.last_offset"]) == ("100", "104")
    assert found.read().column("price").to_pylist() == [trade(number).price for number in range(100, 105)]
    assert list(stored(tmp_path, "md.trades", "life-1")) == [Stored(written.path, KEY, 100, 104)]
    assert list(stored(tmp_path, "md.trades", "life-2")) == []
    assert list(folder.glob(".*")) == []


def test_a_growing_file_is_hidden_and_its_row_groups_are_written_as_it_grows(tmp_path: Path) -> None:
    file = open_file(tmp_path)
    file.add(rows(0, 10))  # type: ignore[arg-type]
    assert file.pending_bytes > 0
    file.write_group()
    assert file.pending_bytes == 0
    (draft,) = [path for path in tmp_path.rglob("*") if path.is_file()]
    assert draft.name.startswith(".")
    assert draft.name.endswith(".tmp")
    file.add(rows(10, 7))  # type: ignore[arg-type]
    file.finish()
    found = pq.ParquetFile(file.publish().path)
    assert [found.metadata.row_group(n).num_rows for n in range(found.metadata.num_row_groups)] == [10, 7]


def test_an_abandoned_file_leaves_nothing(tmp_path: Path) -> None:
    for written in (False, True):
        file = open_file(tmp_path)
        file.add(rows(0, 10))  # type: ignore[arg-type]
        if written:
            file.write_group()
        file.abandon()
        file.abandon()
        assert [path for path in tmp_path.rglob("*") if path.is_file()] == []


def test_out_of_order_calls_are_refused(tmp_path: Path) -> None:
    file = open_file(tmp_path)
    with pytest.raises(RuntimeError, match="before finish"):
        file.publish()


def test_drafts_of_the_dead_are_removed_and_of_the_living_kept(tmp_path: Path) -> None:
    folder = hour_folder(tmp_path, "md.trades", HOUR)
    make_folder(folder)
    dead = folder / ".0a1b-old~2d~life-3-17.tmp"
    alive = folder / ".0a1c-life-3-18.tmp"
    others = folder / ".0a1d-life-4-18.tmp"
    strange = folder / ".something.tmp"
    for path in (dead, alive, others, strange):
        path.write_bytes(b"")
    with alive.open("rb") as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        assert remove_dead_drafts(tmp_path, [KEY]) == 1
    assert sorted(folder.iterdir()) == sorted([alive, others, strange])
    assert remove_dead_drafts(tmp_path, [KEY]) == 1


def test_hours_before_1970_have_folders_too(tmp_path: Path) -> None:
    assert hour_folder(tmp_path, "x", -1) == tmp_path / "x" / "date=1969-12-31" / "hour=23"


@pytest.mark.parametrize("name", ["plain_1.2", "embedded-0f", "a/b", "a~b", "ü"])
def test_names_of_incarnations_are_safe_and_distinct(name: str) -> None:
    safe = safe_name(name)
    assert not set(safe) & set("-/")
    assert safe_name(name + "-") != safe_name(name + "/")


def test_files_that_are_not_ours_are_left_alone(tmp_path: Path) -> None:
    folder = hour_folder(tmp_path, "md.trades", HOUR)
    make_folder(folder)
    (folder / "notes.parquet").write_bytes(b"")
    assert list(stored(tmp_path, "md.trades", "life-1")) == []
