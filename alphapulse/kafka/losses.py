"""Loss detection: records dropped by the broker before they were read, counted and logged."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Final, Protocol

from aiokafka import ConsumerRebalanceListener, TopicPartition

from alphapulse import logs, metrics
from alphapulse.kafka.client import AnyConsumer, committed, in_group

_NAME: Final = "losses"


class HasOffset(Protocol):
    """A consumed record."""

    offset: int


def tell_loss(partition: TopicPartition, offsets: range) -> None:
    """Count and log ``offsets`` that the broker dropped before they were read."""
    metrics.RECORDS_LOST.labels(partition.topic, str(partition.partition)).inc(len(offsets))
    logs.get(_NAME).error(
        "records lost: the broker dropped them before they were read",
        topic=partition.topic,
        partition=partition.partition,
        records=len(offsets),
        first_offset=offsets.start,
        last_offset=offsets.stop - 1,
    )


class LossWatch(ConsumerRebalanceListener):  # type: ignore[misc]
    """Tracks a reader's position in each partition and counts the offsets it had to skip.

    The consumer answers an offset that the broker no longer has with a silent jump to the oldest record it has. Our
    topics are neither compacted nor transactional, so every jump within them is a loss. Losses are added to
    ``alphapulse_records_lost_total{topic,partition}``.

    Use: pass it as ``listener`` to :func:`alphapulse.kafka.consumer` (or call :meth:`forget` from your own listener),
        then
    :meth:`check` the result of each ``getmany``. Report your own seeks with :meth:`expect`.
    """

    def __init__(self) -> None:
        self._next: dict[TopicPartition, int] = {}
        self._log = logs.get(_NAME)

    async def check(
        self, reader: AnyConsumer, batches: Mapping[TopicPartition, Sequence[HasOffset]]
    ) -> dict[TopicPartition, range]:
        """Return, count and log the offsets that were lost before each of ``batches`` (losses only).

        A partition seen for the first time is compared with its group's commit; without one, reading begins at the
        first record.
        """
        unknown = [partition for partition in batches if partition not in self._next]
        if unknown and in_group(reader):
            for partition, commit in (await committed(reader, unknown)).items():
                self._next[partition] = commit.offset
        lost: dict[TopicPartition, range] = {}
        for partition, records in batches.items():
            if not records:
                continue
            first = records[0].offset
            expected = self._next.get(partition, first)
            if first > expected:
                lost[partition] = range(expected, first)
                tell_loss(partition, lost[partition])
            elif first < expected:
                self._log.warning(
                    "log went back: the broker has lost data",
                    topic=partition.topic,
                    partition=partition.partition,
                    expected_offset=expected,
                    offset=first,
                )
            self._next[partition] = records[-1].offset + 1
        return lost

    def expect(self, partition: TopicPartition, offset: int) -> None:
        """Set ``offset`` as the next one to be read: after a seek, or from a position kept elsewhere."""
        self._next[partition] = offset

    def forget(self, partitions: Iterable[TopicPartition]) -> None:
        """Drop the positions of partitions that another reader continues."""
        for partition in partitions:
            self._next.pop(partition, None)

    async def on_partitions_revoked(self, revoked: Iterable[TopicPartition]) -> None:
        """Drop their positions (called by the consumer)."""
        self.forget(revoked)

    async def on_partitions_assigned(self, assigned: Iterable[TopicPartition]) -> None:
        """Do nothing: :meth:`check` looks up the commit with the first records (called by the consumer)."""
