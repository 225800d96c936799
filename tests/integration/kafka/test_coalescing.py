"""A consumer that gathers hands over the first record at once, the next together, a backlog without waiting."""

from __future__ import annotations

import asyncio
import time

import pytest
from aiokafka import TopicPartition

from alphapulse.config import KafkaSettings
from alphapulse.kafka import native_consumer, producer, running
from tests.integration.kafka.conftest import NewTopic
from tests.integration.kafka.reading import BOUND_SECONDS, read, write

GATHER_MS = 1_000.0


@pytest.mark.parametrize("changed", [False, True], ids=["from the start", "changed while it runs"])
async def test_what_comes_within_the_time_is_handed_over_together(
    settings: KafkaSettings, new_topic: NewTopic, changed: bool
) -> None:
    topic = await new_topic(2)
    reader = native_consumer(settings, group_id=None, client_id="test", coalesce_ms=0 if changed else GATHER_MS)
    async with running(producer(settings, client_id="test"), settings) as writer, running(reader, settings):
        if changed:
            reader.coalesce(GATHER_MS)
        reader.assign([TopicPartition(topic, 0), TopicPartition(topic, 1)])
        # Whatever the first fetches take, from here on the consumer waits for records.
        await write(writer, topic, [b"first"], partition=0)
        await read(reader, 1)

        await write(writer, topic, [b"a"], partition=0)
        await asyncio.sleep(GATHER_MS / 4000)
        await write(writer, topic, [b"b"], partition=1)
        async with asyncio.timeout(BOUND_SECONDS):
            while not (found := await reader.getmany(timeout_ms=100)):
                pass
    assert {place.partition: [one.value for one in records] for place, records in found.items()} == {
        0: [b"a"],
        1: [b"b"],
    }


async def test_the_first_record_after_a_pause_waits_for_nothing(settings: KafkaSettings, new_topic: NewTopic) -> None:
    """Its value is the time of writing; with the gathering before the handover each would be a second old."""
    topic = await new_topic(1)
    reader = native_consumer(settings, group_id=None, client_id="test", coalesce_ms=GATHER_MS)
    ages: list[float] = []
    async with running(producer(settings, client_id="test"), settings) as writer, running(reader, settings):
        reader.assign([TopicPartition(topic, 0)])
        await write(writer, topic, [b"first"], partition=0)
        await read(reader, 1)
        for _ in range(2):
            await asyncio.sleep(1.5 * GATHER_MS / 1000)
            await write(writer, topic, [b"%f" % time.monotonic()], partition=0)
            (record,) = await read(reader, 1)
            ages.append(time.monotonic() - float(record.value or b""))
    assert max(ages) < GATHER_MS / 2000


async def test_a_backlog_does_not_wait(settings: KafkaSettings, new_topic: NewTopic) -> None:
    """Thirty thousand records in handfuls of a thousand: at a wait each they would take thirty seconds."""
    topic = await new_topic(1)
    async with running(producer(settings, client_id="test"), settings) as writer:
        await write(writer, topic, [b"%d" % number for number in range(30_000)], partition=0)
    reader = native_consumer(settings, group_id=None, client_id="test", coalesce_ms=GATHER_MS)
    async with running(reader, settings):
        reader.assign([TopicPartition(topic, 0)])
        began = time.monotonic()
        found = await read(reader, 30_000)
        took = time.monotonic() - began
    assert [record.value for record in found] == [b"%d" % number for number in range(30_000)]
    assert took < 15
