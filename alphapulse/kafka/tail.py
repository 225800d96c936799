"""Reading the end of a topic: which offsets its partitions hold at this moment, and the records of a span of them.

For readers that take up again what was published before they began. What is written meanwhile is not theirs to read:
a span ends where the partition did when it was asked.
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
"""Told some records of a partition, in their order."""


async def held_offsets(reader: AnyConsumer, partitions: Collection[TopicPartition]) -> dict[TopicPartition, range]:
    """Return the offsets that each partition holds: from the oldest record to one past the newest.

    Raises:
        BrokerError: the broker refuses, or does not answer.
    """
    if not partitions:
        return {}
    try:
        oldest = await reader.beginning_offsets(partitions)
        ends = await reader.end_offsets(partitions)
    except KafkaError as error:
        raise BrokerError(f"cannot ask the broker for the offsets of {_names(partitions)}: {error!r}") from error
    return {partition: range(oldest[partition], ends[partition]) for partition in partitions}


def last(held: range, records: int) -> range:
    """Return the last ``records`` of the offsets ``held``, or all if they are fewer."""
    return held[max(len(held) - records, 0) :]


class TailReader:
    """Reads spans of partitions; :func:`tail_reader` makes it."""

    def __init__(self, consumer: AIOKafkaConsumer) -> None:
        self._consumer = consumer

    async def held(self, partitions: Collection[TopicPartition]) -> dict[TopicPartition, range]:
        """Return what :func:`held_offsets` does.

        Raises:
            BrokerError: the broker refuses, or does not answer.
        """
        return await held_offsets(self._consumer, partitions)

    async def read(self, spans: Mapping[TopicPartition, range], take: Take) -> None:
        """Give ``take`` the records of each span; what the broker has dropped of it meanwhile is left out.

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
    """Open a reader of ``partitions``, which shares them with nobody and commits nothing.

    Raises:
        BrokerError: the broker cannot be reached or refuses.
    """
    reader = consumer(settings, group_id=None, client_id=client_id)
    # Before it starts: it then learns at once who leads them, and not only after a failed request and a pause.
    reader.assign(list(partitions))
    reader.pause(*partitions)
    async with running(reader, settings):
        yield TailReader(reader)


async def ends_of(
    settings: KafkaSettings, partitions: Collection[TopicPartition], *, client_id: str
) -> dict[TopicPartition, int]:
    """Return one past the newest record of each partition, asked by a client of its own.

    Raises:
        BrokerError: the broker cannot be reached or refuses.
    """
    async with tail_reader(settings, partitions, client_id=client_id) as reader:
        return {partition: held.stop for partition, held in (await reader.held(partitions)).items()}


def _names(partitions: Collection[TopicPartition]) -> str:
    return ", ".join(sorted({partition.topic for partition in partitions}))
