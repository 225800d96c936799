"""Merging: the files of an hour and partition into one, sorted.

The rows of a compacted file are sorted by instrument, then by offset, which is the order of receipt within an
instrument: its row groups have narrow statistics on venue, symbol and time, and readers skip those they do not need.

Memory is bounded by :data:`PASS_BYTES` and a row group: instruments are gathered in as many passes over the sources as
needed, an instrument larger than that goes through row group by row group, since the sources are in its order already.
"""

from __future__ import annotations

import json
import operator
import os
import time
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from functools import reduce
from pathlib import Path
from typing import Any, Final

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from aiokafka import TopicPartition

from schemas.definitions import definitions
from schemas.records import Record
from sinks.columns import OFFSET
from sinks.parquet.decimals import fields, mantissas, with_decimals
from sinks.parquet.encodings import compacted, sorted_by
from sinks.parquet.files import drafted
from sinks.parquet.names import Stored, cell_of, hour_text
from sinks.parquet.store import Store

PASS_BYTES: Final = 256 * 2**20
"""Arrow bytes gathered and sorted at once."""
ROW_GROUP_ROWS: Final = 65_536
"""Rows per row group of a compacted file, at most (measured: DESIGN.md)."""
ROW_GROUP_BYTES: Final = 32 * 2**20
"""Arrow bytes per row group, about."""

_CLASS_OF: Final[dict[str, type[Record]]] = {found.topic: found.record for found in definitions()}

Key = tuple[str | None, ...]
"""An instrument: the values of :func:`instrument_columns`."""


@dataclass(frozen=True, slots=True)
class Group:
    """Files that become one: of one partition in one folder, in the order of their offsets."""

    partition: TopicPartition
    incarnation: str
    hour: int
    files: tuple[Stored, ...]

    @property
    def name(self) -> str:
        """The group for people."""
        cell = cell_of(self.files[0].folder)
        return f"{self.partition.topic}/{self.partition.partition} {cell if '=' in cell else hour_text(self.hour)}"


class NotCompacted(Exception):
    """A group has to stay as it is; the text says why."""


def instrument_columns(names: Sequence[str]) -> list[str]:
    """Return the columns that name a row's instrument."""
    return [name for name in ("venue", "symbol") if name in names]


def merge(store: Store, group: Group, draft: Path, drafts: ExitStack) -> int:
    """Write the rows of a group's files to a draft, durably; return their number.

    Args:
        drafts: keeps the draft locked, and removes it in the end if it is still there.

    Raises:
        NotCompacted: the files cannot become one.
    """
    for one, other in zip(group.files, group.files[1:], strict=False):
        if other.first <= one.last:
            raise NotCompacted(
                f"{other.path} (offsets {other.first} to {other.last}) overlaps {one.path} "
                f"({one.first} to {one.last}): `alphapulse parquet verify` says more"
            )
    with ExitStack() as opened:
        sources = [_Source(store, file, opened) for file in group.files]
        schema = _unified(sources)
        keys = instrument_columns(schema.names)
        wanted = sum(source.rows for source in sources)
        out = drafts.enter_context(drafted(draft))
        kind = _CLASS_OF.get(group.partition.topic)
        if kind is None:
            raise NotCompacted(f"topic {group.partition.topic} is not known to this version")
        if OFFSET not in schema.names:
            raise NotCompacted(f"{group.files[0].path} has no column {OFFSET}")
        chosen = {**compacted(kind, schema), "sorting_columns": sorted_by(schema, (*keys, OFFSET))}
        with pq.ParquetWriter(out, schema, **chosen) as writer:
            written = _write_sorted(writer, sources, schema, keys, kind)
            writer.add_key_value_metadata(_metadata(group, sources))
        out.flush()
        os.fsync(out.fileno())
    if written != wanted:
        raise NotCompacted(f"its files have {wanted:,} rows by their metadata and {written:,} when they are read")
    return written


class _Source:
    """A file to be merged.

    Raises:
        NotCompacted: it cannot be read.
    """

    def __init__(self, store: Store, file: Stored, opened: ExitStack) -> None:
        self.file = file
        try:
            self.parquet = opened.enter_context(pq.ParquetFile(opened.enter_context(store.source(file.path))))
        except (OSError, pa.ArrowException) as error:
            raise NotCompacted(f"{file.path} cannot be read: {error}") from error
        self.rows: int = self.parquet.metadata.num_rows
        self.schema: pa.Schema = self.parquet.schema_arrow.remove_metadata()
        self.metadata: Mapping[bytes, bytes] = self.parquet.metadata.metadata or {}

    def groups(self, columns: list[str] | None = None) -> Iterator[pa.Table]:
        """Yield the row groups.

        Raises:
            NotCompacted: one cannot be read.
        """
        for number in range(self.parquet.num_row_groups):
            try:
                yield self.parquet.read_row_group(number, columns=columns)
            except (OSError, pa.ArrowException) as error:
                raise NotCompacted(f"{self.file.path}, row group {number}, cannot be read: {error}") from error


def _unified(sources: Sequence[_Source]) -> pa.Schema:
    """Return a schema with all columns of the sources: a newer version may have written some of them."""
    try:
        return pa.unify_schemas([source.schema for source in sources])
    except pa.ArrowException as error:
        raise NotCompacted(f"its files have columns that do not agree: {error}") from error


