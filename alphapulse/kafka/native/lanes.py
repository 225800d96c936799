"""Queues between the polling thread and the event loop: one per partition, with common bounds.

Pure: no client, no clock. The thread calls :meth:`Lanes.offer`, :meth:`Lanes.full` and :meth:`Lanes.roomy`; everything
else belongs to the loop. They share counters that only one side writes each, so no locks are needed.

A partition is *held* while librdkafka is told not to fetch it. Holding discards what librdkafka has prefetched and
fetches it again later, so it is not the usual flow control (that is not to poll). It is for a partition that is not
read, which must not block the others, and for a reader that is stuck, which must not block a rebalance.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Collection, Iterable, Iterator, Mapping
from typing import Final, Generic, Protocol, TypeVar

from aiokafka import TopicPartition

QUEUE_RECORDS: Final = 8_000
QUEUE_BYTES: Final = 8 * 1024 * 1024
"""Records, and bytes of their values, at which polling stops. The last poll's records come on top."""


class HasOffset(Protocol):
    """A consumed record."""

    offset: int


R = TypeVar("R", bound=HasOffset)


class Count:
    """Counter of records and bytes."""

    __slots__ = ("bytes", "records")

    def __init__(self) -> None:
        self.records = 0
        self.bytes = 0

    def add(self, records: int, length: int) -> None:
        """Add to the counter."""
        self.records += records
        self.bytes += length


class Chunk(Generic[R]):
    """Records of one partition from one poll.

    Attributes:
        records: in order; those before ``next`` are taken.
        bytes: size of all their values.
        generation: the lane's at the time of the poll.
    """

    __slots__ = ("bytes", "generation", "next", "records")

    def __init__(self, generation: int) -> None:
        self.records: list[R] = []
        self.bytes = 0
        self.generation = generation
        self.next = 0

    def __len__(self) -> int:
        """Return how many records are left."""
        return len(self.records) - self.next


class Lane(Generic[R]):
    """Queue of one assigned partition.

    Attributes:
        partition: the partition.
        position: offset of the next record to be taken; None: the commit, else the oldest.
        generation: incremented by each seek; records of another generation are dropped.
        applied: generation that is polled; owned by the thread.
        expected: lowest offset that the next polled record can have; owned by the thread.
        paused: by the application.
        skipped: the last take wanted other partitions while this one had records.
        held: librdkafka does not fetch it; owned by the thread.
        highwater: end offset as last reported by the broker; None: not yet. Owned by the thread.
        offered, taken: counters of records handed over by the thread, and of those taken or dropped.
    """

    __slots__ = (
        "_all_taken",
        "_chunks",
        "applied",
        "expected",
        "generation",
        "held",
        "highwater",
        "offered",
        "partition",
        "paused",
        "position",
        "skipped",
        "taken",
    )

    def __init__(self, partition: TopicPartition, all_taken: Count) -> None:
        self.partition = partition
        self.position: int | None = None
        self.highwater: int | None = None
        self.generation = self.applied = self.expected = 0
        self.paused = self.skipped = self.held = False
        self.offered, self.taken = Count(), Count()
        self._all_taken = all_taken
        self._chunks: deque[Chunk[R]] = deque()

    @property
    def waiting(self) -> bool:
        """Whether records are queued."""
        return bool(self._chunks)

    @property
    def records(self) -> int:
        """Records handed over by the thread and neither taken nor dropped."""
        return self.offered.records - self.taken.records

    @property
    def bytes(self) -> int:
        """The same in bytes; those of a chunk count until its last record is taken."""
        return self.offered.bytes - self.taken.bytes

    def put(self, chunk: Chunk[R]) -> bool:
        """Queue ``chunk``, unless it was polled before a seek; return whether it was queued."""
        if chunk.generation != self.generation:
            self.drop(chunk)
            return False
        self._chunks.append(chunk)
        return True

    def take(self, most: int | None) -> list[R]:
        """Return the next records, at most ``most``."""
        taken: list[R] = []
        while self._chunks and (most is None or len(taken) < most):
            chunk = self._chunks[0]
            count = len(chunk) if most is None else min(len(chunk), most - len(taken))
            taken += chunk.records[chunk.next : chunk.next + count]
            chunk.next += count
            if not len(chunk):
                self._count(0, chunk.bytes)
                self._chunks.popleft()
        if taken:
            self._count(len(taken), 0)
            self.position = taken[-1].offset + 1
        return taken

    def seek(self, offset: int) -> None:
        """Drop all records, including those not handed over yet; the next one taken is at ``offset``."""
        self.generation += 1
        self.position = offset
        while self._chunks:
            self.drop(self._chunks.popleft())
        self.skipped = False

    def drop(self, chunk: Chunk[R]) -> None:
        """Count the rest of ``chunk`` as taken."""
        self._count(len(chunk), chunk.bytes)

    def _count(self, records: int, length: int) -> None:
        self.taken.add(records, length)
        self._all_taken.add(records, length)


