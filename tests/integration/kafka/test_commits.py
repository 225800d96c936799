"""What a broker must do with commits and the metadata they carry."""

from __future__ import annotations

from aiokafka import TopicPartition
from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.structs import OffsetAndMetadata

from alphapulse.config import KafkaSettings
from alphapulse.kafka import committed, connection, producer, running
from tests.integration.kafka.conftest import CONSUMERS, NewConsumer, NewTopic
from tests.integration.kafka.reading import read, write


async def test_a_group_goes_on_where_it_committed(
    settings: KafkaSettings, new_topic: NewTopic, group: str, consumer: NewConsumer
) -> None:
    topic = await new_topic(1)
    partition = TopicPartition(topic, 0)
    async with running(producer(settings, client_id="test"), settings) as writer:
        await write(writer, topic, [b"%d" % number for number in range(100)])
    async with running(consumer(settings, topic, group_id=group, client_id="first"), settings) as reader:
        assert await committed(reader, [partition]) == {}
        assert len(await read(reader, 100)) == 100
        await reader.commit({partition: 40})
    async with running(consumer(settings, topic, group_id=group, client_id="second"), settings) as reader:
        records = await read(reader, 60)
    assert [int(record.value) for record in records] == list(range(40, 100))


async def test_what_was_not_committed_is_read_again(
    settings: KafkaSettings, new_topic: NewTopic, group: str, consumer: NewConsumer
) -> None:
    topic = await new_topic(1)
    async with running(producer(settings, client_id="test"), settings) as writer:
        await write(writer, topic, [b"%d" % number for number in range(10)])
    for _ in range(2):
        async with running(consumer(settings, topic, group_id=group, client_id="test"), settings) as reader:
            assert [record.offset for record in await read(reader, 10)] == list(range(10))


async def test_metadata_comes_back_whole_to_the_next_owner(
    settings: KafkaSettings, new_topic: NewTopic, group: str, implementation: str
) -> None:
    """A sink's write-ahead plan stands in it. Kafka's own limit is 4096 bytes (``offset.metadata.max.bytes``).

    The next owner may be of either implementation.
    """
    consumer, other_consumer = CONSUMERS[implementation], CONSUMERS["aiokafka"]
    topic = await new_topic(2)
    partition, other = TopicPartition(topic, 0), TopicPartition(topic, 1)
    plan = '{"file": "préparé-07.parquet", "first": 12, "last": 99}'
    # confluent-kafka adds a byte.
    long = "x" * (4096 if implementation == "aiokafka" else 4095)
    async with running(producer(settings, client_id="test"), settings) as writer:
        await write(writer, topic, [b"value"] * 100, partition=0)
    async with running(consumer(settings, topic, group_id=group, client_id="test"), settings) as reader:
        await reader.commit({partition: OffsetAndMetadata(12, plan), other: OffsetAndMetadata(0, "")})
        assert await committed(reader, [partition, other]) == {
            partition: OffsetAndMetadata(12, plan),
            other: OffsetAndMetadata(0, ""),
        }
        # The same offset again with another plan: the later commit holds.
        await reader.commit({partition: OffsetAndMetadata(12, long)})
    for next_owner in (consumer, other_consumer):
        async with running(next_owner(settings, topic, group_id=group, client_id="test"), settings) as reader:
            found = await committed(reader, [partition, other])
            assert found == {partition: OffsetAndMetadata(12, long), other: OffsetAndMetadata(0, "")}
            assert (await read(reader, 88))[0].offset == 12


async def test_commits_can_be_read_from_outside(
    settings: KafkaSettings, new_topic: NewTopic, group: str, consumer: NewConsumer
) -> None:
    topic = await new_topic(2)
    partition, other = TopicPartition(topic, 0), TopicPartition(topic, 1)
    async with running(consumer(settings, topic, group_id=group, client_id="test"), settings) as reader:
        await reader.commit({partition: OffsetAndMetadata(0, "plan")})
        async with running(AIOKafkaAdminClient(**connection(settings)), settings) as admin:
            found = await admin.list_consumer_group_offsets(group, partitions=[partition, other])
    # Other programs see the byte that confluent-kafka adds.
    assert (found[partition].offset, found[partition].metadata.rstrip("\0")) == (0, "plan")
    assert found[other].offset == -1


async def test_groups_do_not_see_one_another(
    settings: KafkaSettings, new_topic: NewTopic, group: str, consumer: NewConsumer
) -> None:
    topic = await new_topic(1)
    partition = TopicPartition(topic, 0)
    async with running(producer(settings, client_id="test"), settings) as writer:
        await write(writer, topic, [b"value"] * 3)
    async with (
        running(consumer(settings, topic, group_id=group, client_id="test"), settings) as one,
        running(consumer(settings, topic, group_id=f"{group}-2", client_id="test"), settings) as two,
    ):
        await one.commit({partition: 2})
        assert await committed(two, [partition]) == {}
        assert len(await read(two, 3)) == 3
