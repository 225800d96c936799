"""Contract between the sink loop and its targets, and the terms they share.

One loop (:mod:`sinks.consumer`) reads, decodes and commits for all targets; a target stores rows. The loop calls the
methods of a target in this order::

    open ─► survey ─► assign ─► (submit … ─► seal ─► [commit of the plan] ─► write ─► commit) … ─► discard … ─► close

* Only the loop commits offsets. A target never uses the broker.
* There are at most two batches: one is sealed and being written while ``submit`` fills the next. So ``submit`` may be
  called during ``write`` or ``rollback``; otherwise calls do not overlap.
* ``submit`` may buffer; the buffer is bounded, because the loop seals a batch as soon as a bound of
  :class:`BatchLimits` is reached or the target says it is ``full``, and submits no more while it cannot.
* Every method but ``submit`` may be slow; none blocks the event loop's thread with a disk or a server.
* When ``write`` returns, every row of the spans has been stored durably, exactly once.
* A process may die between any two steps, and during each.
"""

from __future__ import annotations

import asyncio
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import pyarrow as pa
from aiokafka import TopicPartition

from schemas.records import Record


@dataclass(frozen=True, slots=True)
class BatchLimits:
    """Bounds at which a batch is written. Two batches, one being written, one being filled, bound a sink's memory.

    Attributes:
        records: number of records.
        bytes: total size of their encoded values.
        seconds: time since the oldest was fetched.
        idle_seconds: write at once if there was no batch for this long before; None: never for that reason.
    """

    records: int
    bytes: int
    seconds: float
    idle_seconds: float | None = None


@dataclass(frozen=True, slots=True, order=True)
class Span:
    """A range of offsets of one partition, both ends inclusive. An offset may have no row: its record was refused."""

    partition: TopicPartition
    first: int
    last: int


@dataclass(frozen=True, slots=True)
class BatchChunk:
    """Rows of one partition, at least one, in the order of their offsets; columns as :func:`sinks.columns.schema`."""

    partition: TopicPartition
    kind: type[Record]
    rows: pa.RecordBatch


@dataclass(frozen=True, slots=True)
class Commit:
    """Commit of a partition: the next offset to read, and the plan at the time of the commit."""

    offset: int
    plan: str


class Abandoned(Exception):
    """``write`` was told to give up before it had finished; the rows may be stored or not."""


class SinkTarget(Protocol):
    """Storage of rows. The module's documentation defines the order of calls."""

    @property
    def limits(self) -> BatchLimits:
        """Bounds of a batch."""

    @property
    def full(self) -> bool:
        """Whether the current batch has to be sealed, regardless of the limits."""

    async def open(self) -> None:
        """Connect and create what is missing.

        Raises:
            ServiceError: it cannot be used, for a reason that needs a person.
        """

    async def survey(self, partitions: Collection[TopicPartition]) -> None:
        """Record which rows of ``partitions`` the target holds; change nothing.

        Called before the loop reads the last commits and verifies, by repeating them, that the partitions are still
        this process's. So recorded rows past a commit belong to a dead process, never to a successor.
        """

    async def assign(self, commits: Mapping[TopicPartition, Commit | None]) -> dict[TopicPartition, int]:
        """Take over partitions, each with its last commit (None: no commit).

        Rows in the target at or past a commit must be handled: either removed here (only those recorded by
            ``survey``), or,
        where a plan says which span may have been stored, settled by the first ``write``.

        Returns:
            partition → last offset of the planned span, which the loop then submits, seals and writes before
            anything else, with ``recovering`` set.

        Raises:
            ServiceError: the target holds rows of a partition without a commit.
        """

    async def submit(self, chunk: BatchChunk) -> None:
        """Add rows. Chunks of a partition come in offset order."""

    def seal(self, spans: Sequence[Span]) -> dict[TopicPartition, str] | None:
        """End the batch: rows submitted before belong to ``spans``, later ones to the next batch.

        Returns:
            The plan, a text to commit for each partition before ``write``; None if ``write`` needs no plan. After a
            crash the texts are passed to ``assign``.
        """

    async def write(self, spans: Sequence[Span], *, recovering: bool, give_up: asyncio.Event) -> None:
        """Store the sealed batch, every row exactly once, durably.

        Retries a target that cannot be reached without limit, unless ``give_up`` is set.

        Args:
            spans: those of ``seal``, one per partition.
            recovering: the spans are those returned by ``assign``: their rows may already be stored.
            give_up: set when the partitions are about to be revoked, or the service stops.

        Raises:
            Abandoned: it gave up.
            ServiceError: the rows cannot be stored, for a reason that needs a person.
        """

    async def rollback(self, spans: Sequence[Span]) -> None:
        """Undo the ``write`` of ``spans``, whose commit was refused: another process will write them."""

    async def discard(self, partitions: Collection[TopicPartition]) -> None:
        """Drop what was submitted for ``partitions`` and not written, sealed or not."""

    def status(self) -> dict[str, Any]:
        """Return fields for ``/status``, JSON-able."""

    async def close(self) -> None:
        """Release all resources; unwritten rows are dropped."""
