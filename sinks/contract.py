"""What a target of a sink must do, and the words the sinks share.

One loop (:mod:`sinks.consumer`) reads, decodes and commits for all targets; a target keeps rows. The loop calls the
methods of a target one at a time, in this order::

    open ─► survey ─► assign ─► (submit … ─► [plan ─► commit] ─► write ─► commit) … ─► discard ─► survey … ─► close

* Only the loop commits offsets. A target never talks to the broker.
* ``submit`` may buffer; what is buffered is bounded, because the loop writes as soon as a bound of
  :class:`Limits` is reached or the target says it is ``full``.
* Every method but ``submit`` may take its time; none waits for a disk or a server on the event loop's thread.
* When ``write`` returns, every row of the spans has been stored durably, exactly once.
* A process may die between any two steps, and in the midst of each.
"""

from __future__ import annotations

import asyncio
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from aiokafka import TopicPartition

from schemas.records import Record


@dataclass(frozen=True, slots=True)
class Limits:
    """When rows that were submitted have to be written.

    Attributes:
        records: as soon as there are so many.
        bytes: as soon as their encoded values have this size together.
        seconds: when the oldest has waited so long.
        idle_seconds: when nothing came for so long; None: never for that reason.
    """

    records: int
    bytes: int
    seconds: float
    idle_seconds: float | None


@dataclass(frozen=True, slots=True, order=True)
class Span:
    """A range of offsets of one partition, both ends inclusive. An offset may have no row: its record was refused."""

    partition: TopicPartition
    first: int
    last: int


@dataclass(frozen=True, slots=True)
class Chunk:
    """Decoded records of one partition in the order of their offsets; ``offsets[i]`` is that of ``records[i]``."""

    partition: TopicPartition
    kind: type[Record]
    offsets: Sequence[int]
    records: Sequence[Record]


@dataclass(frozen=True, slots=True)
class Commit:
    """What is committed of a partition: the next offset to read, and the plan that stood when it was committed."""

    offset: int
    plan: str


class Abandoned(Exception):
    """``write`` was told to give up before it was done; the rows may be stored or not."""


class Target(Protocol):
    """Where rows go. See the module for who calls what, and when."""

    @property
    def limits(self) -> Limits:
        """Bounds of what the loop may submit before it calls ``write``."""

    @property
    def full(self) -> bool:
        """Whether the target wants ``write`` now, whatever the limits say."""

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
            partition → last offset of the planned span, which the loop then submits and writes before anything
            else, with ``recovering`` set.

        Raises:
            ServiceError: the target holds rows of a partition without a commit.
        """

    async def submit(self, chunk: Chunk) -> None:
        """Take over rows. Chunks of a partition come in the order of their offsets."""

    def plan(self, spans: Sequence[Span]) -> dict[TopicPartition, str] | None:
        """Return the text to commit for each partition before ``write``, or None if ``write`` needs no plan.

        After a crash the texts come back in ``assign``.
        """

    async def write(self, spans: Sequence[Span], *, recovering: bool, give_up: asyncio.Event) -> None:
        """Store every row submitted for ``spans``, exactly once, durably.

        A target that cannot be reached is tried again for as long as it takes, unless ``give_up`` is set.

        Args:
            spans: all that was submitted since the last write, one span per partition.
            recovering: the spans are those that ``assign`` named: their rows may be stored already.
            give_up: set when the partitions are about to be taken away, or the service stops.

        Raises:
            Abandoned: it gave up.
            ServiceError: the rows cannot be stored, for a reason only a person can mend.
        """

    async def rollback(self, spans: Sequence[Span]) -> None:
        """Undo the ``write`` of ``spans``, whose commit was refused: another process will write them."""

    async def discard(self, partitions: Collection[TopicPartition]) -> None:
        """Forget what was submitted for ``partitions`` and not written."""

    def status(self) -> dict[str, Any]:
        """Return figures for ``/status``, JSON-able."""

    async def close(self) -> None:
        """Release everything; what was not written is forgotten."""
