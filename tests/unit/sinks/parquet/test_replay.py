"""Rows of dead letters in Parquet files: each once, where it belongs, whatever happened to the files before."""

from __future__ import annotations

import asyncio
import tempfile
from collections import defaultdict
from collections.abc import Collection, Sequence
from decimal import Decimal
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from alphapulse.claim import InUse
from alphapulse.errors import ServiceError
from schemas.records import L2Update, Trade
from sinks.columns import batch
from sinks.contract import BatchChunk, Span
from sinks.parquet import local, merging
from sinks.parquet.compaction import compact
from sinks.parquet.decimals import with_decimals
from sinks.parquet.names import HOURLY, file_name, parsed
from sinks.parquet.replay import replay
from sinks.parquet.retention import RetiredHour, retire
from sinks.parquet.store import Store
from sinks.parquet.verification import verify
from sinks.parquet.writer import ParquetTarget
from sinks.replay import Outcome, Refused
from tests.fixtures.examples import examples
from tests.fixtures.parquet_files import (
    HOUR,
    KEY,
    L2_KEY,
    filled,
    found,
    offsets_in,
    paths_in,
    record,
    settings_at,
    store_in,
)
from tests.fixtures.records import START

LATER = START // HOUR + 100
BY_SYMBOL = ("venue", "symbol", "date")


