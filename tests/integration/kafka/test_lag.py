"""Lag figures, read from outside the groups."""

from __future__ import annotations

from aiokafka import TopicPartition

from alphapulse.config import KafkaSettings
from alphapulse.kafka import LagReader, PartitionLag, producer, running
from tests.integration.kafka.backends import Backend
from tests.integration.kafka.conftest import NewConsumer, NewTopic
from tests.integration.kafka.reading import read, write


async def test_follows_a_group(settings: KafkaSettings, new_topic: NewTopic, group: str, consumer: NewConsumer) -> None:
    topic, other = await new_topic(3), await new_topic(1)
    partition = TopicPartition(topic, 1)
    async with (
        LagReader(settings, {group: [topic, other], f"{group}-idle": [topic]}) as lag,
        running(producer(settings, client_id="test"), settings) as writer,
    ):
        assert (await lag.read())[group].total == 0
        await write(writer, topic, [b"value"] * 10, partition=1)
        await write(writer, other, [b"value"] * 4)

        before = await lag.read()
        assert before[group].by_topic() == {topic: 10, other: 4}
        assert before[group].partitions[partition] == PartitionLag(start=0, end=10, committed=None)
        assert len(before[group].partitions) == 4

        async with running(consumer(settings, topic, group_id=group, client_id="test"), settings) as reader:
            await read(reader, 10)
            await reader.commit({partition: 7})
            while_member = await lag.read()
        after = await lag.read()
    for figures in (while_member, after):
        assert figures[group].by_topic() == {topic: 3, other: 4}
        assert figures[group].total == 7
        assert figures[group].partitions[partition] == PartitionLag(start=0, end=10, committed=7)
        assert figures[f"{group}-idle"].total == 10
        assert figures[group].dropped == 0


async def test_counts_what_the_broker_dropped(
    backend: Backend, settings: KafkaSettings, new_topic: NewTopic, group: str, consumer: NewConsumer
) -> None:
    topic = await new_topic(1)
    partition = TopicPartition(topic, 0)
    async with running(producer(settings, client_id="test"), settings) as writer:
        await write(writer, topic, [b"value"] * 30)
    async with running(consumer(settings, topic, group_id=group, client_id="test"), settings) as reader:
        await reader.commit({partition: 5})
    await backend.delete_records(topic, 0, 12)
    async with LagReader(settings, {group: [topic]}) as lag:
        figures = (await lag.read())[group]
    assert figures.partitions == {partition: PartitionLag(start=12, end=30, committed=5)}
    assert (figures.total, figures.dropped) == (18, 7)


async def test_a_topic_that_does_not_exist_yet_is_left_out_and_found_later(
    backend: Backend, settings: KafkaSettings, group: str
) -> None:
    name = f"later.{group}"
    async with LagReader(settings, {group: [name]}) as lag:
        for _ in range(2):  # asking must not make it
            assert (await lag.read())[group].partitions == {}
        await backend.create_topic(name, 2)
        assert set((await lag.read())[group].partitions) == {TopicPartition(name, 0), TopicPartition(name, 1)}
