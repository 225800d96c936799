"""Lag figures, read from outside the groups."""

from __future__ import annotations

import asyncio

import pytest
from aiokafka import TopicPartition

from alphapulse import kafka as clients
from alphapulse import topics
from alphapulse.brokers.kafka.cluster import KafkaCluster
from alphapulse.config import KafkaSettings
from alphapulse.errors import BrokerError
from alphapulse.kafka import LagReader, PartitionLag, producer, running
from tests.fixtures.kafka_cluster import ON_KAFKA
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


@ON_KAFKA
async def test_it_goes_on_when_a_broker_that_was_killed_is_back(
    kafka_cluster: KafkaCluster, real_kafka: KafkaSettings
) -> None:
    """librdkafka's admin client, for one, never found the group's coordinator again."""
    async with running(producer(real_kafka, client_id="test"), real_kafka) as writer:
        await write(writer, topics.L2, [b"value"] * 5, partition=3)
    place = TopicPartition(topics.L2, 3)
    async with running(clients.consumer(real_kafka, group_id="kept", client_id="test"), real_kafka) as reader:
        reader.subscribe([topics.L2])
        await read(reader, 5)
        await reader.commit({place: 2})
    async with LagReader(real_kafka, {"kept": [topics.L2]}) as lag:
        assert (await lag.read())["kept"].total == 3
        kafka_cluster.nodes[0].kill()
        with pytest.raises(BrokerError, match="cannot read lag from the broker"):
            await lag.read()
        await kafka_cluster.start_node(kafka_cluster.nodes[0])
        await kafka_cluster.wait_ready()
        async with asyncio.timeout(30):
            while True:
                try:
                    found = (await lag.read())["kept"]
                    break
                except BrokerError:
                    await asyncio.sleep(0.1)
    assert found.partitions[place] == PartitionLag(start=0, end=5, committed=2)