@pytest.fixture(autouse=True)
def at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Remove replaced folders without waiting for readers; small row groups, few files at once."""
    monkeypatch.setattr(local, "LISTING_SECONDS", 0.0)
    monkeypatch.setattr(merging, "ROW_GROUP_ROWS", 4)
    monkeypatch.setattr("sinks.parquet.replay.OPEN_DRAFTS", 2)


async def written(
    root: Path, checkpoints: Sequence[int], refused: Collection[int], hours: int = 1, **parquet: Any
) -> Store:
    """Write checkpoints of so many offsets each, but for the rows of those that were refused; return the store."""
    target = ParquetTarget(settings_at(root, **parquet), "life")
    await target.open()
    first = 0
    for count in checkpoints:
        offsets = [offset for offset in range(first, first + count) if offset not in refused]
        if offsets:
            records = [record(offset, hours=hours) for offset in offsets]
            await target.submit(BatchChunk(KEY, Trade, batch(Trade, records, 0, offsets)))
        spans = [Span(KEY, first, first + count - 1)]
        target.seal(spans)
        await target.write(spans, recovering=False, give_up=asyncio.Event())
        first += count
    await target.close()
    return store_in(root)


def again(store: Store, offsets: Collection[int], hours: int = 1, *, decimals: bool = False) -> Outcome:
    letters = [(Refused("md.trades", 0, offset, b""), record(offset, hours=hours)) for offset in sorted(offsets)]
    return replay(store, "life", {"md.trades": letters}, decimals=decimals)


def stored(outcome: Outcome) -> list[int]:
    return sorted(offset for _, _, offset in outcome.stored)


def present(outcome: Outcome) -> list[int]:
    return sorted(offset for _, _, offset in outcome.present)


def by_offset(root: Path) -> list[Path]:
    """Return the files in the order of their ranges."""
    found = [file for path in paths_in(root) if (file := parsed(path)) is not None]
    return [root / file.path for file in sorted(found, key=lambda file: file.first)]


def rows(path: Path) -> list[tuple[int, str, int]]:
    """Return offset, trade id and price of each row of a file."""
    table = pq.read_table(path, partitioning=None)
    return list(zip(*(table.column(name).to_pylist() for name in ("_offset", "trade_id", "price")), strict=True))


def by_folder(root: Path) -> dict[str, list[dict[str, Any]]]:
    """Return all rows of all folders, in the order of offsets."""
    rows_of: dict[str, list[dict[str, Any]]] = defaultdict(list)
    for path in paths_in(root):
        rows_of[path.rpartition("/")[0]] += pq.ParquetFile(root / path).read().to_pylist()
    return {folder: sorted(of_folder, key=lambda row: int(row["_offset"])) for folder, of_folder in rows_of.items()}


def figures(offset: int) -> tuple[int, str, int]:
    of = record(offset)
    assert isinstance(of, Trade)
    return offset, of.trade_id, of.price


async def test_a_row_takes_its_place_among_the_others(tmp_path: Path) -> None:
    store = await written(tmp_path, (5, 5, 5), {0, 3, 7})
    outcome = again(store, {3, 7, 4})
    assert (stored(outcome), present(outcome), outcome.refused) == ([3, 7], [4], [])
    # In the order of offsets within each file.
    assert [row for path in by_offset(tmp_path) for row in rows(path)] == [figures(offset) for offset in range(1, 15)]
    # The names say the same.
    ranges = [(file.first, file.last) for path in paths_in(tmp_path) if (file := parsed(path)) is not None]
    assert sorted(ranges) == [(0, 4), (5, 9), (10, 14)]
    for _ in range(2):
        outcome = again(store, {3, 7, 4})
        assert (stored(outcome), present(outcome)) == ([], [3, 4, 7])
    assert stored(again(store, {0})) == [0]
    assert offsets_in(tmp_path) == list(range(15))
    assert verify(store, KEY.topic, deep=True).faults == []
    assert [path.name for path in (tmp_path / ".work").iterdir() if not path.name.endswith(".lock")] == []


async def test_into_an_hour_that_has_no_file_of_the_range(tmp_path: Path) -> None:
    # Offset 5 is the only one of its hour in the middle checkpoint; 8 is beyond the last file.
    store = await written(tmp_path, (4, 4, 4), {5, 8, 9, 10, 11}, hours=4)
    assert all("-4-7.parquet" not in path for path in paths_in(tmp_path / "md.trades/date=2024-08-08/hour=07"))
    outcome = again(store, {5, 8}, hours=4)
    assert stored(outcome) == [5]
    ((place, reason),) = outcome.refused
    assert place == ("md.trades", 0, 8)
    assert reason.startswith("no file of its partition reaches so far: ")
    assert offsets_in(tmp_path) == list(range(8))
    assert present(again(store, {5}, hours=4)) == [5]
    assert verify(store, KEY.topic, deep=True).faults == []


@pytest.mark.parametrize("compacted_before", [False, True])
@pytest.mark.parametrize(
    "parquet",
    [
        {"partition_by": ("date",)},
        {"partition_by": ("date", "venue")},
        {"partition_by": BY_SYMBOL, "decimals": True},
        {"partition_by": ("date", "hour", "symbol")},
        {"decimals": True},
    ],
    ids=str,
)
async def test_every_folder_has_what_the_sink_would_have_written(
    tmp_path: Path, parquet: dict[str, Any], compacted_before: bool
) -> None:
    await filled(tmp_path / "all", (6, 6, 6, 6), hours=2, parquet=parquet)
    # The first two checkpoints have nothing of the second instrument.
    refused = {0, 1, 4, 7, 8, 10, 17}
    store = await written(tmp_path / "some", (6, 6, 6, 6), refused, hours=2, **parquet)
    if compacted_before:
        assert compact(store, KEY.topic, before=LATER)
        store.settle(0.0)
    for _ in range(2):
        outcome = again(store, range(24), hours=2, decimals=parquet.get("decimals", False))
        assert (stored(outcome), outcome.refused) == (sorted(refused), [])
        assert present(outcome) == sorted({*range(24)} - refused)
        refused.clear()
    assert by_folder(tmp_path / "some") == by_folder(tmp_path / "all")
    assert verify(store, KEY.topic, deep=True).faults == []
    compact(store, KEY.topic, before=LATER)
    store.settle(0.0)
    assert by_folder(tmp_path / "some") == by_folder(tmp_path / "all")
    assert verify(store, KEY.topic, deep=True).faults == []


@pytest.mark.parametrize("configured", [False, True])
async def test_decimals_are_where_the_file_has_them(tmp_path: Path, configured: bool) -> None:
    root, other = tmp_path / "some", tmp_path / "other"
    store = await written(root, (5, 5), {1, 6})
    await written(other, (5, 5), {1, 6}, decimals=True)
    second = found(root, "*-5-9.parquet").relative_to(root)
    (other / second).rename(root / second)
    assert stored(again(store, {1, 6}, decimals=configured)) == [1, 6]
    without, having = (pq.ParquetFile(path).read() for path in by_offset(root))
    assert [name for name in without.column_names if "decimal" in name] == []
    assert without.column("_offset").to_pylist() == [0, 1, 2, 3, 4]
    for row in having.to_pylist():
        assert row["price_decimal"] == Decimal(row["price"]).scaleb(row["price_exponent"])
        assert row["size_decimal"] == Decimal(row["size"]).scaleb(row["size_exponent"])
    assert having.column("_offset").to_pylist() == [5, 6, 7, 8, 9]
    assert verify(store, KEY.topic, deep=True).faults == []


async def test_several_layouts_are_refused(tmp_path: Path) -> None:
    root, other = tmp_path / "some", tmp_path / "other"
    store = await written(root, (5,), {1})
    await written(other, (5,), {1}, partition_by=BY_SYMBOL)
    (other / "md.trades" / "venue=kraken").rename(root / "md.trades" / "venue=kraken")
    reason = r"md.trades has files by venue, symbol, date and by date, hour \(md.trades/date=.*\): nothing is replayed"
    with pytest.raises(ServiceError, match=reason):
        again(store, {1})


async def test_a_day_that_was_removed_and_files_that_overlap_get_no_rows(tmp_path: Path) -> None:
    # Offsets from 18 on are of the second day.
    store = await written(tmp_path, (24, 24), {3, 20}, hours=24, partition_by=("date",))
    first = min(file.hour for file in store.files(KEY.topic))
    retire(store, RetiredHour(KEY.topic, first, tuple(file for file in store.files(KEY.topic) if file.hour == first)))
    store.settle(0.0)
    place = found(tmp_path, "*-0-23.parquet")
    (place.parent / file_name("ab", "life", 0, 22, 30)).write_bytes(place.read_bytes())
    outcome = again(store, {3, 20}, hours=24)
    assert (outcome.stored, outcome.present) == ([], [])
    (_, day), (_, overlap) = sorted(outcome.refused)
    assert day == "its day, 2024-08-08, was removed by `alphapulse parquet retain`"
    assert "-0-22-30.parquet overlaps md.trades/date=2024-08-09/" in overlap


async def test_files_of_other_logs_and_hours_that_were_removed_stay_out(tmp_path: Path) -> None:
    store = await written(tmp_path, (4, 4), {1, 5}, hours=2)
    letters = {"md.trades": [(Refused("md.trades", 0, 1, b""), record(1, hours=2))]}
    assert replay(store, "another life", letters).stored == []
    first = min(file.hour for file in store.files(KEY.topic))
    of_hour = tuple(file for file in store.files(KEY.topic) if file.hour == first)
    retire(store, RetiredHour(KEY.topic, first, of_hour))
    store.settle(0.0)
    # Odd offsets are of the later hour, which is there.
    assert stored(again(store, {1, 5}, hours=2)) == [1, 5]
    ((_, reason),) = again(store, {2}, hours=2).refused
    assert reason == "its hour, 2024-08-08 06, was removed by `alphapulse parquet retain`"
    assert verify(store, KEY.topic, deep=True).faults == []


@pytest.mark.parametrize("decimals", [False, True])
async def test_levels_and_a_compacted_hour(tmp_path: Path, decimals: bool) -> None:
    target = ParquetTarget(settings_at(tmp_path, decimals=decimals), "life")
    await target.open()
    refused = {2, 13}
    for first in (0, 10, 20):
        offsets = [offset for offset in range(first, first + 10) if offset not in refused]
        records = [record(offset, kind=L2Update) for offset in offsets]
        await target.submit(BatchChunk(L2_KEY, L2Update, batch(L2Update, records, 0, offsets)))
        spans = [Span(L2_KEY, first, first + 9)]
        target.seal(spans)
        await target.write(spans, recovering=False, give_up=asyncio.Event())
    await target.close()
    store = store_in(tmp_path)
    compact(store, L2_KEY.topic, before=LATER)
    store.settle(0.0)
    letters = {"md.l2": [(Refused("md.l2", 0, offset, b""), record(offset, kind=L2Update)) for offset in refused]}
    assert len(replay(store, "life", letters).stored) == 2
    assert len(replay(store, "life", letters).present) == 2
    (whole,) = paths_in(tmp_path, "compacted*")
    table = pq.read_table(tmp_path / whole, partitioning=None)
    keys = list(zip(table.column("symbol").to_pylist(), table.column("_offset").to_pylist(), strict=True))
    assert keys == sorted(keys)
    assert len(keys) == 20
    wanted = batch(L2Update, [record(offset, kind=L2Update) for offset in range(20)], 0, range(20))
    if decimals:
        wanted = with_decimals(L2Update, wanted)
    assert table.column_names == wanted.schema.names
    for name in wanted.schema.names:
        values = dict(zip(table.column("_offset").to_pylist(), table.column(name).to_pylist(), strict=True))
        assert values == dict(enumerate(wanted.column(name).to_pylist()))
    assert verify(store, L2_KEY.topic, deep=True).faults == []


async def test_one_at_a_time(tmp_path: Path) -> None:
    store = await written(tmp_path, (4,), {1})
    with store.exclusively(), pytest.raises(InUse, match="another compaction, retention or replay is at work"):
        again(store_in(tmp_path), {1})


async def test_what_cannot_be_read_is_told(tmp_path: Path) -> None:
    store = await written(tmp_path, (4, 4), {1})
    (broken, _) = paths_in(tmp_path)
    (tmp_path / broken).write_bytes(b"PAR1 no more")
    with pytest.raises(ServiceError, match=r"cannot replay into .*: "):
        again(store, {1})
    assert [path.name for path in (tmp_path / ".work").glob(".*.tmp")] == []


@settings(max_examples=examples(40), deadline=None)
@given(
    checkpoints=st.lists(st.integers(1, 9), min_size=1, max_size=5),
    refused=st.sets(st.integers(0, 40)),
    hours=st.integers(1, 3),
    turns=st.lists(st.one_of(st.none(), st.sets(st.integers(0, 40), min_size=1)), max_size=5),
    keys=st.sampled_from([HOURLY, ("date",), BY_SYMBOL, ("date", "hour", "symbol")]),
    decimals=st.booleans(),
)
def test_any_letters_in_any_order_between_compactions(
    checkpoints: list[int],
    refused: set[int],
    hours: int,
    turns: list[set[int] | None],
    keys: tuple[str, ...],
    decimals: bool,
) -> None:
    """A turn is a compaction (None) or a replay; letters of records that are there are replayed as well."""
    with tempfile.TemporaryDirectory() as place:
        root = Path(place)
        store = asyncio.run(written(root, checkpoints, refused, hours, partition_by=keys, decimals=decimals))
        end = sum(checkpoints)
        there = set(range(end)) - refused
        reach = max(there, default=-1)
        # A file answers for its checkpoint to its end.
        reach = max((file.last for file in store.files(KEY.topic)), default=-1) if there else reach
        for turn in turns:
            if turn is None:
                compact(store, KEY.topic, before=LATER)
                store.settle(0.0)
            else:
                wanted = {offset for offset in turn if offset < end}
                outcome = again(store, wanted, hours, decimals=decimals)
                assert set(stored(outcome)) == {offset for offset in wanted - there if offset <= reach}
                assert set(present(outcome)) == wanted & there
                assert len(outcome.refused) == len([offset for offset in wanted - there if offset > reach])
                there |= {offset for offset in wanted if offset <= reach}
            assert offsets_in(root) == sorted(there)
            assert verify(store, KEY.topic, deep=True).faults == []
