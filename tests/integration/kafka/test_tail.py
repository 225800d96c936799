"""The end of a topic, read as it was at one moment."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

import pytest
from aiokafka import TopicPartition
from aiokafka.structs import ConsumerRecord

from alphapulse.config import KafkaSettings
from alphapulse.errors import BrokerError
from alphapulse.kafka import producer, running, tail
from tests.fixtures.gateway import NOBODY
from tests.integration.kafka.backends import Backend
from tests.integration.kafka.conftest import NewConsumer, NewTopic
from tests.integration.kafka.reading import BOUND_SECONDS, write


class Taken:
    """The values that a reader was given, by partition."""

    def __init__(self) -> None:
        self.values: dict[int, list[int]] = {}

    def __call__(self, partition: TopicPartition, records: Sequence[ConsumerRecord[bytes, bytes]]) -> None:
        assert records
        assert all((record.topic, record.partition) == partition for record in records)
        self.values.setdefault(partition.partition, []).extend(int(record.value or b"") for record in records)


async def fill(settings: KafkaSettings, topic: str, partition: int, first: int, stop: int) -> None:
    """Produce the numbers from ``first`` to ``stop`` - 1, some to a batch."""
    async with running(producer(settings, client_id="test"), settings) as writer:
        for start in range(first, stop, 7):
            await write(writer, topic, [b"%d" % n for n in range(start, min(start + 7, stop))], partition=partition)


def test_the_last_offsets_are_no_more_than_there_are() -> None:
    held = range(40, 100)
    assert tail.last(held, 10) == range(90, 100)
    assert tail.last(held, 60) == tail.last(held, 1000) == held
    assert not tail.last(held, 0)
    assert not tail.last(range(5, 5), 10)


async def test_tells_what_each_partition_holds(
    backend: Backend, settings: KafkaSettings, new_topic: NewTopic, consumer: NewConsumer
) -> None:
    topic = await new_topic(3)
    await fill(settings, topic, 1, 0, 30)
    await fill(settings, topic, 2, 0, 4)
    await backend.delete_records(topic, 1, 12)
    partitions = [TopicPartition(topic, number) for number in range(3)]
    expected = dict(zip(partitions, [range(0), range(12, 30), range(4)], strict=True))
    async with running(consumer(settings, group_id=None, client_id="test"), settings) as reader:
        assert await tail.held_offsets(reader, partitions) == expected
    async with tail.tail_reader(settings, partitions, client_id="test") as one:
        assert await one.held(partitions) == expected


async def test_reads_just_the_spans_one_after_the_other(settings: KafkaSettings, new_topic: NewTopic) -> None:
    topic = await new_topic(3)
    full, short, empty = (TopicPartition(topic, number) for number in range(3))
    await fill(settings, topic, 0, 0, 100)
    await fill(settings, topic, 1, 0, 5)
    async with (
        asyncio.timeout(BOUND_SECONDS),
        tail.tail_reader(settings, [full, short, empty], client_id="test") as reader,
    ):
        held = await reader.held([full, short, empty])
        await fill(settings, topic, 0, 100, 120)  # what comes meanwhile is not read
        newest, older = Taken(), Taken()
        await reader.read({full: tail.last(held[full], 10), short: held[short], empty: held[empty]}, newest)
        await reader.read({full: range(53, 90)}, older)
        nothing = Taken()
        await reader.read({}, nothing)
    assert newest.values == {0: list(range(90, 100)), 1: list(range(5))}
    assert older.values == {0: list(range(53, 90))}
    assert not nothing.values


async def test_what_is_dropped_before_it_is_read_is_left_out(
    backend: Backend, settings: KafkaSettings, new_topic: NewTopic
) -> None:
    topic = await new_topic(1)
    partition = TopicPartition(topic, 0)
    await fill(settings, topic, 0, 0, 60)
    taken, gone = Taken(), Taken()
    async with (
        asyncio.timeout(BOUND_SECONDS),
        tail.tail_reader(settings, [partition], client_id="test") as reader,
    ):
        await backend.delete_records(topic, 0, 40)
        await reader.read({partition: range(10, 50)}, taken)
        await reader.read({partition: range(10, 30)}, gone)
    assert taken.values == {0: list(range(40, 50))}
    assert not gone.values


async def test_a_broker_that_is_not_there_is_named() -> None:
    with pytest.raises(BrokerError, match=r"127\.0\.0\.1:1"):
        async with tail.tail_reader(NOBODY, [TopicPartition("any", 0)], client_id="test"):
            pass
