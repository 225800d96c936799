"""Verification of a store: every file opens, says what its name says, and none is missing, doubled or too many.

For each file: its footer is read; its metadata and name agree; its rows are as many as its checkpoints say; its offsets
lie in its range. With ``deep`` all of its pages are read, their checksums compared and its offsets counted.

For each partition, and incarnation of the broker's log: within an hour no two ranges overlap; over all hours they join
without a hole, but for what retention removed; and a checkpoint with rows in several hours has its file in each.
"""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any, Final

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from aiokafka import TopicPartition

from sinks.columns import OFFSET, PARTITION
from sinks.parquet.names import Stored, cell_folder, folder_read, safe_name, visible
from sinks.parquet.retention import Retired
from sinks.parquet.store import Store

READERS: Final = 8
"""Files whose footers are read at once: in a bucket each takes a few requests."""


@dataclass(frozen=True, slots=True)
class Fault:
    """Something that is not as it should be.

    Attributes:
        kind: ``unreadable``, ``metadata``, ``rows``, ``offsets``, ``overlap``, ``hole`` or ``missing``.
        path: file or folder, relative to the root.
        text: what is wrong.
    """

    kind: str
    path: str
    text: str


@dataclass(slots=True)
class Checked:
    """Result for a topic.

    Attributes:
        files: those that count.
        replaced: files that a compaction has replaced and not removed yet.
        older: files of an earlier version, whose rows cannot be compared with their metadata.
    """

    topic: str
    files: int = 0
    rows: int = 0
    bytes: int = 0
    replaced: int = 0
    older: int = 0
    faults: list[Fault] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class _Read:
    """What a file says of itself."""

    file: Stored
    rows: int = 0
    checkpoints: Sequence[Mapping[str, Any]] | None = None
    faults: tuple[Fault, ...] = ()


def verify(store: Store, topic: str, *, deep: bool = False) -> Checked:
    """Verify the files of a topic.

    Args:
        deep: read all of their data.

    Raises:
        OSError: the store cannot be listed.
    """
    for _ in range(3):
        listed = store.files(topic)
        files, replaced = visible(listed)
        with ThreadPoolExecutor(READERS) as pool:
            read = list(pool.map(lambda file: _read(store, file, deep=deep), files))
        # Files that a compaction or a retention removed meanwhile are not missing: look again.
        unreadable = {entry.file.path for entry in read for fault in entry.faults if fault.kind == "unreadable"}
        if not unreadable - {file.path for file in store.files(topic)}:
            break
    checked = Checked(topic, len(files), sum(entry.rows for entry in read), sum(file.size for file in files))
    checked.replaced = len(replaced)
    checked.older = sum(1 for entry in read if entry.checkpoints is None and not entry.faults)
    retired = Retired.read(store, topic)
    checked.faults += [fault for entry in read for fault in entry.faults]
    checked.faults += _overlaps(files)
    checked.faults += _holes(files, retired)
    checked.faults += _missing(read, retired)
    return checked


def _read(store: Store, file: Stored, *, deep: bool) -> _Read:
    try:
        with store.source(file.path) as source:
            parquet = pq.ParquetFile(source, page_checksum_verification=deep)
            metadata = {key.decode(): text.decode() for key, text in (parquet.metadata.metadata or {}).items()}
            rows: int = parquet.metadata.num_rows
            low, high = _offsets(parquet, deep=deep)
    except (OSError, pa.ArrowException, ValueError) as error:
        return _Read(file, faults=(Fault("unreadable", file.path, f"cannot be read: {_short(error)}"),))
    faults = list(_disagreements(file, metadata))
    checkpoints = _checkpoints(metadata)
    if checkpoints is not None:
        wanted = sum(int(entry["rows"].get(file.cell, 0)) for entry in checkpoints)
        told = int(metadata.get("alphapulse.rows", rows))
        if not rows == wanted == told:
            text = f"has {rows:,} rows, its metadata say {told:,}, its checkpoints {wanted:,}"
            faults.append(Fault("rows", file.path, text))
    if low is None or high is None:
        faults.append(Fault("offsets", file.path, f"no statistics of the column {OFFSET}"))
    elif low < file.first or high > file.last:
        text = f"has offsets {low} to {high}, outside its range {file.first} to {file.last}"
        faults.append(Fault("offsets", file.path, text))
    if deep and not faults:
        faults += _doubled(store, file)
    return _Read(file, rows, checkpoints, tuple(faults))


def _short(error: BaseException) -> str:
    return " ".join(str(error).split())[:300]


