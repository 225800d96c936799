"""Read-back of partitions to their current end: the state topic, and the derived records published last.

Apart from :mod:`alphapulse.kafka.tail` on purpose: reading over one client is 0.3 s faster, and the processors then
leave an opportunity open after a kill (tests/integration/stream_processors/test_stale_books.py). What races there is
not known yet.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from aiokafka import TopicPartition
from aiokafka.errors import KafkaError

from alphapulse import kafka
from alphapulse.config import KafkaSettings
from alphapulse.errors import BrokerError

Sink = Callable[[TopicPartition, Any], None]

POLL_MS = 500


async def read_back(settings: KafkaSettings, starts: Mapping[TopicPartition, int], sink: Sink) -> None:
    """Give ``sink`` all records of each partition from its start (or the oldest there is) to its end as of now.

    Raises:
        BrokerError: the broker cannot be reached or refuses.
    """
    if not starts:
        return
    reader = kafka.consumer(settings, group_id=None, client_id="alphapulse-processors-restore")
    async with kafka.running(reader, settings):
        try:
            partitions = list(starts)
            reader.assign(partitions)
            oldest = await reader.beginning_offsets(partitions)
            ends = await reader.end_offsets(partitions)
            open_ends: dict[TopicPartition, int] = {}
            for partition, start in starts.items():
                position = max(start, oldest[partition])
                if position < ends[partition]:
                    open_ends[partition] = ends[partition]
                    reader.seek(partition, position)
                else:
                    reader.pause(partition)
            while open_ends:
                for partition, records in (await reader.getmany(timeout_ms=POLL_MS)).items():
                    for record in records:
                        sink(partition, record)
                for partition in [tp for tp, end in open_ends.items() if await reader.position(tp) >= end]:
                    del open_ends[partition]
                    reader.pause(partition)
        except KafkaError as error:
            raise BrokerError(f"cannot read back state from {settings.bootstrap}: {error}") from error


async def ends_of(settings: KafkaSettings, partitions: list[TopicPartition]) -> dict[TopicPartition, tuple[int, int]]:
    """Return the oldest offset and the end of each partition.

    Raises:
        BrokerError: the broker cannot be reached or refuses.
    """
    reader = kafka.consumer(settings, group_id=None, client_id="alphapulse-processors-restore")
    async with kafka.running(reader, settings):
        try:
            oldest = await reader.beginning_offsets(partitions)
            ends = await reader.end_offsets(partitions)
        except KafkaError as error:
            raise BrokerError(f"cannot ask {settings.bootstrap} for its offsets: {error}") from error
    return {partition: (oldest[partition], ends[partition]) for partition in partitions}
