"""Parquet target: exactly-once files.

A write is a checkpoint: every open draft is closed and synced, and all are published; then the loop commits the
offsets. If the process is killed before it publishes, the rows exist only on the broker. If it is killed between
publishing and commit, the files are *past* the commit, and the partition's next owner removes them before it reads. A
file never spans a commit, because a checkpoint closes all files of a partition. So it does not matter where the bounds
of a checkpoint fall (rows, bytes, time, end of an hour, ``POST /flush``, a rebalance): a file may have other rows the
second time, since the first one has been removed by then.

A bucket that cannot be reached is waited for: the drafts are on the local disk, and publishing is repeated until it
succeeds or the partitions have to be given up. What was uploaded by then is past the commit, as above. A disk that is
full ends the process: what it has committed stays, its drafts are removed, and whoever starts next reads the rest
again.

This requires that all sinks of a group that may own a partition use the same store. Not covered: a process that is
stopped (not killed) for longer than the group's session just before it publishes, continues after another has taken
over, and is killed before the refusal of its commit makes it remove its files again; and, in a bucket, a last request
that the store completes after its sender was killed and after the next owner has looked. ``alphapulse parquet verify``
finds the overlap that they leave.
"""

from __future__ import annotations

import asyncio
from collections import Counter, defaultdict
from collections.abc import Callable, Collection, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import replace
from typing import Any, Final, TypeVar

import pyarrow.parquet as pq
from aiokafka import TopicPartition

from alphapulse import logs
from alphapulse.config import Settings
from alphapulse.errors import ServiceError
from sinks.contract import Abandoned, BatchChunk, BatchLimits, Commit, Span
from sinks.parquet.encodings import options
from sinks.parquet.files import ROW_GROUP_BYTES, FolderFile
from sinks.parquet.layout import Layout
from sinks.parquet.names import Stored, parsed, safe_name
from sinks.parquet.places import configured
from sinks.parquet.store import Store

T = TypeVar("T")

BATCH_BYTES: Final = 1024 * 2**20
"""Maximum encoded size of a checkpoint; it is in drafts, not in memory."""
MEMORY_BYTES: Final = 96 * 2**20
"""Maximum Arrow bytes buffered for row groups, all files of a batch together; there are at most two batches."""
OPEN_FILES: Final = 64
"""Files of a batch, by partition and hour. More are written at once: a backfill of a year has 8,784 hours."""
OPEN_INSTRUMENT_FILES: Final = 400
"""Likewise where each instrument has files; two batches stay below the usual limit of 1,024 open files."""
PAUSE_SECONDS: Final = (0.5, 10.0)
"""Pause before a bucket that failed is tried again: the first, and the longest."""