def _offsets(parquet: pq.ParquetFile, *, deep: bool) -> tuple[int | None, int | None]:
    """Return the lowest and highest offset by the statistics; read everything if ``deep``."""
    lows: list[int] = []
    highs: list[int] = []
    names = parquet.schema_arrow.names
    if OFFSET not in names:
        return None, None
    leaf = next(number for number in range(len(parquet.schema)) if parquet.schema.column(number).path == OFFSET)
    for number in range(parquet.num_row_groups):
        if deep:
            parquet.read_row_group(number)
        found = parquet.metadata.row_group(number).column(leaf).statistics
        low, high = (found.min, found.max) if found is not None and found.has_min_max else (None, None)
        if low is None or high is None:
            return None, None
        lows.append(low)
        highs.append(high)
    return min(lows, default=None), max(highs, default=None)


def _doubled(store: Store, file: Stored) -> list[Fault]:
    with store.source(file.path) as source:
        table = pq.ParquetFile(source).read([OFFSET, PARTITION])
    distinct = pc.count_distinct(table.column(OFFSET)).as_py()
    faults: list[Fault] = []
    if distinct != table.num_rows:
        faults.append(Fault("offsets", file.path, f"has {table.num_rows:,} rows of {distinct:,} offsets"))
    others = len(table.filter(pc.not_equal(table.column(PARTITION), file.partition.partition)))
    if others:
        faults.append(Fault("offsets", file.path, f"has {others:,} rows of other partitions"))
    return faults


def _disagreements(file: Stored, metadata: Mapping[str, str]) -> Iterable[Fault]:
    wanted = {
        "topic": file.partition.topic,
        "partition": str(file.partition.partition),
        "incarnation": file.incarnation,
    }
    for name, value in wanted.items():
        told = metadata.get(f"alphapulse.{name}")
        if told is not None and name == "incarnation":
            told = safe_name(told)
        if told != value:
            yield Fault("metadata", file.path, f"is of {name} {value} by its name, of {told} by its metadata")


def _checkpoints(metadata: Mapping[str, str]) -> Sequence[Mapping[str, Any]] | None:
    text = metadata.get("alphapulse.checkpoints")
    if text is None:
        return None
    found: list[Mapping[str, Any]] = json.loads(text)
    return found


def _overlaps(files: Sequence[Stored]) -> Iterable[Fault]:
    groups: dict[tuple[str, TopicPartition, str], list[Stored]] = defaultdict(list)
    for file in files:
        groups[file.folder, file.partition, file.incarnation].append(file)
    for group in groups.values():
        group.sort(key=lambda file: (file.first, file.last))
        reach = group[0]
        for file in group[1:]:
            if file.first <= reach.last:
                text = f"offsets {file.first} to {file.last} are also in {reach.path} ({reach.first} to {reach.last})"
                yield Fault("overlap", file.path, text)
            if file.last > reach.last:
                reach = file


def _holes(files: Sequence[Stored], retired: Retired) -> Iterable[Fault]:
    ranges: dict[tuple[TopicPartition, str], list[tuple[int, int]]] = defaultdict(list)
    for file in files:
        ranges[file.partition, file.incarnation].append((file.first, file.last))
    for (partition, incarnation), found in ranges.items():
        known = sorted([*found, *retired.ranges(incarnation, partition.partition)])
        end = known[0][1]
        for first, last in known[1:]:
            if first > end + 1:
                text = f"partition {partition.partition} lacks offsets {end + 1} to {first - 1} ({incarnation})"
                yield Fault("hole", partition.topic, text)
            end = max(end, last)


def _missing(read: Sequence[_Read], retired: Retired) -> Iterable[Fault]:
    """Yield checkpoints whose files of other folders are not there."""
    have: dict[tuple[TopicPartition, str, str], list[tuple[int, int]]] = defaultdict(list)
    for entry in read:
        file = entry.file
        have[file.partition, file.incarnation, file.folder].append((file.first, file.last))
    told: set[tuple[TopicPartition, str, str, int]] = set()
    for entry in read:
        file = entry.file
        for checkpoint in entry.checkpoints or ():
            first, last = int(checkpoint["first"]), int(checkpoint["last"])
            for text, rows in checkpoint["rows"].items():
                folder = cell_folder(file.partition.topic, text)
                place = folder_read(folder)
                ranges = have[file.partition, file.incarnation, folder]
                known = (file.partition, file.incarnation, folder, first)
                if (
                    (place is not None and place.hour < retired.before)
                    or known in told
                    or any(a <= first and last <= b for a, b in ranges)
                ):
                    continue
                told.add(known)
                reason = (
                    f"{rows:,} rows of partition {file.partition.partition}, offsets {first} to {last}, have no file: "
                    f"{file.path} was written with one"
                )
                yield Fault("missing", folder, reason)
