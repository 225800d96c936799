"""What a target of a sink must do, and the words the sinks share.

One loop (:mod:`sinks.consumer`) reads, decodes and commits for all targets; a target keeps rows. The loop calls the
methods of a target in this order::

    open ─► survey ─► assign ─► (submit … ─► seal ─► [commit of the plan] ─► write ─► commit) … ─► discard … ─► close

* Only the loop commits offsets. A target never talks to the broker.
* There are two batches at most: one is sealed and being written, the next is filled by ``submit`` meanwhile. So
  ``submit`` may be called while ``write`` or ``rollback`` is under way; otherwise one call ends before the next begins.
* ``submit`` may buffer; what is buffered is bounded, because the loop seals a batch as soon as a bound of
  :class:`BatchLimits` is reached or the target says it is ``full``, and submits no more while it cannot.
* Every method but ``submit`` may take its time; none waits for a disk or a server on the event loop's thread.
* When ``write`` returns, every row of the spans has been stored durably, exactly once.
* A process may die between any two steps, and in the midst of each.
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
    """When a batch has to be written. Two batches, one being written, one being filled, bound what a sink holds.

    Attributes:
        records: as soon as there are so many.
        bytes: as soon as their encoded values have this size together.
        seconds: when the oldest was fetched so long ago.
        idle_seconds: at once, if there was no batch for so long before; None: never for that reason.
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
    """What is committed of a partition: the next offset to read, and the plan that stood when it was committed."""

    offset: int
    plan: str


class Abandoned(Exception):
    """``write`` was told to give up before it was done; the rows may be stored or not."""


class SinkTarget(Protocol):
    """Where rows go. See the module for who calls what, and when."""

    @property
    def limits(self) -> BatchLimits:
        """Bounds of a batch."""

    @property
    def full(self) -> bool:
        """Whether the batch that is being filled has to be sealed, whatever the limits say."""

    async def open(self) -> None:
        """Make ready: connect, create what is missing.

        Raises:
            ServiceError: it cannot be used, for a reason only a person can mend.
        """

    async def survey(self, partitions: Collection[TopicPartition]) -> None:
        """Note what the target holds of ``partitions``; change nothing.

        Comes before the loop reads the last commits and makes sure, by repeating them, that the partitions are
        still this process's. So what was noted and lies past a commit is a dead process's, never a successor's.
        """

    async def assign(self, commits: Mapping[TopicPartition, Commit | None]) -> dict[TopicPartition, int]:
        """Take over partitions, each with its last commit (None: never committed).

        Whatever lies in the target at or past a commit must be dealt with: either removed here (what ``survey`` noted
        and nothing else), or, where a plan says which span may have been stored, settled by the first ``write``.

        Returns:
            partition → last offset of the planned span, which the loop then submits, seals and writes before
            anything else, with ``recovering`` set.

        Raises:
            ServiceError: the target holds rows of a partition without a commit.
        """

    async def submit(self, chunk: BatchChunk) -> None:
        """Take over rows. Chunks of a partition come in the order of their offsets."""

    def seal(self, spans: Sequence[Span]) -> dict[TopicPartition, str] | None:
        """End the batch: what was submitted until now are the rows of ``spans``, what comes from here on of the next.

        Returns:
            The plan, a text to commit for each partition before ``write``; None if ``write`` needs no plan. After
            a crash the texts come back in ``assign``.
        """

    async def write(self, spans: Sequence[Span], *, recovering: bool, give_up: asyncio.Event) -> None:
        """Store the sealed batch, every row exactly once, durably.

        A target that cannot be reached is tried again for as long as it takes, unless ``give_up`` is set.

        Args:
            spans: those the batch was sealed with, one per partition.
            recovering: the spans are those that ``assign`` named: their rows may be stored already.
            give_up: set when the partitions are about to be taken away, or the service stops.

        Raises:
            Abandoned: it gave up.
            ServiceError: the rows cannot be stored, for a reason only a person can mend.
        """

    async def rollback(self, spans: Sequence[Span]) -> None:
        """Undo the ``write`` of ``spans``, whose commit was refused: another process will write them."""

    async def discard(self, partitions: Collection[TopicPartition]) -> None:
        """Forget what was submitted for ``partitions`` and not written, sealed or not."""

    def status(self) -> dict[str, Any]:
        """Return figures for ``/status``, JSON-able."""

    async def close(self) -> None:
        """Release everything; what was not written is forgotten."""
