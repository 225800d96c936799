from __future__ import annotations

import fcntl
import json
from pathlib import Path

import pyarrow.parquet as pq
import pytest
from aiokafka import TopicPartition

from schemas.records import Trade
from sinks.columns import batch, schema
from sinks.parquet.encodings import options
from sinks.parquet.files import WRITER, FolderFile, open_draft, remove_dead_drafts
from sinks.parquet.names import HOUR_NS, hour_folder
from tests.fixtures.records import START, trade

KEY = TopicPartition("md.trades", 3)
HOUR = START // HOUR_NS
FOLDER = hour_folder("md.trades", HOUR)


def open_file(drafts: Path) -> FolderFile:
    return FolderFile(drafts, KEY, FOLDER, "life-1", schema(Trade), options(Trade))


def rows(first: int, count: int) -> object:
    offsets = list(range(first, first + count))
    return batch(Trade, [trade(number) for number in offsets], 3, offsets)


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_a_finished_draft_is_named_by_hour_and_range_and_knows_its_rows(tmp_path: Path) -> None:
    file = open_file(tmp_path)
    file.add(rows(100, 5))  # type: ignore[arg-type]
    file.finish(98, 106, {FOLDER: 5, hour_folder("md.trades", HOUR + 1): 2})
    draft, path = file.target(98, 106)
    assert path == f"md.trades/date=2024-08-08/hour=06/{WRITER}-life~2d~1-3-98-106.parquet"
    found = pq.ParquetFile(draft)
    metadata = {key.decode(): value.decode() for key, value in (found.metadata.metadata or {}).items()}
    assert {key: metadata[f"alphapulse.{key}"] for key in ("topic", "partition", "incarnation", "rows")} == {
        "topic": "md.trades",
        "partition": "3",
        "incarnation": "life-1",
        "rows": "5",
    }
    assert (metadata["alphapulse.first_offset"], metadata["alphapulse.last_offset"]) == ("100", "104")
    assert json.loads(metadata["alphapulse.checkpoints"]) == [
        {"first": 98, "last": 106, "rows": {str(HOUR): 5, str(HOUR + 1): 2}}
    ]
    assert found.read().column("price").to_pylist() == [trade(number).price for number in range(100, 105)]
    file.close()
    assert names(tmp_path) == []


def test_row_groups_say_by_what_they_are_sorted(tmp_path: Path) -> None:
    file = open_file(tmp_path)
    file.add(rows(0, 5))  # type: ignore[arg-type]
    file.finish(0, 4, {FOLDER: 5})
    found = pq.ParquetFile(file.target(0, 4)[0])
    (column,) = found.metadata.row_group(0).sorting_columns
    assert found.schema.column(column.column_index).path == "_offset"
    file.close()


def test_a_growing_file_is_hidden_and_its_row_groups_are_written_as_it_grows(tmp_path: Path) -> None:
    file = open_file(tmp_path)
    file.add(rows(0, 10))  # type: ignore[arg-type]
    assert file.pending_bytes > 0
    file.write_group()
    assert file.pending_bytes == 0
    (draft,) = names(tmp_path)
    assert draft.startswith(".")
    assert draft.endswith(".tmp")
    file.add(rows(10, 7))  # type: ignore[arg-type]
    file.finish(0, 16, {FOLDER: 17})
    found = pq.ParquetFile(file.target(0, 16)[0])
    assert [found.metadata.row_group(n).num_rows for n in range(found.metadata.num_row_groups)] == [10, 7]
    file.close()


def test_a_file_that_was_published_stays_when_it_is_closed(tmp_path: Path) -> None:
    drafts = tmp_path / "drafts"
    drafts.mkdir()
    file = open_file(drafts)
    file.add(rows(0, 10))  # type: ignore[arg-type]
    file.finish(0, 9, {FOLDER: 10})
    draft, _ = file.target(0, 9)
    draft.rename(tmp_path / "published")
    file.close()
    assert names(tmp_path) == ["drafts", "published"]
    assert pq.ParquetFile(tmp_path / "published").metadata.num_rows == 10


def test_a_closed_file_leaves_nothing(tmp_path: Path) -> None:
    for written in (False, True):
        file = open_file(tmp_path)
        file.add(rows(0, 10))  # type: ignore[arg-type]
        if written:
            file.write_group()
        file.close()
        file.close()
        assert names(tmp_path) == []


def test_out_of_order_calls_are_refused(tmp_path: Path) -> None:
    file = open_file(tmp_path)
    with pytest.raises(RuntimeError, match="before finish"):
        file.target(0, 1)
    with pytest.raises(RuntimeError, match="without rows"):
        file.finish(0, 1, {})
    file.close()


def test_drafts_of_the_dead_are_removed_and_of_the_living_kept(tmp_path: Path) -> None:
    dead, alive, foreign = tmp_path / ".dead.tmp", tmp_path / ".alive.tmp", tmp_path / "notes"
    dead.write_bytes(b"")
    foreign.write_bytes(b"")
    with open_draft(alive):
        assert remove_dead_drafts(tmp_path) == 1
        assert names(tmp_path) == [".alive.tmp", "notes"]
    assert remove_dead_drafts(tmp_path) == 1
    assert names(tmp_path) == ["notes"]


def test_a_draft_removed_between_its_creation_and_its_lock_is_made_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / ".x.tmp"
    lock = fcntl.flock
    calls: list[int] = []

    def swept(file: object, how: int) -> None:
        if not calls:
            path.unlink()
        calls.append(how)
        lock(file, how)  # type: ignore[arg-type]

    monkeypatch.setattr(fcntl, "flock", swept)
    with open_draft(path) as file:
        file.write(b"x")
    assert path.read_bytes() == b"x"
    assert len(calls) == 2
