"""Lag of consumer groups, as plain data, read from outside the groups.

Read about once a second for all partitions together: with librdkafka, which takes two milliseconds of CPU time.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from types import TracebackType
from typing import Final, Self

from aiokafka import TopicPartition
from aiokafka.errors import KafkaError
from confluent_kafka import OFFSET_BEGINNING, OFFSET_END, Consumer, KafkaException
from confluent_kafka import KafkaError as Fault
from confluent_kafka import TopicPartition as Place

from alphapulse.config import KafkaSettings
from alphapulse.errors import BrokerError
from alphapulse.kafka.client import unusable
from alphapulse.kafka.native import configuration
from alphapulse.kafka.native.connecting import Reach, connect, made
from alphapulse.kafka.native.errors import checked, fault_of, translate

ANSWER_SECONDS: Final = 3.0
"""Timeout for each response of the broker, and for all retries of temporary errors together."""
AGAIN_SECONDS: Final = 0.1

_OF_LEADERS: Final = frozenset({Fault.FENCED_LEADER_EPOCH, Fault.UNKNOWN_LEADER_EPOCH, Fault.OFFSET_NOT_AVAILABLE})
"""Errors of a broker while partitions change leaders; librdkafka refreshes the leaders by itself."""

_LOGGER: Final = logging.getLogger("librdkafka.lag")
# Failures are raised: librdkafka's own log lines would repeat them, also on the demo's terminal.
_LOGGER.setLevel(logging.CRITICAL + 1)


@dataclass(frozen=True, slots=True)
class PartitionLag:
    """Offsets of one partition.

    Attributes:
        start: the oldest record the broker still has.
        end: one past the newest record.
        committed: the group's next record to read; None: no commit.
    """

    start: int
    end: int
    committed: int | None

    @property
    def lag(self) -> int:
        """Unread records of the group, without those that the broker has dropped."""
        return max(self.end - max(self.committed or 0, self.start), 0)

    @property
    def dropped(self) -> int:
        """Records past the group's commit that the broker no longer has: lost, unless read but not yet committed."""
        return max(self.start - self.committed, 0) if self.committed is not None else 0


@dataclass(frozen=True, slots=True)
class GroupLag:
    """Lag of one group by partition."""

    group: str
    partitions: dict[TopicPartition, PartitionLag]

    @property
    def total(self) -> int:
        """Unread records."""
        return sum(partition.lag for partition in self.partitions.values())

    @property
    def dropped(self) -> int:
        """Records that the broker dropped past the group's commits."""
        return sum(partition.dropped for partition in self.partitions.values())

    def by_topic(self) -> dict[str, int]:
        """Return topic → unread records."""
        topics: dict[str, int] = {}
        for key, partition in self.partitions.items():
            topics[key.topic] = topics.get(key.topic, 0) + partition.lag
        return topics


def unread_text(unread: Mapping[str, int]) -> str:
    """Return a message on the unread records of a stopping service, by topic."""
    topics = ", ".join(f"{topic} {count:,}" for topic, count in sorted(unread.items()))
    return f"stopped with {sum(unread.values()):,} records unread: {topics}"


