"""Read the tail of a topic: current offset ranges of its partitions, and the records of a range.

For readers that need records published before they started. Records written meanwhile are not included: a range ends
where the partition ended at the time of the request.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import AsyncIterator, Callable, Collection, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import Final, TypeAlias

from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.errors import KafkaError
from aiokafka.structs import ConsumerRecord

from alphapulse.config import KafkaSettings
from alphapulse.errors import BrokerError
from alphapulse.kafka.client import AnyConsumer, consumer, running

POLL_MS: Final = 100

Take: TypeAlias = Callable[[TopicPartition, Sequence[ConsumerRecord[bytes, bytes]]], None]
"""Called with records of a partition, in order."""


async def held_offsets(reader: AnyConsumer, partitions: Collection[TopicPartition]) -> dict[TopicPartition, range]:
    """Return the offset range of each partition: from the oldest record to one past the newest.

    Raises:
        BrokerError: the broker refuses, or does not answer.
    """
    if not partitions:
        return {}
    try:
        oldest = await reader.beginning_offsets(partitions)
        ends = await reader.end_offsets(partitions)
    except KafkaError as error:
        raise BrokerError(f"cannot read the offsets of {_names(partitions)}: {error!r}") from error
    return {partition: range(oldest[partition], ends[partition]) for partition in partitions}


def last(held: range, records: int) -> range:
    """Return the last ``records`` offsets of ``held``, or all if there are fewer."""
    return held[max(len(held) - records, 0) :]


class TailReader:
    """Reads ranges of partitions; created by :func:`tail_reader`."""

    def __init__(self, consumer: AIOKafkaConsumer) -> None:
        self._consumer = consumer

    async def held(self, partitions: Collection[TopicPartition]) -> dict[TopicPartition, range]:
        """Return the result of :func:`held_offsets`.

        Raises:
            BrokerError: the broker refuses, or does not answer.
        """
        return await held_offsets(self._consumer, partitions)

    async def read(self, spans: Mapping[TopicPartition, range], take: Take) -> None:
        """Pass the records of each range to ``take``, without those that the broker has dropped meanwhile.

        Raises:
            BrokerError: the broker refuses.
        """
        reader = self._consumer
        reading = {partition: span for partition, span in spans.items() if span}
        try:
            for partition, span in reading.items():
                reader.seek(partition, span.start)
                reader.resume(partition)
            while reading:
                for partition, records in (await reader.getmany(*reading, timeout_ms=POLL_MS)).items():
                    end = reading[partition].stop
                    if records[-1].offset >= end:
                        del records[bisect_left(records, end, key=lambda record: record.offset) :]
                    if records:
                        take(partition, records)
                for partition, span in list(reading.items()):
                    if await reader.position(partition) >= span.stop:
                        reader.pause(partition)
                        del reading[partition]
        except KafkaError as error:
            raise BrokerError(f"cannot read back the end of {_names(reading)}: {error!r}") from error


@asynccontextmanager
async def tail_reader(
    settings: KafkaSettings, partitions: Collection[TopicPartition], *, client_id: str
) -> AsyncIterator[TailReader]:
    """Open a reader of ``partitions`` outside of any group and without commits.

    Raises:
        BrokerError: the broker cannot be reached or refuses.
    """
    reader = consumer(settings, group_id=None, client_id=client_id)
    # Before the start: the client then knows the leaders at once, not only after a failed request and a delay.
    reader.assign(list(partitions))
    reader.pause(*partitions)
    async with running(reader, settings):
        yield TailReader(reader)


async def ends_of(
    settings: KafkaSettings, partitions: Collection[TopicPartition], *, client_id: str
) -> dict[TopicPartition, int]:
    """Return the end offset of each partition, read by a separate client.

    Raises:
        BrokerError: the broker cannot be reached or refuses.
    """
    async with tail_reader(settings, partitions, client_id=client_id) as reader:
        return {partition: held.stop for partition, held in (await reader.held(partitions)).items()}


def _names(partitions: Collection[TopicPartition]) -> str:
    return ", ".join(sorted({partition.topic for partition in partitions}))
