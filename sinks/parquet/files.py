"""Drafts: files being written, of one partition and one folder.

A draft is a file of the local disk, hidden and named ``.<writer>-<incarnation>-<partition>-<number>.tmp``, in the
store's folder for drafts; it is complete and durable before :meth:`sinks.parquet.store.Store.publish` puts it in its
place. It is locked with ``flock``, which the kernel releases when the writer dies, however it does: a draft that can be
locked has no writer any more, and whoever starts next removes it.
"""

from __future__ import annotations

import fcntl
import itertools
import json
import os
import secrets
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO, Any, Final

import pyarrow as pa
import pyarrow.parquet as pq
from aiokafka import TopicPartition

from sinks.columns import OFFSET
from sinks.parquet.names import cell_of, file_name, safe_name

ROW_GROUP_BYTES: Final = 32 * 2**20
"""Arrow bytes per row group."""

WRITER: Final = secrets.token_hex(4)
_NUMBERS: Final = itertools.count()


def open_draft(path: Path) -> IO[bytes]:
    """Create and lock a draft.

    Raises:
        OSError: it cannot be created.
    """
    while True:
        file = path.open("wb")
        fcntl.flock(file, fcntl.LOCK_EX)
        # Between open and lock a process that sweeps may have taken it for a dead one's.
        with suppress(FileNotFoundError):
            if path.stat().st_ino == os.fstat(file.fileno()).st_ino:
                return file
        file.close()


@contextmanager
def drafted(path: Path) -> Iterator[IO[bytes]]:
    """A draft as a context: in the end removed, if it is still there, and its lock given up.

    Raises:
        OSError: it cannot be created.
    """
    file = open_draft(path)
    try:
        yield file
    finally:
        path.unlink(missing_ok=True)
        with suppress(OSError):  # a full disk: what is buffered cannot be written; a good draft has been flushed
            file.close()


def remove_dead_drafts(folder: Path) -> int:
    """Remove the drafts in ``folder`` whose writers have ended; return their number."""
    removed = 0
    for path in folder.glob(".*.tmp"):
        with suppress(FileNotFoundError, BlockingIOError), path.open("rb") as draft:
            fcntl.flock(draft, fcntl.LOCK_EX | fcntl.LOCK_NB)
            path.unlink()
            removed += 1
    return removed


def checkpoint_text(first: int, last: int, rows: Mapping[str, int]) -> str:
    """Return the metadata of one checkpoint of a partition: its offsets, and its rows by folder, of all its files."""
    return json.dumps([{"first": first, "last": last, "rows": {cell_of(at): count for at, count in rows.items()}}])


class FolderFile:
    """A file being written: rows of one partition and one folder.

    All methods block, and raise OSError on disk errors.

    Args:
        drafts: folder of the drafts; exists.
        partition: of the rows.
        folder: relative to the root.
        incarnation: instance of the broker's log that the offsets belong to.
        schema: schema of the rows; must have ``_offset``.
        options: for :class:`pyarrow.parquet.ParquetWriter`: compression, encodings.
    """

    def __init__(
        self,
        drafts: Path,
        partition: TopicPartition,
        folder: str,
        incarnation: str,
        schema: pa.Schema,
        options: Mapping[str, Any],
    ) -> None:
        self.partition = partition
        self.folder = folder
        self.rows = 0
        self.pending_bytes = 0
        self._drafts = drafts
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
        key = f"{safe_name(self._incarnation)}-{self.partition.partition}-{next(_NUMBERS)}"
        self._draft = self._drafts / f".{WRITER}-{key}.tmp"
        self._file = open_draft(self._draft)
        self._writer = pq.ParquetWriter(self._file, self._schema, **self._options)

    def finish(self, first: int, last: int, rows: Mapping[str, int]) -> None:
        """Write the remaining rows and the footer, and make the draft durable.

        Args:
            first: first offset that the checkpoint answers for in this partition.
            last: last one.
            rows: rows of the checkpoint in this partition, by folder.
        """
        if not self.rows:
            raise RuntimeError("finish() of a file without rows")
        self.write_group()
        if self._writer is None or self._file is None:
            raise RuntimeError("finish() of a closed file")
        self._writer.add_key_value_metadata(
            {
                "alphapulse.topic": self.partition.topic,
                "alphapulse.partition": str(self.partition.partition),
                "alphapulse.incarnation": self._incarnation,
                "alphapulse.first_offset": str(self._first),
                "alphapulse.last_offset": str(self._last),
                "alphapulse.rows": str(self.rows),
                "alphapulse.checkpoints": checkpoint_text(first, last, rows),
            }
        )
        self._writer.close()
        self._writer = None
        self._file.flush()
        os.fsync(self._file.fileno())

    def target(self, first: int, last: int) -> tuple[Path, str]:
        """Return the finished draft and its path in the store, for :meth:`sinks.parquet.store.Store.publish`."""
        if self._draft is None or self._writer is not None:
            raise RuntimeError("target() before finish()")
        name = file_name(WRITER, safe_name(self._incarnation), self.partition.partition, first, last)
        return self._draft, f"{self.folder}/{name}"

    def close(self) -> None:
        """Remove the draft, unless it was published, and give up its lock."""
        self._pending = []
        if self._file is None:
            return
        if self._writer is not None:
            with suppress(OSError, pa.ArrowException):  # the footer of a file that is never read
                self._writer.close()
            self._writer = None
        if self._draft is not None:
            self._draft.unlink(missing_ok=True)
        with suppress(OSError):  # a full disk: what is buffered cannot be written, and need not
            self._file.close()
        self._file = None