def _write_sorted(
    writer: pq.ParquetWriter, sources: Sequence[_Source], schema: pa.Schema, keys: list[str], kind: type[Record]
) -> int:
    """Write all rows, sorted by instrument and offset; return their number."""
    counts, row_bytes = _instruments(sources, keys)
    group_rows = max(min(ROW_GROUP_ROWS, ROW_GROUP_BYTES // max(row_bytes, 1)), 1)
    written = 0
    for chosen in _passes(counts, max(PASS_BYTES // max(row_bytes, 1), 1)):
        everything = len(chosen) == len(counts)
        pending: list[pa.Table] = []
        pending_rows = 0
        for source in sources:
            for table in source.groups():
                found = completed(table if everything else _of(table, keys, chosen), schema, kind)
                rows = pa.concat_tables([found, schema.empty_table()], promote_options="default")
                pending.append(rows.select(schema.names).cast(schema))
                pending_rows += rows.num_rows
                # A single instrument is in order already: no need to hold all of it.
                if len(chosen) == 1 and pending_rows >= group_rows:
                    written += _write(writer, pending, keys, group_rows)
                    pending, pending_rows = [], 0
        written += _write(writer, pending, keys, group_rows)
    return written


def completed(table: pa.Table, schema: pa.Schema, kind: type[Record]) -> pa.Table:
    """Return rows with the decimals that a schema has and they lack, if they can be computed."""
    missing = {field.name for field in fields(kind)} & {*schema.names} - {*table.schema.names}
    if not missing or not table.num_rows or not mantissas(kind).keys() <= {*table.schema.names}:
        return table
    return pa.Table.from_batches([with_decimals(kind, rows) for rows in table.combine_chunks().to_batches()])


def _write(writer: pq.ParquetWriter, pending: Sequence[pa.Table], keys: Sequence[str], group_rows: int) -> int:
    if not pending:
        return 0
    table = pa.concat_tables(pending)
    if table.num_rows:
        order = pc.sort_indices(table, sort_keys=[(name, "ascending") for name in (*keys, OFFSET)])
        writer.write_table(table.take(order).combine_chunks(), row_group_size=group_rows)
    return table.num_rows


def _instruments(sources: Sequence[_Source], keys: list[str]) -> tuple[dict[Key, int], int]:
    """Return instrument → rows, sorted, and the mean Arrow bytes of a row."""
    counts: dict[Key, int] = defaultdict(int)
    size = rows = 0
    for source in sources:
        for number in range(source.parquet.num_row_groups):
            group = source.parquet.metadata.row_group(number)
            size += group.total_byte_size
            rows += group.num_rows
        if not keys:
            counts[()] += source.rows
            continue
        for table in source.groups(keys):
            for row in table.group_by(list(keys)).aggregate([([], "count_all")]).to_pylist():
                counts[tuple(row[name] for name in keys)] += row["count_all"]
    # The encoded size is smaller than Arrow's: dictionaries, deltas.
    # As Arrow sorts: rows without a value (of events) last.
    by_key = sorted(counts.items(), key=lambda each: [(value is None, value or "") for value in each[0]])
    return dict(by_key), 3 * size // max(rows, 1)


def _passes(counts: Mapping[Key, int], limit: int) -> Iterator[list[Key]]:
    """Yield instruments in order, as many at a time as have ``limit`` rows together; at least one."""
    chosen: list[Key] = []
    rows = 0
    for key, count in counts.items():
        if chosen and rows + count > limit:
            yield chosen
            chosen, rows = [], 0
        chosen.append(key)
        rows += count
    if chosen:
        yield chosen


def _of(table: pa.Table, keys: Sequence[str], chosen: Sequence[Key]) -> pa.Table:
    """Return the rows of some instruments, which are consecutive in the order of all."""

    def of(name: str, value: str | None) -> pc.Expression:
        return pc.field(name).is_null() if value is None else pc.field(name) == value

    conditions = [reduce(operator.and_, [of(*pair) for pair in zip(keys, key, strict=True)]) for key in chosen]
    return table.filter(reduce(operator.or_, conditions))


def _metadata(group: Group, sources: Sequence[_Source]) -> dict[str, str]:
    checkpoints: list[Any] = []
    for source in sources:
        text = source.metadata.get(b"alphapulse.checkpoints")
        if text is None:
            raise NotCompacted(f"{source.file.path} was written by an earlier version")
        checkpoints += json.loads(text)
    incarnation = sources[0].metadata.get(b"alphapulse.incarnation", b"").decode()
    return {
        "alphapulse.topic": group.partition.topic,
        "alphapulse.partition": str(group.partition.partition),
        "alphapulse.incarnation": incarnation,
        "alphapulse.first_offset": sources[0].metadata.get(b"alphapulse.first_offset", b"").decode(),
        "alphapulse.last_offset": sources[-1].metadata.get(b"alphapulse.last_offset", b"").decode(),
        "alphapulse.rows": str(sum(source.rows for source in sources)),
        "alphapulse.checkpoints": json.dumps(checkpoints),
        "alphapulse.compacted": str(time.time_ns()),
    }