class Lanes(Generic[R]):
    """Queues of one assignment.

    Args:
        partitions: the assignment.
        records, bytes: see ``QUEUE_RECORDS`` and ``QUEUE_BYTES``.
    """

    def __init__(
        self, partitions: Iterable[TopicPartition] = (), *, records: int = QUEUE_RECORDS, length: int = QUEUE_BYTES
    ) -> None:
        self._offered, self._taken = Count(), Count()
        self._lanes: dict[TopicPartition, Lane[R]] = {one: Lane(one, self._taken) for one in partitions}
        self._by_name = {(one.topic, one.partition): lane for one, lane in self._lanes.items()}
        self._most_records = records
        self._most_bytes = length
        # Lanes with queued records, in the order of service.
        self._filled: dict[Lane[R], None] = {}

    def __iter__(self) -> Iterator[Lane[R]]:
        return iter(self._lanes.values())

    def __len__(self) -> int:
        return len(self._lanes)

    def get(self, partition: TopicPartition) -> Lane[R] | None:
        """Return the lane of ``partition``, None if it is not assigned."""
        return self._lanes.get(partition)

    def named(self, topic: str, partition: int) -> Lane[R] | None:
        """Return the lane by the partition's parts."""
        return self._by_name.get((topic, partition))

    def partitions(self) -> set[TopicPartition]:
        """Return the assignment."""
        return set(self._lanes)

    # --- the thread's side ---

    def offer(self, lane: Lane[R], chunk: Chunk[R]) -> None:
        """Count ``chunk`` before it is handed over."""
        lane.offered.add(len(chunk), chunk.bytes)
        self._offered.add(len(chunk), chunk.bytes)

    def full(self) -> bool:
        """Return whether the partitions that are not held have reached the bounds."""
        if (
            self._offered.records - self._taken.records < self._most_records
            and self._offered.bytes - self._taken.bytes < self._most_bytes
        ):
            return False
        fetched = [lane for lane in self._lanes.values() if not lane.held]
        return (
            sum(lane.records for lane in fetched) >= self._most_records
            or sum(lane.bytes for lane in fetched) >= self._most_bytes
        )

    def roomy(self, lane: Lane[R]) -> bool:
        """Return whether a held partition may be fetched again: it is wanted, and little of it is queued."""
        return (
            not (lane.paused or lane.skipped)
            and lane.records <= self._most_records // 4
            and lane.bytes <= self._most_bytes // 4
        )

    # --- the loop's side ---

    def put(self, chunks: Mapping[Lane[R], Chunk[R]]) -> None:
        """Queue polled records; those of another assignment are dropped."""
        for lane, chunk in chunks.items():
            if self._lanes.get(lane.partition) is not lane:
                lane.drop(chunk)
            elif lane.put(chunk):
                self._filled[lane] = None

    def take(self, wanted: Collection[TopicPartition] | None, most: int | None) -> dict[TopicPartition, list[R]]:
        """Return the next records of the partitions ``wanted`` (None: all) that are not paused.

        At most ``most`` in total; the partitions take turns, so that none starves.
        """
        found: dict[TopicPartition, list[R]] = {}
        left = most
        for lane in list(self._filled):
            lane.skipped = wanted is not None and lane.partition not in wanted
            if lane.skipped or lane.paused or left == 0:
                continue
            records = lane.take(left)
            del self._filled[lane]
            if lane.waiting:
                self._filled[lane] = None
            found[lane.partition] = records
            if left is not None:
                left -= len(records)
        return found

    def seek(self, lane: Lane[R], offset: int) -> None:
        """Drop the queue of ``lane``; the next record taken is at ``offset``."""
        lane.seek(offset)
        self._filled.pop(lane, None)
