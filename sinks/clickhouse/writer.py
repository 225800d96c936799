"""ClickHouse target: exactly-once inserts.

A write inserts *groups*: a group is a set of spans of one topic, inserted as one block under one
``insert_deduplication_token`` made of incarnation, topic and spans. On a server each span is its own group; in the
embedded engine, where one process owns the data and an insert costs some milliseconds however few its rows, the spans
of a topic share one.

The plan (see :mod:`sinks.consumer`) names the whole group in the commit of each of its partitions, so that the next
owner rebuilds the same block with the same token. ClickHouse's own deduplication is then sufficient except in three
cases:

* MergeTree writes a block's token to its log *before* it renames the part (``MergeTreeSink::finishDelayedChunk``):
  killed between the two, it would take the repeated block for a duplicate and drop it;
* its log is not synced to the disk, the parts are: after a power cut it may have forgotten a block it holds;
* it remembers ``non_replicated_deduplication_window`` *parts*, and a block has one part per table partition.

So a block that may have been stored before is *settled*: the offsets that are in the table are read back
(the time range of the rows in hand lets the primary key find them), and what is missing is inserted.

A materialized view on a table also gets each row once, by the block's token (its target table needs a deduplication
window). Only in the first of the three cases may it count the rows of the repaired part twice.
"""

from __future__ import annotations

import asyncio
import hashlib
import secrets
import time
from collections import Counter
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any, Final

import numpy as np
import pyarrow as pa
from aiokafka import TopicPartition

from alphapulse import logs, topics
from alphapulse.config import ClickHouseSettings
from alphapulse.errors import ServiceError
from sinks.clickhouse.engine import Engine, StatementRefused, Unreachable
from sinks.clickhouse.pacing import InsertPacing
from sinks.clickhouse.plan import InsertGroup, plan_text, read_plan
from sinks.clickhouse.preparation import explained, prepare
from sinks.clickhouse.retention import not_expired
from sinks.clickhouse.sampling import DepthSampling
from sinks.clickhouse.tables import INCARNATION, TABLE_OF, Table
from sinks.columns import OFFSET, PARTITION
from sinks.contract import Abandoned, BatchChunk, BatchLimits, Commit, Span

BATCH_BYTES: Final = 16 * 2**20
"""Maximum encoded size of a batch; there are two of them, about three times that size as rows."""
GROUP_SPANS: Final = 50
"""Keeps a plan below the 4096 bytes that a broker accepts as a commit's metadata."""
DAYS: Final = 50
"""Maximum number of days whose rows are written at once: each is a part, and all must fit the deduplication window."""
REPAIRS: Final = 5

SMALL_ROWS: Final = 5_000
"""Inserts of up to this many rows run in one thread: starting a dozen costs more than they save."""

_DAY_NS: Final = 86_400 * 10**9
_ONE_BLOCK: Final = 2**32

INSERT_SETTINGS: Final[Mapping[str, Any]] = {
    "async_insert": 0,
    "insert_deduplicate": 1,
    "deduplicate_blocks_in_dependent_materialized_views": 1,
    "max_partitions_per_insert_block": 0,
    # One insert is one block: a block is what deduplication compares.
    "max_insert_block_size": _ONE_BLOCK,
    "min_insert_block_size_rows": _ONE_BLOCK,
    "min_insert_block_size_bytes": _ONE_BLOCK,
}
ONE_THREAD: Final[Mapping[str, Any]] = {"max_threads": 1, "max_insert_threads": 1}


