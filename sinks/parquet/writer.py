"""Parquet target: exactly-once files.

A write is a checkpoint: every open file is closed, synced, renamed into place and its folder synced; then the loop
commits the offsets. If the process is killed before the rename, the rows exist only on the broker. If it is killed
between rename and commit, the files are *at or past* the commit, and the partition's next owner removes them before it
reads. A file never spans a commit, because a checkpoint closes all files of a partition. So it does not matter where
the bounds of a checkpoint fall (rows, bytes, time, end of an hour, ``POST /flush``, a rebalance): a file may have
other rows the second time, since the first one has been removed by then.

This requires that all sinks of a group that may own a partition use the same folder. Not covered: a process that is
stopped (not killed) for longer than the group's session just before its renames, continues after another has taken
over, and is killed before the refusal of its commit makes it remove its files again.
"""

from __future__ import annotations

import asyncio
import os
from collections import Counter
from collections.abc import Callable, Collection, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, Final, TypeVar

import numpy as np
import pyarrow as pa
from aiokafka import TopicPartition

from alphapulse import logs
from alphapulse.config import Settings
from alphapulse.errors import ServiceError
from schemas.definitions import definitions
from sinks.columns import record_time, schema
from sinks.contract import BatchChunk, BatchLimits, Commit, Span
from sinks.parquet.encodings import options
from sinks.parquet.files import (
    HOUR_NS,
    ROW_GROUP_BYTES,
    HourFile,
    Stored,
    make_folder,
    remove_dead_drafts,
    stored,
    sync_folder,
)

T = TypeVar("T")

BATCH_BYTES: Final = 1024 * 2**20
"""Maximum encoded size of a checkpoint; it is in drafts, not in memory."""
MEMORY_BYTES: Final = 96 * 2**20
"""Maximum Arrow bytes buffered for row groups, all files of a batch together; there are at most two batches."""
OPEN_FILES: Final = 64

_CLASS_OF: Final = {found.topic: found.record for found in definitions()}


def folder(settings: Settings) -> Path:
    """Return the root folder of the files."""
    return Path(settings.parquet.path) if settings.parquet.path else settings.data_dir / "parquet"


