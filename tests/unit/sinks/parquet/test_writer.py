from __future__ import annotations

import asyncio
from pathlib import Path

import pyarrow.dataset as ds
import pytest
from aiokafka import TopicPartition

from alphapulse.config import ParquetSettings, Settings
from alphapulse.errors import ServiceError
from schemas.codec import Codec
from schemas.records import Trade
from sinks.columns import batch
from sinks.contract import BatchChunk, Commit, Span
from sinks.parquet import writer
from sinks.parquet.places import configured
from sinks.parquet.writer import ParquetTarget
from tests.fixtures.log import Log
from tests.fixtures.records import SECOND, START, trade
from tests.fixtures.sink_life import live

KEY = TopicPartition("md.trades", 0)
HOUR = 3600 * SECOND
CODEC = Codec()


def target_in(root: Path, incarnation: str = "life-1") -> ParquetTarget:
    return ParquetTarget(Settings(parquet=ParquetSettings(path=str(root))), incarnation)


def chunk(first: int, count: int, *, hours: int = 1, key: TopicPartition = KEY) -> BatchChunk:
    offsets = list(range(first, first + count))
    records = [trade(n, received_time=START + n % hours * HOUR) for n in offsets]
    return BatchChunk(key, Trade, batch(Trade, records, key.partition, offsets))


async def write(target: ParquetTarget, first: int, count: int, *, hours: int = 1) -> None:
    await target.submit(chunk(first, count, hours=hours))
    spans = [Span(KEY, first, first + count - 1)]
    target.seal(spans)
    await target.write(spans, recovering=False, give_up=asyncio.Event())


def found(root: Path, pattern: str = "*.parquet") -> list[Path]:
    return sorted(root.rglob(pattern))


def offsets_in(root: Path) -> list[int]:
    place = root / KEY.topic
    if not place.is_dir():
        return []
    return sorted(ds.dataset(place, format="parquet").to_table(columns=["_offset"]).column("_offset").to_pylist())


def test_the_folder_is_under_the_data_dir_unless_named(tmp_path: Path) -> None:
    assert configured(Settings(data_dir=tmp_path)).place == str(tmp_path / "parquet")
    for path in ("/elsewhere", "file:///elsewhere"):
        assert configured(Settings(parquet=ParquetSettings(path=path))).place == "/elsewhere"


async def test_interleaved_hours_go_to_their_files(tmp_path: Path) -> None:
    target = target_in(tmp_path)
    await target.open()
    await write(target, 0, 10, hours=3)
    names = [str(path.relative_to(tmp_path).parent) for path in found(tmp_path)]
    assert names == [f"md.trades/date=2024-08-08/hour={hour:02}" for hour in (6, 7, 8)]
    assert offsets_in(tmp_path) == list(range(10))
    status = target.status()
    assert status["rows"] == {"md.trades": 10}
    assert (status["files"], status["open_files"]) == (3, 0)
    assert status["bytes"] == sum(path.stat().st_size for path in found(tmp_path))
    await target.close()


async def test_uncommitted_files_are_removed_at_the_next_assignment(tmp_path: Path) -> None:
    target = target_in(tmp_path)
    await target.open()
    await write(target, 0, 5)
    await write(target, 5, 5, hours=2)
    await target.close()
    after = target_in(tmp_path)
    await after.open()
    await after.survey([KEY])
    assert await after.assign({KEY: Commit(5, "")}) == {}
    assert offsets_in(tmp_path) == list(range(5))
    assert after.status()["uncommitted_files_removed"] == 2
    await after.close()


async def test_files_of_other_partitions_and_lives_are_left_alone(tmp_path: Path) -> None:
    for incarnation, key in (("life-1", KEY), ("life-2", KEY), ("life-1", TopicPartition(KEY.topic, 1))):
        target = target_in(tmp_path, incarnation)
        await target.open()
        await target.submit(chunk(0, 5, key=key))
        target.seal([Span(key, 0, 4)])
        await target.write([Span(key, 0, 4)], recovering=False, give_up=asyncio.Event())
        await target.close()
    target = target_in(tmp_path)
    await target.open()
    await target.survey([KEY])
    await target.assign({KEY: Commit(0, "")})
    assert offsets_in(tmp_path) == sorted([*range(5), *range(5)])
    await target.close()


async def test_what_was_not_surveyed_is_not_removed(tmp_path: Path) -> None:
    """A file of a successor that appears between the survey and the removal."""
    late, early = target_in(tmp_path), target_in(tmp_path)
    await early.open()
    await early.survey([KEY])
    await late.open()
    await write(late, 0, 5)
    await early.assign({KEY: Commit(0, "")})
    assert offsets_in(tmp_path) == list(range(5))
    await early.close()
    await late.close()


async def test_a_file_that_its_writer_has_taken_back_since_the_survey_is_no_error(tmp_path: Path) -> None:
    """Its commit was refused: it removes its files while the partition's next owner takes over."""
    former, owner = target_in(tmp_path), target_in(tmp_path)
    await former.open()
    await write(former, 0, 3)
    await owner.survey([KEY])
    await former.rollback([Span(KEY, 0, 2)])
    assert await owner.assign({KEY: Commit(0, "")}) == {}
    assert owner.status()["uncommitted_files_removed"] == 0
    await write(owner, 0, 3)
    assert offsets_in(tmp_path) == [0, 1, 2]
    await former.close()
    await owner.close()