class LagReader:
    """Reads the lag of groups; an async context manager that holds connections to the broker. One reading at a time.

    Args:
        settings: the broker.
        groups: group → the topics it reads.
    """

    def __init__(self, settings: KafkaSettings, groups: Mapping[str, Collection[str]]) -> None:
        self._settings = settings
        self._groups = {group: tuple(topics) for group, topics in groups.items()}
        self._consumers: dict[str, Consumer] = {}
        self._reading = asyncio.Lock()
        self._partitions: dict[str, list[TopicPartition]] = {}

    async def __aenter__(self) -> Self:
        settings = self._settings
        reach = Reach()
        try:
            properties = configuration.connection(settings) | {
                "client.id": "alphapulse-lag",
                "isolation.level": "read_uncommitted",
                "error_cb": reach,
            }
            for group in self._groups or ("alphapulse-lag",):
                # None subscribes, so none joins its group. (librdkafka's admin client, which could query all groups,
                # does not find their coordinator again after its broker was unavailable, or crashes.)
                self._consumers[group] = await made(Consumer, properties | {"group.id": group}, _LOGGER)

            async def attempt(seconds: float) -> None:
                try:
                    await asyncio.to_thread(self._any.list_topics, timeout=seconds)
                finally:
                    self._any.poll(0)

            await connect(attempt, reach, settings.bootstrap, settings.request_timeout_ms / 1000)
        except (KafkaError, KafkaException) as error:
            await self.close()
            reason = translate(fault_of(error)) if isinstance(error, KafkaException) else error
            raise unusable(settings, reason) from error
        except BaseException:
            await self.close()
            raise
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    @property
    def _any(self) -> Consumer:
        return next(iter(self._consumers.values()))

    async def close(self) -> None:
        """Close the connections."""
        async with self._reading:
            consumers, self._consumers = self._consumers, {}
            await asyncio.gather(*(asyncio.to_thread(consumer.close) for consumer in consumers.values()))

    async def read(self) -> dict[str, GroupLag]:
        """Return group → lag, now. Commits are read before the ends, so the lag is never too small.

        A topic that does not exist yet is left out.

        Raises:
            BrokerError: the broker cannot be reached, refuses, or does not answer within ``ANSWER_SECONDS``.
        """
        async with self._reading:
            if not self._consumers:
                raise RuntimeError("LagReader is used as an async context manager")
            until = time.monotonic() + ANSWER_SECONDS
            while True:
                try:
                    return await self._read()
                except KafkaException as error:
                    fault = fault_of(error)
                    reason = translate(fault)
                    passing = reason.retriable or fault.code() in _OF_LEADERS
                    if not passing or time.monotonic() >= until:
                        where = f"the broker at {self._settings.bootstrap}"
                        raise BrokerError(f"cannot read lag from {where}: {reason}") from error
                await asyncio.sleep(AGAIN_SECONDS)  # such as a broker that just started, without leaders

    async def _read(self) -> dict[str, GroupLag]:
        await self._find_partitions(self._any)
        wanted = {
            group: [partition for topic in topics for partition in self._partitions.get(topic, ())]
            for group, topics in self._groups.items()
        }
        commits = await asyncio.gather(
            *(asyncio.to_thread(_commits, self._consumers[group], places) for group, places in wanted.items())
        )
        every = sorted({partition for partitions in wanted.values() for partition in partitions})
        starts, ends = await asyncio.to_thread(_bounds, self._any, every)
        return {
            group: GroupLag(
                group,
                {p: PartitionLag(starts[p], ends[p], committed.get(p)) for p in partitions},
            )
            for (group, partitions), committed in zip(wanted.items(), commits, strict=True)
        }

    async def _find_partitions(self, consumer: Consumer) -> None:
        """Look up the topics not known yet; a topic's partitions are fixed for life."""
        missing = {topic for topics in self._groups.values() for topic in topics} - self._partitions.keys()
        if not missing:
            return
        # A request for a topic by name may create it; the list of all topics does not.
        told = await asyncio.to_thread(consumer.list_topics, timeout=ANSWER_SECONDS)
        for topic in sorted(missing & told.topics.keys()):
            numbers = sorted(told.topics[topic].partitions)
            self._partitions[topic] = [TopicPartition(topic, number) for number in numbers]


def _commits(consumer: Consumer, partitions: Sequence[TopicPartition]) -> dict[TopicPartition, int]:
    """Return the commits of the consumer's group (waits for the broker)."""
    consumer.poll(0)
    if not partitions:
        return {}
    wanted = [Place(one.topic, one.partition) for one in partitions]
    # librdkafka marks "no commit" with an offset below zero.
    return {
        TopicPartition(place.topic, place.partition): place.offset
        for place in checked(consumer.committed(wanted, timeout=ANSWER_SECONDS))
        if place.offset >= 0
    }


def _bounds(
    consumer: Consumer, partitions: Sequence[TopicPartition]
) -> tuple[dict[TopicPartition, int], dict[TopicPartition, int]]:
    """Return the oldest offset and the end of each partition (waits for the broker)."""
    consumer.poll(0)  # logs librdkafka's messages
    found: list[dict[TopicPartition, int]] = []
    for which in (OFFSET_BEGINNING, OFFSET_END):
        # As timestamps, these are the protocol's values for the ends of the log.
        wanted = [Place(partition.topic, partition.partition, which) for partition in partitions]
        answer = checked(consumer.offsets_for_times(wanted, timeout=ANSWER_SECONDS)) if wanted else ()
        found.append({TopicPartition(place.topic, place.partition): place.offset for place in answer})
    starts, ends = found
    return starts, ends
