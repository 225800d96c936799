"""How far consumer groups are behind, as plain data, seen from outside the groups."""

from __future__ import annotations

import asyncio
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from types import TracebackType
from typing import Self

from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.errors import KafkaError

from alphapulse.config import KafkaSettings
from alphapulse.errors import BrokerError
from alphapulse.kafka.client import connection, consumer, unusable


@dataclass(frozen=True, slots=True)
class PartitionLag:
    """Offsets of one partition.

    Attributes:
        start: the oldest record the broker still has.
        end: one past the newest record.
        committed: the group's next record to read; None: it has never committed.
    """

    start: int
    end: int
    committed: int | None

    @property
    def lag(self) -> int:
        """Records still to be read by the group, not counting those the broker has dropped."""
        return max(self.end - max(self.committed or 0, self.start), 0)

    @property
    def dropped(self) -> int:
        """Records past the group's commit that the broker no longer has: lost, unless read but not yet committed."""
        return max(self.start - self.committed, 0) if self.committed is not None else 0


@dataclass(frozen=True, slots=True)
class GroupLag:
    """What one group has read and has still to read."""

    group: str
    partitions: dict[TopicPartition, PartitionLag]

    @property
    def total(self) -> int:
        """Records still to be read."""
        return sum(partition.lag for partition in self.partitions.values())

    @property
    def dropped(self) -> int:
        """Records that the broker dropped past the group's commits."""
        return sum(partition.dropped for partition in self.partitions.values())

    def by_topic(self) -> dict[str, int]:
        """Return topic → records still to be read."""
        topics: dict[str, int] = {}
        for key, partition in self.partitions.items():
            topics[key.topic] = topics.get(key.topic, 0) + partition.lag
        return topics


def unread_text(unread: Mapping[str, int]) -> str:
    """Return what a service says at its end of records that it has left, by topic."""
    topics = ", ".join(f"{topic} {count:,}" for topic, count in sorted(unread.items()))
    return f"stopped with {sum(unread.values()):,} records unread: {topics}"


class LagReader:
    """Reads lag figures; an async context manager that holds two connections to the broker.

    Args:
        settings: the broker.
        groups: group → the topics it reads.
    """

    def __init__(self, settings: KafkaSettings, groups: Mapping[str, Collection[str]]) -> None:
        self._settings = settings
        self._groups = {group: tuple(topics) for group, topics in groups.items()}
        self._consumer: AIOKafkaConsumer | None = None
        self._admin: AIOKafkaAdminClient | None = None
        self._partitions: dict[str, list[TopicPartition]] = {}

    async def __aenter__(self) -> Self:
        settings = self._settings
        self._consumer = consumer(settings, group_id=None, client_id="alphapulse-lag")
        self._admin = AIOKafkaAdminClient(**connection(settings), client_id="alphapulse-lag")
        try:
            await self._consumer.start()
            await self._admin.start()
        except BaseException as error:
            await self.close()
            if isinstance(error, KafkaError):
                raise unusable(settings, error) from error
            raise
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    async def close(self) -> None:
        """Close both connections."""
        if self._consumer is not None:
            await self._consumer.stop()
        if self._admin is not None:
            await self._admin.close()

    async def read(self) -> dict[str, GroupLag]:
        """Return group → lag, now. Commits are read before the ends, so a lag is never too small.

        A topic that does not exist yet is left out.

        Raises:
            BrokerError: the broker cannot be reached or refuses.
        """
        if self._consumer is None or self._admin is None:
            raise RuntimeError("LagReader is used as an async context manager")
        try:
            await self._find_partitions(self._admin)
            wanted = {
                group: [partition for topic in topics for partition in self._partitions.get(topic, ())]
                for group, topics in self._groups.items()
            }
            commits = await asyncio.gather(*(self._commits(self._admin, *item) for item in wanted.items()))
            every = sorted({partition for partitions in wanted.values() for partition in partitions})
            starts = await self._consumer.beginning_offsets(every) if every else {}
            ends = await self._consumer.end_offsets(every) if every else {}
        except KafkaError as error:
            raise BrokerError(f"cannot read lag from the broker at {self._settings.bootstrap}: {error}") from error
        return {
            group: GroupLag(
                group,
                {p: PartitionLag(starts[p], ends[p], committed.get(p)) for p in partitions},
            )
            for (group, partitions), committed in zip(wanted.items(), commits, strict=True)
        }

    async def _find_partitions(self, admin: AIOKafkaAdminClient) -> None:
        """Look up the topics not known yet; a topic's partitions are fixed for life."""
        missing = {topic for topics in self._groups.values() for topic in topics} - self._partitions.keys()
        if not missing:
            return
        # Asking for a topic by name can create it; the list of all tells what exists.
        existing = missing & set(await admin.list_topics())
        if not existing:
            return
        for found in await admin.describe_topics(sorted(existing)):
            topic = found["topic"]
            numbers = sorted(partition["partition"] for partition in found["partitions"])
            self._partitions[topic] = [TopicPartition(topic, number) for number in numbers]

    async def _commits(
        self, admin: AIOKafkaAdminClient, group: str, partitions: list[TopicPartition]
    ) -> dict[TopicPartition, int]:
        if not partitions:
            return {}
        found = await admin.list_consumer_group_offsets(group, partitions=partitions)
        # The protocol says "no commit" with offset -1.
        return {partition: commit.offset for partition, commit in found.items() if commit.offset >= 0}
