"""A seek is kept whatever the client asks the broker at the same time."""

from __future__ import annotations

import asyncio
import threading

import pytest
from aiokafka import TopicPartition

from alphapulse import kafka
from alphapulse.brokers.memory.node import Node
from alphapulse.config import KafkaSettings
from tests.integration.kafka.conftest import NewConsumer
from tests.integration.kafka.reading import BOUND_SECONDS, read, write

TOPIC = "seeks"
PLACE = TopicPartition(TOPIC, 0)


@pytest.fixture
def broker_topics() -> dict[str, int]:
    return {TOPIC: 1}


async def written(settings: KafkaSettings, count: int) -> None:
    async with kafka.running(kafka.producer(settings, client_id="test"), settings) as writer:
        await write(writer, TOPIC, [b"%d" % number for number in range(count)], partition=0)


async def test_a_seek_while_the_oldest_offset_is_asked_for_is_kept(
    embedded_kafka: KafkaSettings, consumer: NewConsumer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """librdkafka asks again half a second later, and then reads the partition from its beginning."""
    await written(embedded_kafka, 5)
    asked, free = threading.Event(), threading.Event()
    answer = Node._offset

    def held(node: Node, topic: str, number: int, timestamp: int) -> tuple[int, int, int, int]:
        asked.set()
        assert free.wait(BOUND_SECONDS)
        return answer(node, topic, number, timestamp)

    reader = consumer(embedded_kafka, client_id="test", group_id=None)
    async with kafka.running(reader, embedded_kafka):
        reader.assign([PLACE])
        monkeypatch.setattr(Node, "_offset", held)
        reading = asyncio.create_task(read(reader, 2))
        try:
            assert await asyncio.to_thread(asked.wait, BOUND_SECONDS)
            reader.seek(PLACE, 3)
            await asyncio.sleep(0.2)  # the client's thread has passed it on
        finally:
            free.set()
        assert [record.offset for record in await reading] == [3, 4]
        await asyncio.sleep(0.6)
        await written(embedded_kafka, 1)
        assert [record.offset for record in await read(reader, 1)] == [5]


async def test_a_topic_that_ends_before_the_seek_is_read_from_its_beginning(
    embedded_kafka: KafkaSettings, consumer: NewConsumer
) -> None:
    """It was deleted and created anew."""
    await written(embedded_kafka, 2)
    reader = consumer(embedded_kafka, client_id="test", group_id=None)
    async with kafka.running(reader, embedded_kafka):
        reader.assign([PLACE])
        reader.seek(PLACE, 10)
        assert [record.offset for record in await read(reader, 2)] == [0, 1]
