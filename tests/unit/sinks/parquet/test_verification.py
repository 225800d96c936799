from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pyarrow.parquet as pq
import pytest
from aiokafka import TopicPartition

from sinks.parquet.retention import due, retire
from sinks.parquet.verification import verify
from tests.fixtures.parquet_files import HOUR, KEY, filled, found, paths_in
from tests.fixtures.records import START

OTHER = TopicPartition(KEY.topic, 1)


def nth(root: Path, number: int) -> Path:
    return root / paths_in(root)[number]


def rewritten(path: Path, rows: int | None = None, **metadata: str) -> None:
    """Write a file again with other metadata, or fewer rows."""
    file = pq.ParquetFile(path)
    table = file.read()
    with pq.ParquetWriter(path, table.schema, store_schema=False) as writer:
        writer.write_table(table.slice(0, rows))
        told = {key.decode(): value.decode() for key, value in (file.metadata.metadata or {}).items()}
        writer.add_key_value_metadata(told | {f"alphapulse.{key}": value for key, value in metadata.items()})


async def test_a_sound_store_has_no_faults(tmp_path: Path) -> None:
    store = await filled(tmp_path, (6, 6, 6), keys=(KEY, OTHER), hours=3)
    checked = verify(store, KEY.topic, deep=True)
    assert (checked.files, checked.rows, checked.replaced, checked.older) == (18, 36, 0, 0)
    assert checked.bytes == sum((tmp_path / path).stat().st_size for path in paths_in(tmp_path))
    assert checked.faults == []


def truncated(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-20])


def renamed(old: str, new: str) -> Callable[[Path], None]:
    def harm(path: Path) -> None:
        path.rename(path.with_name(path.name.replace(old, new)))

    return harm


def doubled(path: Path) -> None:
    path.with_name(path.name.replace("-0-0-4.", "-0-3-7.")).write_bytes(path.read_bytes())


@pytest.mark.parametrize(
    ("harm", "kinds", "text"),
    [
        (truncated, {"unreadable"}, "cannot be read: "),
        (lambda path: rewritten(path, rows=3), {"rows"}, "has 3 rows, its metadata say 5, its checkpoints 5"),
        (lambda path: rewritten(path, partition="7"), {"metadata"}, "is of partition 0 by its name, of 7 by its"),
        (lambda path: rewritten(path, topic="x"), {"metadata"}, "is of topic md.trades by its name, of x by its"),
        (renamed("-life-", "-other-"), {"metadata"}, "is of incarnation other by its name, of life by its"),
        (renamed("-0-0-4.", "-0-2-4."), {"offsets", "missing"}, "has offsets 0 to 4, outside its range 2 to 4"),
        (doubled, {"offsets", "overlap"}, "offsets 3 to 7 are also in"),
    ],
    ids=["truncated", "rows", "partition", "topic", "incarnation", "range", "doubled"],
)
async def test_what_is_wrong_is_named(tmp_path: Path, harm: Callable[[Path], None], kinds: set[str], text: str) -> None:
    store = await filled(tmp_path, (5, 5, 5))
    harm(nth(tmp_path, [path.split("-")[-2] for path in paths_in(tmp_path)].index("0")))
    faults = verify(store, KEY.topic).faults
    assert {fault.kind for fault in faults} == kinds
    assert any(text in fault.text for fault in faults), faults
    assert all(fault.path.startswith("md.trades") for fault in faults)


async def test_a_lost_checkpoint_is_a_hole(tmp_path: Path) -> None:
    store = await filled(tmp_path, (5, 5, 5))
    found(tmp_path, "*-0-5-9.parquet").unlink()
    (fault,) = verify(store, KEY.topic).faults
    assert (fault.kind, fault.path, fault.text) == ("hole", "md.trades", "partition 0 lacks offsets 5 to 9 (life)")


async def test_a_lost_hour_of_a_checkpoint_is_missing(tmp_path: Path) -> None:
    store = await filled(tmp_path, (6, 6), hours=2)
    lost = found(tmp_path / "md.trades/date=2024-08-08/hour=07", "*-0-0-5.parquet")
    lost.unlink()
    (fault,) = verify(store, KEY.topic).faults
    assert (fault.kind, fault.path) == ("missing", "md.trades/date=2024-08-08/hour=07")
    assert fault.text.startswith("3 rows of partition 0, offsets 0 to 5, have no file: ")


async def test_a_flipped_bit_in_the_data_is_found_by_reading_all(tmp_path: Path) -> None:
    store = await filled(tmp_path, (50,))
    path = nth(tmp_path, 0)
    content = bytearray(path.read_bytes())
    start = pq.ParquetFile(path).metadata.row_group(0).column(3)
    content[start.data_page_offset + start.total_compressed_size - 3] ^= 1
    path.write_bytes(bytes(content))
    assert verify(store, KEY.topic).faults == []
    (fault,) = verify(store, KEY.topic, deep=True).faults
    assert fault.kind == "unreadable"


async def test_what_retention_removed_is_not_missing(tmp_path: Path) -> None:
    """Late rows: the oldest hour has whole checkpoints from between, and half of others."""
    store = await filled(tmp_path, (6, 6, 6), hours=3)
    hour = START // HOUR
    now = (hour + 1) * 3600 + 1.0
    hours = due(store.files(KEY.topic), now, max_age_s=0.5, max_bytes=None)
    assert [(each.topic, each.hour, len(each.files)) for each in hours] == [(KEY.topic, hour, 3)]
    with store.exclusively():
        retire(store, hours[0])
        store.settle(0.0)
    assert verify(store, KEY.topic).faults == []
    assert len(paths_in(tmp_path)) == 6
    found(tmp_path, "*-0-6-11.parquet").unlink()
    assert [fault.kind for fault in verify(store, KEY.topic).faults] == ["missing"]


async def test_files_of_an_earlier_version_are_counted_and_not_faulted(tmp_path: Path) -> None:
    store = await filled(tmp_path, (5, 5))
    path = nth(tmp_path, 0)
    table = pq.ParquetFile(path).read()
    told = ("topic", "partition", "incarnation", "first_offset", "last_offset")
    metadata = pq.ParquetFile(path).metadata.metadata or {}
    with pq.ParquetWriter(path, table.schema, store_schema=False) as writer:
        writer.write_table(table)
        writer.add_key_value_metadata(
            {f"alphapulse.{key}": metadata[f"alphapulse.{key}".encode()].decode() for key in told}
        )
    checked = verify(store, KEY.topic)
    assert checked.older == 1
    assert checked.faults == []
