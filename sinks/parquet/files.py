"""Parquet files by topic and record-time hour: names, writing, and finding files to remove.

::

    <root>/md.trades/date=2024-08-08/hour=07/<writer>-<incarnation>-<partition>-<first>-<last>.parquet

``first`` and ``last`` are the offsets of the file's first and last row. ``writer`` is random per process, so that a
process that has lost a partition without noticing cannot touch its successor's files. While a file is being written it
is named ``.<…>.tmp`` (readers of Parquet folders skip names that begin with a dot) and locked with ``flock``, which the
kernel releases when the writer dies: a draft that can be locked has no writer any more.
"""

from __future__ import annotations

import fcntl
import os
import re
import secrets
from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import IO, Any, Final

import pyarrow as pa
import pyarrow.parquet as pq
from aiokafka import TopicPartition

from sinks.columns import OFFSET

HOUR_NS: Final = 3_600 * 10**9
ROW_GROUP_BYTES: Final = 32 * 2**20
"""Arrow bytes per row group."""

_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_UNSAFE: Final = re.compile(r"[^A-Za-z0-9_.]")
_NAME: Final = re.compile(r"[0-9a-f]+-(?P<incarnation>[^-]+)-(?P<partition>\d+)-(?P<first>\d+)-(?P<last>\d+)\.parquet")
_DRAFT: Final = re.compile(r"\.[0-9a-f]+-(?P<incarnation>[^-]+)-(?P<partition>\d+)-(?P<first>\d+)\.tmp")
_WRITER: Final = secrets.token_hex(4)


@dataclass(frozen=True, slots=True)
class Stored:
    """A finished file; ``rows`` is 0 if only its name was read."""

    path: Path
    partition: TopicPartition
    first: int
    last: int
    rows: int = 0


def safe_name(incarnation: str) -> str:
    """Return an incarnation as part of a file name: without ``-``, ``/`` and the like, injective."""
    return _UNSAFE.sub(lambda found: f"~{ord(found.group()):x}~", incarnation)


def hour_folder(root: Path, topic: str, hour: int) -> Path:
    """Return the folder of an hour, given in hours since the Unix epoch."""
    start = _EPOCH + timedelta(hours=hour)
    return root / topic / f"date={start:%Y-%m-%d}" / f"hour={start:%H}"


def stored(root: Path, topic: str, incarnation: str) -> Iterator[Stored]:
    """Yield the finished files of a topic that hold offsets of ``incarnation``."""
    name = safe_name(incarnation)
    for path in root.joinpath(topic).glob("date=*/hour=*/*.parquet"):
        found = _NAME.fullmatch(path.name)
        if found is not None and found["incarnation"] == name:
            yield Stored(path, TopicPartition(topic, int(found["partition"])), int(found["first"]), int(found["last"]))


def remove_dead_drafts(root: Path, partitions: Iterable[TopicPartition]) -> int:
    """Remove the drafts of ``partitions`` whose writers have ended, of any incarnation; return their number."""
    removed = 0
    wanted = set(partitions)
    for topic in {key.topic for key in wanted}:
        for path in root.joinpath(topic).glob("date=*/hour=*/.*.tmp"):
            found = _DRAFT.fullmatch(path.name)
            if found is None or TopicPartition(topic, int(found["partition"])) not in wanted:
                continue
            with suppress(FileNotFoundError, BlockingIOError), path.open("rb") as draft:
                fcntl.flock(draft, fcntl.LOCK_EX | fcntl.LOCK_NB)
                path.unlink()
                removed += 1
    return removed


def sync_folder(folder: Path) -> None:
    """Make renames and removals in ``folder`` durable."""
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def make_folder(folder: Path) -> None:
    """Make ``folder`` and its parents, each durably."""
    if folder.is_dir():
        return
    make_folder(folder.parent)
    folder.mkdir(exist_ok=True)
    sync_folder(folder.parent)


class HourFile:
    """A file being written: rows of one partition and one hour.

    All methods block, and raise OSError on disk errors.

    Args:
        root: folder of all topics.
        partition: of the rows.
        hour: hours since the Unix epoch.
        incarnation: instance of the broker's log that the offsets belong to.
        schema: schema of the rows; must have ``_offset``.
        options: for :class:`pyarrow.parquet.ParquetWriter`: compression, encodings.
    """

    def __init__(
        self,
        root: Path,
        partition: TopicPartition,
        hour: int,
        incarnation: str,
        schema: pa.Schema,
        options: Mapping[str, Any],
    ) -> None:
        self.partition = partition
        self.rows = 0
        self.pending_bytes = 0
        self._folder = hour_folder(root, partition.topic, hour)
        self._incarnation = incarnation
        self._schema = schema
        self._options = options
        self._pending: list[pa.RecordBatch] = []
        self._first = 0
        self._last = 0
        self._draft: Path | None = None
        self._file: IO[bytes] | None = None
        self._writer: pq.ParquetWriter | None = None

    def add(self, rows: pa.RecordBatch) -> None:
        """Buffer rows, in offset order; no I/O."""
        offsets = rows.column(OFFSET)
        if self.rows == 0:
            self._first = offsets[0].as_py()
        self._last = offsets[-1].as_py()
        self.rows += rows.num_rows
        self.pending_bytes += rows.nbytes
        self._pending.append(rows)

    def write_group(self) -> None:
        """Write the buffered rows as a row group."""
        if self._writer is None:
            self._open()
        if self._pending and self._writer is not None:
            group = pa.Table.from_batches(self._pending, self._schema).unify_dictionaries().combine_chunks()
            self._writer.write_table(group, row_group_size=group.num_rows)
            self._pending = []
            self.pending_bytes = 0

    def _open(self) -> None:
        make_folder(self._folder)
        name = f".{_WRITER}-{safe_name(self._incarnation)}-{self.partition.partition}-{self._first}.tmp"
        self._draft = self._folder / name
        self._file = self._draft.open("wb")
        fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        self._writer = pq.ParquetWriter(self._file, self._schema, **self._options)

    def finish(self) -> None:
        """Write the remaining rows and the footer, and make the draft durable."""
        self.write_group()
        if self._writer is None or self._file is None:
            raise RuntimeError("finish() of a file without rows")
        self._writer.add_key_value_metadata(
            {
                "alphapulse.topic": self.partition.topic,
                "alphapulse.partition": str(self.partition.partition),
                "alphapulse.incarnation": self._incarnation,
                "alphapulse.first_offset": str(self._first),
                "alphapulse.last_offset": str(self._last),
            }
        )
        self._writer.close()
        self._writer = None
        self._file.flush()
        os.fsync(self._file.fileno())

    def publish(self) -> Stored:
        """Rename the finished draft. Not durable until :func:`sync_folder` of its folder."""
        if self._draft is None or self._file is None:
            raise RuntimeError("publish() before finish()")
        offsets = f"{self.partition.partition}-{self._first}-{self._last}"
        path = self._folder / f"{_WRITER}-{safe_name(self._incarnation)}-{offsets}.parquet"
        self._draft.rename(path)
        self._file.close()
        self._file = None
        return Stored(path, self.partition, self._first, self._last, self.rows)

    def abandon(self) -> None:
        """Remove the draft."""
        self._pending = []
        if self._file is None:
            return
        if self._writer is not None:
            with suppress(OSError, pa.ArrowException):  # the footer of a file that is never read
                self._writer.close()
            self._writer = None
        if self._draft is not None:
            self._draft.unlink(missing_ok=True)
        self._file.close()
        self._file = None