class ParquetTarget:
    """Parquet files as a :class:`sinks.contract.SinkTarget`.

    Args:
        settings: store and bounds of a checkpoint.
        incarnation: identifies the instance of the broker's log that the offsets belong to.
        stopping: ends the wait for a bucket that cannot be reached when the service starts.

    Attributes:
        waiting: called with the reason when the store cannot be reached, with an empty text when it can again.
    """

    def __init__(self, settings: Settings, incarnation: str, stopping: asyncio.Event | None = None) -> None:
        self._store: Store = configured(settings)
        self._layout = Layout(settings.parquet.partition_by, decimals=settings.parquet.decimals)
        self._open_files = OPEN_INSTRUMENT_FILES if self._layout.by_instrument else OPEN_FILES
        self._group = settings.parquet.group
        self._incarnation = incarnation
        self._limits = BatchLimits(settings.parquet.batch_records, BATCH_BYTES, settings.parquet.batch_seconds)
        self._open: dict[tuple[TopicPartition, str], FolderFile] = {}
        self._sealed: list[FolderFile] = []
        self._found: list[Stored] = []
        self._written: list[Stored] = []
        self._next: dict[TopicPartition, int] = {}
        self._rows: Counter[str] = Counter()
        self._files = 0
        self._bytes = 0
        self._removed = 0
        self._unreachable = ""
        self._stopping = stopping if stopping is not None else asyncio.Event()
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="parquet")
        self._log = logs.get("parquet")
        self.waiting: Callable[[str], None] = lambda _: None

    @property
    def limits(self) -> BatchLimits:
        return self._limits

    @property
    def full(self) -> bool:
        return len(self._open) >= self._open_files or sum(f.pending_bytes for f in self._open.values()) >= MEMORY_BYTES

    async def open(self) -> None:
        await self._reach(self._store.open, self._stopping)

    async def survey(self, partitions: Collection[TopicPartition]) -> None:
        name = safe_name(self._incarnation)

        def look() -> list[Stored]:
            topics = {key.topic for key in partitions}
            files = [file for topic in topics for file in self._store.files(topic)]
            self._layout.check(self._store.place, files)
            return [file for file in files if file.incarnation == name]

        self._found = await self._reach(look, self._stopping)

    async def assign(self, commits: Mapping[TopicPartition, Commit | None]) -> dict[TopicPartition, int]:
        await self._reach(lambda: self._clean(commits), self._stopping)
        return {}

    def _clean(self, commits: Mapping[TopicPartition, Commit | None]) -> None:
        past: list[Stored] = []
        self._next = {}
        for file in self._found:
            if file.partition not in commits:
                continue
            commit = commits[file.partition]
            name = f"{file.partition.topic}/{file.partition.partition}"
            if commit is None:
                # The first offset is committed before the first file is written, so this commit has been lost.
                raise ServiceError(
                    f"consumer group {self._group} has no commit for {name} "
                    f"(expired, or the group was renamed), but {self._full(file)} holds offsets of this broker: set "
                    f"the group's offset past the last file, or move the files away"
                )
            if file.last < commit.offset:
                self._next[file.partition] = max(self._next.get(file.partition, 0), file.last + 1)
            elif (first := self._first_row(file)) is None:
                continue  # removed by its writer, whose commit was refused, since it was listed
            elif first >= commit.offset:
                past.append(file)
            else:
                raise ServiceError(
                    f"consumer group {self._group} has committed {name} up to offset {commit.offset}, but "
                    f"{self._full(file)} holds offsets before and after it (the group's offset was set back?): set "
                    f"it to {file.last + 1}, or move the files of this partition away"
                )
        self._store.remove([file.path for file in past])
        self._found = []
        self._removed += len(past)
        for file in past:
            self._log.info("removed an uncommitted file", path=self._full(file))
        self._store.sweep()

    def _first_row(self, file: Stored) -> int | None:
        """Return the offset of the first row; that in the name may be of a record before, which had none.

        None: the file does not exist any more.
        """
        try:
            with self._store.source(file.path) as source:
                metadata = pq.ParquetFile(source).metadata.metadata or {}
        except FileNotFoundError:
            return None
        return int(metadata.get(b"alphapulse.first_offset", file.first))

    def _full(self, file: Stored) -> str:
        return f"{self._store.place}/{file.path}"

    async def submit(self, chunk: BatchChunk) -> None:
        for folder, rows in self._layout.split(chunk.partition.topic, chunk.kind, chunk.rows):
            key = (chunk.partition, folder)
            file = self._open.get(key)
            if file is None:
                schema = self._layout.schema(chunk.kind)
                file = self._open[key] = FolderFile(
                    self._store.drafts,
                    chunk.partition,
                    folder,
                    self._incarnation,
                    schema,
                    options(chunk.kind, schema),
                )
            file.add(rows)
            if file.pending_bytes >= ROW_GROUP_BYTES:
                await self._in_thread(file.write_group)

    def seal(self, spans: Sequence[Span]) -> None:
        self._sealed, self._open = list(self._open.values()), {}

    async def write(self, spans: Sequence[Span], *, recovering: bool, give_up: asyncio.Event) -> None:
        files = self._sealed
        # From the end of the last file: records between had no row.
        ranges = {
            span.partition: (min(self._next.get(span.partition, span.first), span.first), span.last) for span in spans
        }
        await self._in_thread(lambda: _finish(files, ranges))
        try:
            written = await self._reach(lambda: self._publish(files, ranges), give_up)
        except Unreachable as error:
            raise Abandoned from error
        self._sealed = []
        self._written = written
        for file in written:
            self._next[file.partition] = file.last + 1
        self._files += len(written)
        self._bytes += sum(file.size for file in written)
        self._rows.update(_rows(written))

    def _publish(self, files: list[FolderFile], ranges: Mapping[TopicPartition, tuple[int, int]]) -> list[Stored]:
        targets = [file.target(*ranges[file.partition]) for file in files]
        sizes = [draft.stat().st_size for draft, _ in targets]
        self._store.publish(targets)
        for file in files:
            file.close()
        found = [parsed(path, size) for (_, path), size in zip(targets, sizes, strict=True)]
        return [replace(name, rows=file.rows) for name, file in zip(found, files, strict=True) if name is not None]

    async def rollback(self, spans: Sequence[Span]) -> None:
        written, self._written = self._written, []
        # The next owner may already have removed them.
        await self._in_thread(lambda: self._store.remove([file.path for file in written]))
        self._next = {}
        self._files -= len(written)
        self._rows.subtract(_rows(written))

    async def discard(self, partitions: Collection[TopicPartition]) -> None:
        files = [*self._sealed, *self._open.values()]
        self._sealed, self._open = [], {}

        def close() -> None:
            for file in files:
                file.close()

        await self._in_thread(close)

    def status(self) -> dict[str, Any]:
        return {
            "rows": dict(self._rows),
            "files": self._files,
            "bytes": self._bytes,
            "open_files": len(self._sealed) + len(self._open),
            "uncommitted_files_removed": self._removed,
            "unreachable": self._unreachable,
            "place": self._store.place,
        }

    async def close(self) -> None:
        await self.discard(())
        self._thread.shutdown(wait=True)

    async def _reach(self, work: Callable[[], T], give_up: asyncio.Event) -> T:
        """Do ``work`` in the thread; repeat what a bucket fails to do, until ``give_up`` is set.

        Raises:
            Unreachable: it gave up.
            ServiceError: it cannot be done, for a reason that needs a person.
        """
        pause = PAUSE_SECONDS[0]
        while True:
            try:
                done = await asyncio.get_running_loop().run_in_executor(self._thread, work)
            except OSError as error:
                if self._store.exchanges:
                    raise self._failure(error) from error
                reason = f"cannot use {error.filename or self._store.place}: {error.strerror or error}"
                self._unreachable = reason
                self.waiting(reason)
                with suppress(TimeoutError):
                    await asyncio.wait_for(give_up.wait(), pause)
                if give_up.is_set():
                    raise Unreachable(f"parquet.path: {reason}") from error
                pause = min(pause * 2, PAUSE_SECONDS[1])
            else:
                if self._unreachable:
                    self._unreachable = ""
                    self.waiting("")
                return done

    async def _in_thread(self, work: Callable[[], T]) -> T:
        try:
            return await asyncio.get_running_loop().run_in_executor(self._thread, work)
        except OSError as error:
            raise self._failure(error) from error

    def _failure(self, error: OSError) -> ServiceError:
        place = error.filename or self._store.place
        return ServiceError(
            f"parquet.path: cannot write {place}: {error.strerror or error}; files that are committed are kept, "
            "other records will be read again"
        )


class Unreachable(ServiceError):
    """A bucket could not be reached in time."""


def _finish(files: list[FolderFile], ranges: Mapping[TopicPartition, tuple[int, int]]) -> None:
    """Finish the drafts of a checkpoint."""
    rows: dict[TopicPartition, dict[str, int]] = defaultdict(dict)
    for file in files:
        rows[file.partition][file.folder] = file.rows
    for file in files:
        file.finish(*ranges[file.partition], rows[file.partition])


def _rows(files: Sequence[Stored]) -> Counter[str]:
    counts: Counter[str] = Counter()
    for file in files:
        counts[file.partition.topic] += file.rows
    return counts