class ClickHouseTarget:
    """ClickHouse tables as a :class:`sinks.contract.SinkTarget`.

    Args:
        settings: batch bounds.
        engine: not open yet.
        incarnation: identifies the instance of the broker's log that the offsets belong to.
        stopping: ends the wait for a server that does not answer.
        sampling: of ``md.depth``; None: every record is stored as it is.
        clock: monotonic seconds.
    """

    def __init__(
        self,
        settings: ClickHouseSettings,
        engine: Engine,
        incarnation: str,
        stopping: asyncio.Event,
        *,
        sampling: DepthSampling | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._settings = settings
        self._engine = engine
        self._sampling = sampling
        self._clock = clock
        self._incarnation = incarnation
        self._stopping = stopping
        self._group = settings.group
        self._pacing = InsertPacing(settings.batch_seconds, settings.longest_batch_seconds)
        self._pending: dict[TopicPartition, list[pa.RecordBatch]] = {}
        self._sealed: dict[TopicPartition, list[pa.RecordBatch]] = {}
        self._days: set[int] = set()
        self._planned: list[InsertGroup] = []
        self._rows: Counter[str] = Counter()
        self._found = 0
        self._log = logs.get("clickhouse")

    @property
    def limits(self) -> BatchLimits:
        """Bounds of a batch; the time follows the arrival rate."""
        seconds = self._pacing.seconds
        # A single record after a pause is a part, too, but nobody waits for it.
        return BatchLimits(self._settings.batch_records, BATCH_BYTES, seconds, idle_seconds=2 * seconds)

    @property
    def full(self) -> bool:
        return len(self._days) > DAYS

    async def open(self) -> None:
        await self._engine.open(self._stopping)

        await self._engine.retry(lambda: prepare(self._engine, self._settings), self._stopping)

    async def survey(self, partitions: Collection[TopicPartition]) -> None:
        """Do nothing: rows past a commit are settled by its plan."""

    async def assign(self, commits: Mapping[TopicPartition, Commit | None]) -> dict[TopicPartition, int]:
        forgotten = [key for key, commit in commits.items() if commit is None]
        await self._engine.retry(lambda: self._check_forgotten(forgotten), self._stopping)
        self._planned = []
        planned: dict[TopicPartition, int] = {}
        groups: set[tuple[Span, ...]] = set()
        for key, commit in commits.items():
            if commit is None or not (spans := read_plan(key.topic, commit.plan)):
                continue
            own = next((span for span in spans if span.partition == key), None)
            if own is None or own.first != commit.offset:
                raise ServiceError(f"the group's commit for {key} carries a plan of other partitions: {commit.plan}")
            planned[key] = own.last
            ours = all((c := commits.get(span.partition)) is not None and c.plan == commit.plan for span in spans)
            if ours:
                groups.add(spans)
            else:
                self._planned.append(InsertGroup((own,), settle=True, whole=len(spans) == 1))
        self._planned += [InsertGroup(spans, settle=True) for spans in sorted(groups)]
        return planned

    async def _check_forgotten(self, partitions: Sequence[TopicPartition]) -> None:
        """Refuse partitions without a commit whose rows are in the tables.

        A plan is committed before the first row is written, so the commit has been lost; reading the partition from its
        beginning would duplicate the rows.
        """
        for topic in sorted({key.topic for key in partitions}):
            table = TABLE_OF[topic].name
            try:
                found = await self._engine.rows(
                    f"SELECT {PARTITION}, max({OFFSET}) FROM {table} "  # noqa: S608 names of our own
                    f"WHERE {INCARNATION} = {{incarnation:String}} GROUP BY {PARTITION}",
                    {"incarnation": self._incarnation},
                )
            except StatementRefused as error:
                raise explained(self._engine, table, error) from error
            for partition, last in found:
                if TopicPartition(topic, partition) in partitions:
                    raise ServiceError(
                        f"consumer group {self._group} has no commit for {topic}/{partition} (expired, or the group "
                        f"was renamed), but table {table} holds its offsets up to {last}: set the group's offset to "
                        f"{last + 1}"
                    )

    async def submit(self, chunk: BatchChunk) -> None:
        rows = chunk.rows
        if self._sampling is not None and chunk.partition.topic == topics.DEPTH:
            rows = self._sampling.cut(rows)
        self._pending.setdefault(chunk.partition, []).append(rows)
        times = chunk.rows.column(TABLE_OF[chunk.partition.topic].time).cast(pa.int64()).to_numpy()
        self._days.update(np.unique(np.floor_divide(times, _DAY_NS)).tolist())

    def seal(self, spans: Sequence[Span]) -> dict[TopicPartition, str]:
        self._sealed, self._pending = self._pending, {}
        self._days = set()
        if self._sampling is not None:
            for key, batches in self._sealed.items():
                if key.topic == topics.DEPTH:
                    self._sealed[key] = self._sampling.sample(batches)
        rows = sum(batch.num_rows for batches in self._sealed.values() for batch in batches)
        groups = self._groups(spans)
        parts = Counter(group.topic for group in groups)
        self._pacing.sealed(rows, self._clock(), max(parts.values(), default=0))
        return {span.partition: plan_text(group) for group in groups for span in group.spans}

    def _groups(self, spans: Sequence[Span]) -> list[InsertGroup]:
        if not self._engine.embedded:
            return [InsertGroup((span,)) for span in spans]
        by_topic: dict[str, list[Span]] = {}
        for span in spans:
            by_topic.setdefault(span.partition.topic, []).append(span)
        return [
            InsertGroup(tuple(of_topic[start : start + GROUP_SPANS]))
            for of_topic in by_topic.values()
            for start in range(0, len(of_topic), GROUP_SPANS)
        ]

    async def write(self, spans: Sequence[Span], *, recovering: bool, give_up: asyncio.Event) -> None:
        groups = self._settled_groups(spans) if recovering else self._groups(spans)
        for group in groups:
            await self._store(group, give_up)
        self._sealed = {}
        self._planned = []

    async def restore(self, span: Span, rows: pa.RecordBatch, give_up: asyncio.Event) -> int:
        """Store rows that may be stored already, by whatever batch; return how many were.

        Args:
            span: of the rows: partition, least and greatest offset.
            rows: of it, in any order.
            give_up: as of :meth:`write`.

        Raises:
            Abandoned, ServiceError: as of :meth:`write`.
        """
        table, group, block = TABLE_OF[span.partition.topic], InsertGroup((span,)), self._block([rows])
        present = -1

        async def attempt() -> None:
            nonlocal present
            try:
                missing = await self._missing(table, group, block)
                if present < 0:
                    present = block.num_rows - missing.num_rows
                for number in range(REPAIRS):
                    if missing.num_rows == 0:
                        return
                    await self._insert(table, missing, self._restore_token(group, missing, number))
                    missing = await not_expired(self._engine, table, await self._missing(table, group, block))
            except StatementRefused as error:
                raise explained(self._engine, table.name, error) from error
            if missing.num_rows:
                raise ServiceError(
                    f"ClickHouse at {self._engine.place} does not keep what is inserted into {table.name}"
                )

        if not await self._engine.retry(attempt, give_up):
            raise Abandoned(group.text())
        return present

    def _restore_token(self, group: InsertGroup, rows: pa.Table, number: int) -> str:
        """Return a token that another process has for the same rows, too; for a further attempt one that nobody has."""
        offsets = np.ascontiguousarray(rows.column(OFFSET).to_numpy())
        token = f"{self._incarnation}:{group.topic}:{group.text()}:{hashlib.sha256(offsets.tobytes()).hexdigest()[:16]}"
        return token if number == 0 else f"{token}:{secrets.token_hex(8)}"

    def _settled_groups(self, spans: Sequence[Span]) -> list[InsertGroup]:
        """Return the planned groups; a span shorter than planned (the log was truncated) changes its group."""
        found = {span.partition: span for span in spans}
        groups = []
        for group in self._planned:
            now = tuple(found[span.partition] for span in group.spans if span.partition in found)
            if now:
                groups.append(InsertGroup(now, settle=True, whole=group.whole and now == group.spans))
        return groups

    async def _store(self, group: InsertGroup, give_up: asyncio.Event) -> None:
        batches = [rows for span in group.spans for rows in self._sealed.get(span.partition, ())]
        if not batches:
            return
        table = TABLE_OF[group.topic]
        rows = self._block(batches)
        token = f"{self._incarnation}:{group.topic}:{group.text()}"
        doubtful = group.settle

        async def attempt() -> None:
            nonlocal doubtful
            try:
                if doubtful:
                    await self._settle(table, group, rows, token)
                else:
                    await self._insert(table, rows, token)
            except Unreachable:
                # It may be stored or not.
                doubtful = True
                raise
            except StatementRefused as error:
                raise explained(self._engine, table.name, error) from error

        if not await self._engine.retry(attempt, give_up):
            raise Abandoned(token)
        self._rows[table.name] += rows.num_rows

    def _block(self, batches: list[pa.RecordBatch]) -> pa.Table:
        rows = pa.Table.from_batches(batches)
        name = pa.DictionaryArray.from_arrays(
            pa.repeat(pa.scalar(0, pa.int32()), rows.num_rows), pa.array([self._incarnation])
        )
        return rows.append_column(INCARNATION, name).unify_dictionaries().combine_chunks()

    async def _insert(self, table: Table, rows: pa.Table, token: str) -> None:
        threads = ONE_THREAD if rows.num_rows <= SMALL_ROWS else {}
        await self._engine.insert(table.name, rows, {**INSERT_SETTINGS, **threads, "insert_deduplication_token": token})

    async def _settle(self, table: Table, group: InsertGroup, rows: pa.Table, token: str) -> None:
        """Make sure that each of ``rows`` is in the table exactly once."""
        missing = await self._missing(table, group, rows)
        self._found += rows.num_rows - missing.num_rows
        self._rows[table.name] -= rows.num_rows - missing.num_rows
        # On a server the insert of a dead process may still run: only its own token separates it from ours.
        same_again = missing.num_rows > 0 and (not self._engine.embedded or missing.num_rows == rows.num_rows)
        # A materialized view may lack rows that the table has; only an insert with the block's own token adds them.
        if group.whole and (same_again or await self._has_views(table)):
            await self._insert(table, rows, token)
            missing = await self._missing(table, group, rows)
        missing = await not_expired(self._engine, table, missing)
        for attempt in range(REPAIRS):
            if missing.num_rows == 0:
                return
            self._log.warning("rows of a planned block are missing", table=table.name, rows=missing.num_rows)
            await self._insert(table, missing, f"{token}:repair-{attempt}")
            missing = await not_expired(self._engine, table, await self._missing(table, group, rows))
        if missing.num_rows:
            raise ServiceError(f"ClickHouse at {self._engine.place} does not keep what is inserted into {table.name}")

    async def _missing(self, table: Table, group: InsertGroup, rows: pa.Table) -> pa.Table:
        times = rows.column(table.time).cast(pa.int64()).to_numpy()
        found = await self._engine.rows(
            f"SELECT {PARTITION}, {OFFSET} FROM {table.name} "  # noqa: S608 names and numbers of our own
            f"WHERE {INCARNATION} = {{incarnation:String}} "
            f"AND {table.time} BETWEEN fromUnixTimestamp64Nano({times.min()}, 'UTC') "
            f"AND fromUnixTimestamp64Nano({times.max()}, 'UTC') "
            f"AND {OFFSET} BETWEEN {min(s.first for s in group.spans)} AND {max(s.last for s in group.spans)}",
            {"incarnation": self._incarnation},
        )
        present = set(found)
        partitions, offsets = rows.column(PARTITION).to_pylist(), rows.column(OFFSET).to_pylist()
        return rows.filter(pa.array([key not in present for key in zip(partitions, offsets, strict=True)], pa.bool_()))

    async def _has_views(self, table: Table) -> bool:
        found = await self._engine.rows(
            "SELECT count() FROM system.tables "
            "WHERE database = currentDatabase() AND name = {name:String} AND notEmpty(dependencies_table)",
            {"name": table.name},
        )
        return bool(found[0][0])

    async def rollback(self, spans: Sequence[Span]) -> None:
        """Do nothing: the plan is still committed, so the next owner settles the same blocks."""

    async def discard(self, partitions: Collection[TopicPartition]) -> None:
        for key in partitions:
            self._pending.pop(key, None)
            self._sealed.pop(key, None)
        if not self._pending:
            self._days = set()
        self._planned = []

    def status(self) -> dict[str, Any]:
        return {
            "rows": dict(self._rows),
            "rows_found_again": self._found,
            "place": self._engine.place,
            "batch_seconds": round(self._pacing.seconds, 3),
        }

    async def close(self) -> None:
        await self._engine.close()
