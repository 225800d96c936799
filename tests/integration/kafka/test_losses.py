"""Records that a broker dropped before they were read are counted, and nothing else is."""

from __future__ import annotations

import asyncio

import pytest
from aiokafka import TopicPartition
from aiokafka.structs import ConsumerRecord
from prometheus_client import REGISTRY
from structlog.testing import capture_logs

from alphapulse.config import KafkaSettings
from alphapulse.kafka import LossWatch, producer, running
from tests.integration.kafka.backends import Backend
from tests.integration.kafka.conftest import NewConsumer, NewTopic
from tests.integration.kafka.reading import BOUND_SECONDS, write


def counted(partition: TopicPartition) -> float:
    """Return the metric's value."""
    labels = {"topic": partition.topic, "partition": str(partition.partition)}
    return REGISTRY.get_sample_value("alphapulse_records_lost_total", labels) or 0.0


class Reader:
    """Reads with a watch, as a sink does."""

    def __init__(self, consumer: NewConsumer, settings: KafkaSettings, topic: str, group: str | None) -> None:
        self.watch = LossWatch()
        self.consumer = consumer(settings, topic, group_id=group, client_id="test", listener=self.watch)
        self.lost: dict[TopicPartition, int] = {}

    async def read(self, count: int) -> list[ConsumerRecord]:
        """Return the next records, adding up what the watch says was lost."""
        found: list[ConsumerRecord] = []
        async with asyncio.timeout(BOUND_SECONDS):
            while len(found) < count:
                batches = await self.consumer.getmany(timeout_ms=200)
                for partition, lost in (await self.watch.check(self.consumer, batches)).items():
                    self.lost[partition] = self.lost.get(partition, 0) + len(lost)
                for records in batches.values():
                    found += records
        return found


async def fill(settings: KafkaSettings, topic: str, first: int, last: int) -> None:
    """Produce records ``first`` to ``last`` - 1 into partition 0, ten a batch."""
    async with running(producer(settings, client_id="test"), settings) as writer:
        for start in range(first, last, 10):
            await write(writer, topic, [b"%d" % n for n in range(start, min(start + 10, last))], partition=0)


async def test_lost_while_nobody_read(
    backend: Backend, settings: KafkaSettings, new_topic: NewTopic, group: str, consumer: NewConsumer
) -> None:
    """The group committed 20; what it finds again begins at 55: 35 lost, although it is another process by now."""
    topic = await new_topic(2)
    partition = TopicPartition(topic, 0)
    await fill(settings, topic, 0, 100)
    first = Reader(consumer, settings, topic, group)
    async with running(first.consumer, settings):
        await first.read(100)
        await first.consumer.commit({partition: 20})
    assert first.lost == {}
    await backend.delete_records(topic, 0, 55)

    second = Reader(consumer, settings, topic, group)
    with capture_logs() as logged:
        async with running(second.consumer, settings):
            records = await second.read(45)
    assert [record.offset for record in records] == list(range(55, 100))
    assert second.lost == {partition: 35}
    assert counted(partition) == 35
    told = [line for line in logged if line["log_level"] == "error"]
    assert [(line["topic"], line["records"], line["first_offset"], line["last_offset"]) for line in told] == [
        (topic, 35, 20, 54)
    ]


@pytest.mark.parametrize("in_group", [True, False])
async def test_lost_under_a_reader_that_fell_behind(
    backend: Backend, settings: KafkaSettings, new_topic: NewTopic, group: str, in_group: bool, consumer: NewConsumer
) -> None:
    topic = await new_topic(1)
    partition = TopicPartition(topic, 0)
    reader = Reader(consumer, settings, topic, group if in_group else None)
    async with running(reader.consumer, settings):
        await fill(settings, topic, 0, 10)
        await reader.read(10)
        reader.consumer.pause(partition)
        await fill(settings, topic, 10, 200)
        await backend.delete_records(topic, 0, 150)
        reader.consumer.resume(partition)
        records = await reader.read(1)
        while records[-1].offset < 199:
            records += await reader.read(1)
    # What the client had fetched before the records went is not lost.
    seen = {record.offset for record in records}
    assert set(range(150, 200)) <= seen
    assert reader.lost == {partition: 190 - len(seen)}
    assert counted(partition) == 190 - len(seen) > 0


async def test_a_new_group_on_an_old_log_has_lost_nothing(
    backend: Backend, settings: KafkaSettings, new_topic: NewTopic, group: str, consumer: NewConsumer
) -> None:
    topic = await new_topic(1)
    await fill(settings, topic, 0, 50)
    await backend.delete_records(topic, 0, 30)
    reader = Reader(consumer, settings, topic, group)
    async with running(reader.consumer, settings):
        assert (await reader.read(20))[0].offset == 30
    assert reader.lost == {}
    assert counted(TopicPartition(topic, 0)) == 0


async def test_a_seek_of_ones_own_is_no_loss_and_a_position_kept_elsewhere_counts(
    settings: KafkaSettings, new_topic: NewTopic, consumer: NewConsumer
) -> None:
    topic = await new_topic(1)
    partition = TopicPartition(topic, 0)
    await fill(settings, topic, 0, 50)
    reader = Reader(consumer, settings, topic, None)
    async with running(reader.consumer, settings):
        await reader.read(50)
        reader.consumer.seek(partition, 40)
        reader.watch.expect(partition, 40)
        assert (await reader.read(10))[0].offset == 40
        assert reader.lost == {}
        reader.consumer.seek(partition, 25)
        reader.watch.expect(partition, 5)
        await reader.read(25)
    assert reader.lost == {partition: 20}