async def test_files_without_a_commit_are_not_removed_but_refused(tmp_path: Path) -> None:
    target = target_in(tmp_path)
    await target.open()
    await write(target, 0, 5)
    await target.survey([KEY])
    with pytest.raises(ServiceError, match=r"no commit for md.trades/0 .* holds offsets of this broker"):
        await target.assign({KEY: None})
    assert offsets_in(tmp_path) == list(range(5))
    await target.close()


async def test_a_refused_commit_takes_the_files_back(tmp_path: Path) -> None:
    target = target_in(tmp_path)
    await target.open()
    await write(target, 0, 5)
    await write(target, 5, 5)
    await target.rollback([Span(KEY, 5, 9)])
    assert offsets_in(tmp_path) == list(range(5))
    assert target.status()["rows"] == {"md.trades": 5}
    await target.close()


async def test_discarded_rows_leave_no_draft(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(writer, "ROW_GROUP_BYTES", 1)
    target = target_in(tmp_path)
    await target.open()
    await target.submit(chunk(0, 5))
    assert len(found(tmp_path, ".*.tmp")) == 1
    await target.discard([KEY])
    assert found(tmp_path, ".*.tmp") == []
    assert target.status()["open_files"] == 0
    await target.close()


async def test_too_many_open_files_or_bytes_make_it_full(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(writer, "OPEN_FILES", 3)
    target = target_in(tmp_path)
    await target.open()
    await target.submit(chunk(0, 2, hours=2))
    assert [target.full] == [False]
    await target.submit(chunk(2, 3, hours=3))
    assert [target.full] == [True]
    await target.discard([KEY])
    monkeypatch.setattr(writer, "MEMORY_BYTES", 10)
    await target.submit(chunk(0, 2))
    assert [target.full] == [True]
    await target.close()


async def test_a_folder_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    target = target_in(tmp_path / "file" / "parquet")
    with pytest.raises(ServiceError, match=r"parquet.path: cannot write .*file.*: (File exists|Not a directory)"):
        await target.open()
    await target.close()


async def test_a_read_only_folder_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("os.access", lambda *_: False)  # root may write anywhere
    target = target_in(tmp_path)
    with pytest.raises(ServiceError, match=r"parquet.path: cannot write .*: Permission denied"):
        await target.open()
    await target.close()


def ranges_in(root: Path) -> list[tuple[int, int]]:
    files = configured(Settings(parquet=ParquetSettings(path=str(root)))).files(KEY.topic)
    return sorted({(file.first, file.last) for file in files})


async def test_ranges_join_over_records_without_rows_and_over_a_restart(tmp_path: Path) -> None:
    target = target_in(tmp_path)
    await target.open()
    await write(target, 0, 5, hours=2)
    # Offsets 5 to 9 became dead letters: a batch without rows.
    target.seal([Span(KEY, 5, 9)])
    await target.write([Span(KEY, 5, 9)], recovering=False, give_up=asyncio.Event())
    await target.close()
    after = target_in(tmp_path)
    await after.open()
    await after.survey([KEY])
    await after.assign({KEY: Commit(10, "")})
    await write(after, 10, 5)
    await after.close()
    assert ranges_in(tmp_path) == [(0, 4), (5, 14)]


async def test_an_uncommitted_file_whose_range_begins_before_the_commit_is_removed(tmp_path: Path) -> None:
    """Its range includes dead letters that were committed; its rows were not."""
    target = target_in(tmp_path)
    await target.open()
    await write(target, 0, 5)
    target.seal([Span(KEY, 5, 9)])
    await target.write([Span(KEY, 5, 9)], recovering=False, give_up=asyncio.Event())
    await write(target, 10, 5)
    await target.close()
    after = target_in(tmp_path)
    await after.open()
    await after.survey([KEY])
    await after.assign({KEY: Commit(10, "")})
    assert ranges_in(tmp_path) == [(0, 4)]
    await after.close()


async def test_a_group_set_back_into_a_file_is_refused_and_nothing_removed(tmp_path: Path) -> None:
    target = target_in(tmp_path)
    await target.open()
    await write(target, 0, 5)
    await target.survey([KEY])
    with pytest.raises(ServiceError, match=r"has committed md.trades/0 up to offset 3, but .* set it to 5, or move"):
        await target.assign({KEY: Commit(3, "")})
    assert offsets_in(tmp_path) == list(range(5))
    await target.close()


async def test_drafts_and_folders_of_the_dead_are_gone_after_the_next_start(tmp_path: Path) -> None:
    work = tmp_path / ".work"
    (work / "swap-0a1b-0").mkdir(parents=True)
    (work / "swap-0a1b-0" / "old.parquet").write_bytes(b"")
    (work / ".0a1b-life-0-1-0.tmp").write_bytes(b"")
    target = target_in(tmp_path)
    await target.open()
    assert sorted(path.name for path in work.iterdir()) == ["compact.lock"]
    await target.close()


async def test_rows_come_back_exactly_through_the_whole_sink(tmp_path: Path) -> None:
    log = Log()
    trades = [trade(number, received_time=START + number * 600 * SECOND) for number in range(30)]
    for record in trades:
        log.append(KEY, CODEC.encode(record))
    sink = await live(log, target_in(tmp_path), slices=[7] * 8)
    assert sink.status()["rows"] == {"md.trades": 30}
    rows = ds.dataset(tmp_path / KEY.topic, format="parquet").to_table().sort_by("_offset").to_pylist()
    assert [(row["price"], row["size"], row["trade_id"]) for row in rows] == [
        (record.price, record.size, record.trade_id) for record in trades
    ]