class ParquetTarget:
    """Parquet files as a :class:`sinks.contract.SinkTarget`.

    Args:
        settings: folder and bounds of a checkpoint.
        incarnation: identifies the instance of the broker's log that the offsets belong to.
    """

    def __init__(self, settings: Settings, incarnation: str) -> None:
        self._root = folder(settings)
        self._group = settings.parquet.group
        self._incarnation = incarnation
        self._limits = BatchLimits(settings.parquet.batch_records, BATCH_BYTES, settings.parquet.batch_seconds)
        self._open: dict[tuple[TopicPartition, int], HourFile] = {}
        self._sealed: list[HourFile] = []
        self._found: list[Stored] = []
        self._written: list[Stored] = []
        self._rows: Counter[str] = Counter()
        self._files = 0
        self._bytes = 0
        self._removed = 0
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="parquet")
        self._log = logs.get("parquet")

    @property
    def limits(self) -> BatchLimits:
        return self._limits

    @property
    def full(self) -> bool:
        return len(self._open) >= OPEN_FILES or sum(f.pending_bytes for f in self._open.values()) >= MEMORY_BYTES

    async def open(self) -> None:
        await self._in_thread(self._make_root)

    def _make_root(self) -> None:
        make_folder(self._root)
        if not os.access(self._root, os.W_OK | os.X_OK):
            raise PermissionError(13, "Permission denied", str(self._root))

    async def survey(self, partitions: Collection[TopicPartition]) -> None:
        def look() -> list[Stored]:
            topics = {key.topic for key in partitions}
            return [file for topic in topics for file in stored(self._root, topic, self._incarnation)]

        self._found = await self._in_thread(look)

    async def assign(self, commits: Mapping[TopicPartition, Commit | None]) -> dict[TopicPartition, int]:
        await self._in_thread(lambda: self._clean(commits))
        return {}

    def _clean(self, commits: Mapping[TopicPartition, Commit | None]) -> None:
        touched: set[Path] = set()
        for file in self._found:
            if file.partition not in commits:
                continue
            commit = commits[file.partition]
            if commit is None:
                # The first offset is committed before the first file is written, so this commit has been lost.
                raise ServiceError(
                    f"consumer group {self._group} has no commit for {file.partition.topic}/{file.partition.partition} "
                    f"(expired, or the group was renamed), but {file.path} holds offsets of this broker: set the "
                    f"group's offset past the last file, or move the files away"
                )
            if file.first >= commit.offset:
                file.path.unlink(missing_ok=True)
                touched.add(file.path.parent)
                self._removed += 1
                self._log.info("removed an uncommitted file", path=str(file.path))
        self._found = []
        for place in touched:
            sync_folder(place)
        remove_dead_drafts(self._root, commits)

    async def submit(self, chunk: BatchChunk) -> None:
        for hour, of_hour in _by_hour(chunk.rows, record_time(chunk.kind)):
            key = (chunk.partition, hour)
            file = self._open.get(key)
            if file is None:
                file = self._open[key] = HourFile(
                    self._root, chunk.partition, hour, self._incarnation, schema(chunk.kind), options(chunk.kind)
                )
            file.add(of_hour)
            if file.pending_bytes >= ROW_GROUP_BYTES:
                await self._in_thread(file.write_group)

    def seal(self, spans: Sequence[Span]) -> None:
        self._sealed, self._open = list(self._open.values()), {}

    async def write(self, spans: Sequence[Span], *, recovering: bool, give_up: asyncio.Event) -> None:
        files = self._sealed
        self._written = await self._in_thread(lambda: self._checkpoint(files))
        self._sealed = []
        self._rows.update(_rows(self._written))

    def _checkpoint(self, files: list[HourFile]) -> list[Stored]:
        for file in files:
            file.finish()
        written = [file.publish() for file in files]
        for place in {file.path.parent for file in written}:
            sync_folder(place)
        self._files += len(written)
        self._bytes += sum(file.path.stat().st_size for file in written)
        return written

    async def rollback(self, spans: Sequence[Span]) -> None:
        written, self._written = self._written, []

        def remove() -> None:
            for file in written:
                # The next owner may already have removed it.
                file.path.unlink(missing_ok=True)
            for place in {file.path.parent for file in written}:
                sync_folder(place)

        await self._in_thread(remove)
        self._files -= len(written)
        self._rows.subtract(_rows(written))

    async def discard(self, partitions: Collection[TopicPartition]) -> None:
        files = [*self._sealed, *self._open.values()]
        self._sealed, self._open = [], {}

        def abandon() -> None:
            for file in files:
                file.abandon()

        await self._in_thread(abandon)

    def status(self) -> dict[str, Any]:
        return {
            "rows": dict(self._rows),
            "files": self._files,
            "bytes": self._bytes,
            "open_files": len(self._sealed) + len(self._open),
            "uncommitted_files_removed": self._removed,
            "place": str(self._root),
        }

    async def close(self) -> None:
        await self.discard(())
        self._thread.shutdown(wait=True)

    async def _in_thread(self, work: Callable[[], T]) -> T:
        try:
            return await asyncio.get_running_loop().run_in_executor(self._thread, work)
        except OSError as error:
            place = error.filename or self._root
            raise ServiceError(f"parquet.path: cannot write {place}: {error.strerror or error}") from error


def _rows(files: Sequence[Stored]) -> Counter[str]:
    counts: Counter[str] = Counter()
    for file in files:
        counts[file.partition.topic] += file.rows
    return counts


def _by_hour(rows: pa.RecordBatch, time: str) -> list[tuple[int, pa.RecordBatch]]:
    """Split rows by the hour of their column ``time``, in order."""
    hours = np.floor_divide(rows.column(time).cast(pa.int64()).to_numpy(), HOUR_NS)
    first = int(hours[0])
    if (hours == first).all():
        return [(first, rows)]
    return [(int(hour), rows.filter(pa.array(hours == hour))) for hour in np.unique(hours)]
