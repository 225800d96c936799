"""Faust with the batched transport on the embedded broker; one test for each fault it works around."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from aiokafka import AIOKafkaProducer, TopicPartition
from aiokafka.errors import CommitFailedError
from faust.types import TP

from alphapulse import kafka
from alphapulse.config import KafkaSettings, Settings
from stream_processors.engine.app import STREAM_BUFFER, ProcessorsApp, add_agent
from stream_processors.engine.deliveries import Batch
from tests.integration.stream_processors.processes import settings_for, until

TOPIC = "in"
OTHER = "other"


@pytest.fixture
def broker_topics() -> dict[str, int]:
    return {TOPIC: 3, OTHER: 3}


class Application:
    """A listener and handler that remember what they were told."""

    def __init__(self) -> None:
        self.batches: list[Batch] = []
        self.offsets: list[int] = []
        self.starts: dict[TP, int] = {}
        self.committed: list[Mapping[TP, int | None]] = []
        self.left = 0
        self.open = asyncio.Event()
        self.open.set()
        self.fault: Exception | None = None

    async def positions(self, committed: Mapping[TP, int | None], generation: int) -> Mapping[TP, int]:
        assert generation > 0
        self.committed.append(committed)
        return self.starts

    async def before_commit(self) -> None:
        await asyncio.sleep(0)

    async def before_leaving(self) -> None:
        self.left += 1

    async def handle(self, tp: TP, batch: Batch) -> None:
        await self.open.wait()
        if self.fault is not None:
            raise self.fault
        self.batches.append(batch)
        self.offsets += [record.offset for record in batch.records]
        batch.acked = True

    def has(self, offsets: list[int]) -> Callable[[], Awaitable[bool]]:
        async def condition() -> bool:
            return self.offsets == offsets

        return condition


@asynccontextmanager
async def faust(settings: Settings, application: Application, *topics: str) -> AsyncIterator[ProcessorsApp]:
    app = ProcessorsApp(settings, application)
    add_agent(app, topics or (TOPIC,), application.handle)
    await app.start()
    try:
        yield app
    finally:
        await app.stop()


@asynccontextmanager
async def producing(settings: KafkaSettings) -> AsyncIterator[AIOKafkaProducer]:
    async with kafka.running(kafka.producer(settings, client_id="test", linger_ms=0), settings) as producer:
        yield producer


async def send(producer: AIOKafkaProducer, count: int, partition: int = 0) -> None:
    for number in range(count):
        await producer.send(TOPIC, b"%d" % number, partition=partition)
    await producer.flush()


@pytest.fixture
def settings(kafka_settings: KafkaSettings, tmp_path: Path) -> Settings:
    return settings_for(tmp_path, kafka_settings, commit_interval_ms=20)


def at_commit(settings: Settings, offset: int, partition: int = 0, topic: str = TOPIC) -> Callable[[], Awaitable[bool]]:
    async def condition() -> bool:
        async with kafka.LagReader(settings.kafka, {settings.processors.group: [topic]}) as reader:
            found = (await reader.read())[settings.processors.group]
        return found.partitions[TopicPartition(topic, partition)].committed == offset

    return condition


async def test_an_event_is_a_whole_batch_and_all_are_committed(settings: Settings) -> None:
    application = Application()
    async with producing(settings.kafka) as producer:
        await send(producer, 500)
        async with faust(settings, application):
            await until(application.has(list(range(500))), "all records")
            assert max(map(len, application.batches)) > 20
            await until(at_commit(settings, 500), "the commit")
    # Faust also tells of the partitions given up at the first join: none.
    assert application.left == 2


async def test_all_inputs_come_in_one_event_and_each_is_committed(settings: Settings) -> None:
    """Five hundred records of two topics, and an agent that stands still until all are sent: its queue is full."""
    application = Application()
    application.open.clear()
    async with producing(settings.kafka) as producer, faust(settings, application, TOPIC, OTHER) as app:
        consumer: Any = app.consumer
        yielded: list[set[str]] = []
        deliver = consumer._deliver

        async def watched(tp: TP, message: Any) -> None:
            yielded.append({one.topic for one, _ in message.value})
            await deliver(tp, message)

        consumer._deliver = watched
        for number in range(250):
            for topic in (TOPIC, OTHER):
                await producer.send(topic, b"%d" % number, partition=number % 3)
        await producer.flush()
        application.open.set()

        async def done() -> bool:
            return len(application.offsets) == 500

        await until(done, "all records of both topics")
        for partition in range(3):
            for topic in (TOPIC, OTHER):
                end = len(range(partition, 250, 3))
                await until(at_commit(settings, end, partition, topic), f"the commit of {topic} {partition}")

        async def joined() -> bool:
            """Records of both topics that come within the time of gathering share an event; the broker may be slow."""
            if {TOPIC, OTHER} in yielded:
                return True
            for topic in (TOPIC, OTHER):
                await producer.send(topic, b"more", partition=0)
            return False

        await until(joined, "an event of both topics")


async def test_a_first_message_alone_does_not_stall_the_commits(settings: Settings) -> None:
    """Stock Faust commits 1 here, and never again: offset 0 counts as "not read yet" when the gap is looked for."""
    application = Application()
    async with producing(settings.kafka) as producer, faust(settings, application):
        await send(producer, 1)
        await until(at_commit(settings, 1), "the first commit")
        await send(producer, 5)
        await until(at_commit(settings, 6), "the second commit")
        await send(producer, 3)
        await until(at_commit(settings, 9), "the third commit")


async def test_what_was_not_acknowledged_is_not_committed(settings: Settings) -> None:
    """Stock Faust's ``_add_gap`` takes the second of two messages for acknowledged when offsets lie between them."""
    application = Application()
    async with faust(settings, application) as app:
        consumer: Any = app.consumer
        tp = TP(TOPIC, 1)
        first, second = (Batch([_Record(offset)]) for offset in (3, 9))
        for batch in (first, second):
            consumer._deliveries[tp].add(batch)
        first.acked = True
        await consumer._add_gap(tp, 4, 9)
        assert consumer._filter_committable_offsets([tp]) == {tp: 4}
        second.acked = True
        assert consumer._filter_committable_offsets([tp]) == {tp: 10}
        consumer._deliveries.clear()


class _Record:
    def __init__(self, offset: int) -> None:
        self.offset = offset


async def test_the_consumer_has_our_timings_and_shares_by_range(settings: Settings) -> None:
    async with faust(settings, Application()) as app:
        consumer: Any = app.consumer
        properties = consumer.reader._properties
        assert properties["fetch.wait.max.ms"] == settings.kafka.fetch_max_wait_ms
        assert properties["session.timeout.ms"] == settings.kafka.session_timeout_ms
        assert properties["partition.assignment.strategy"] == "range"
        assert app.conf.stream_buffer_maxsize == STREAM_BUFFER
        assert not app.conf.topic_allow_declare
        assert app.conf.topic_disable_leader


async def test_a_busy_partition_is_not_held_up_by_idle_ones(settings: Settings) -> None:
    """Twenty rounds through a fetch each would take half a minute at Faust's fixed 1500 ms."""
    application = Application()
    async with producing(settings.kafka) as producer, faust(settings, application, TOPIC, OTHER):
        for number in range(1, 21):
            await send(producer, 1)
            await until(application.has(list(range(number))), "the record", seconds=10)


async def test_a_slow_agent_holds_the_fetching_up(settings: Settings) -> None:
    application = Application()
    application.open.clear()
    async with producing(settings.kafka) as producer, faust(settings, application) as app:
        consumer: Any = app.consumer
        deliveries = consumer._deliveries[TP(TOPIC, 0)]
        sent = 0

        async def full() -> bool:
            nonlocal sent
            await send(producer, 1)  # one by one, or they would come as one batch
            sent += 1
            return len(deliveries) > STREAM_BUFFER // 2

        await until(full, "batches waiting")
        more = 3 * STREAM_BUFFER
        for _ in range(more):
            await send(producer, 1)
            await asyncio.sleep(0.01)
        for _ in range(20):
            await send(producer, 1, partition=1)
        assert len(deliveries) <= STREAM_BUFFER + 4
        application.open.set()

        async def done() -> bool:
            return len(application.offsets) == sent + more + 20

        await until(done, "all records")


async def test_a_refused_commit_is_tried_again_and_no_crash(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    application = Application()
    async with producing(settings.kafka) as producer, faust(settings, application) as app:
        consumer: Any = app.consumer
        reader = consumer.reader
        commit = reader.commit
        refused: list[Any] = []

        async def refusing(offsets: Any) -> None:
            if len(refused) < 3:
                refused.append(offsets)
                raise CommitFailedError("Commit cannot be completed since the group is rebalancing")
            await commit(offsets)

        monkeypatch.setattr(reader, "commit", refusing)
        await send(producer, 4)
        await until(at_commit(settings, 4), "the commit")
        assert len(refused) == 3
        assert not app.crashed


async def test_the_application_says_where_to_read_on(settings: Settings) -> None:
    first, second = Application(), Application()
    async with producing(settings.kafka) as producer:
        await send(producer, 10)
        async with faust(settings, first):
            await until(at_commit(settings, 10), "the commit")
        second.starts = {TP(TOPIC, 0): 4}
        async with faust(settings, second):
            await until(second.has([4, 5, 6, 7, 8, 9]), "the records from 4 on")
        assert first.committed == [{TP(TOPIC, n): None for n in range(3)}]
        assert second.committed == [{TP(TOPIC, 0): 10, TP(TOPIC, 1): None, TP(TOPIC, 2): None}]
        await send(producer, 2)
        third = Application()
        async with faust(settings, third):
            await until(third.has([10, 11]), "the records behind the commit")


async def test_a_start_past_the_commit_is_committed_though_nothing_follows(settings: Settings) -> None:
    """A worker is killed between its checkpoint and its commit, and then its partition falls silent."""
    first, second = Application(), Application()
    async with producing(settings.kafka) as producer:
        await send(producer, 4)
        async with faust(settings, first):
            await until(at_commit(settings, 4), "the commit")
        await send(producer, 6)
        await send(producer, 3, partition=1)
        second.starts = {TP(TOPIC, 0): 10, TP(TOPIC, 1): 3, TP(TOPIC, 2): 0}
        async with faust(settings, second) as app:
            await until(at_commit(settings, 10), "the commit of what the application has")
            await until(at_commit(settings, 3, partition=1), "the same where nothing was committed before")
            assert app.committed(TOPIC) == {0: 10, 1: 3}
        assert second.offsets == []


async def test_an_agent_that_fails_ends_the_app_and_its_batch_is_read_again(settings: Settings) -> None:
    failing, working = Application(), Application()
    failing.fault = RuntimeError("a bug")
    async with producing(settings.kafka) as producer:
        await send(producer, 3)
        async with faust(settings, failing) as app:
            await asyncio.wait_for(app.wait_for_crash(), 10)
            assert str(app.crash_reason) == "a bug"
        async with faust(settings, working):
            await until(working.has([0, 1, 2]), "the same records")


async def test_records_that_came_while_the_flow_was_stopped_are_fetched_again(settings: Settings) -> None:
    application = Application()
    async with producing(settings.kafka) as producer, faust(settings, application) as app:
        await send(producer, 2)
        await until(application.has([0, 1]), "the first records")
        consumer: Any = app.consumer
        # As between the seek that ends a rebalance and the flow's return.
        application.starts = {TP(TOPIC, 0): 2}
        consumer.flow_active = False
        consumer.can_resume_flow.set()
        await send(producer, 3)

        async def sought() -> bool:
            return len(application.committed) >= 2

        await until(sought, "a second seek")
        consumer.resume_flow()
        await until(application.has([0, 1, 2, 3, 4]), "what came in between")


async def test_what_comes_after_a_rebalance_that_went_by_in_silence_is_delivered(settings: Settings) -> None:
    """It was dropped, as of the generation before, and nothing fetched it again until the next rebalance."""
    application = Application()
    async with producing(settings.kafka) as producer, faust(settings, application) as app:
        await send(producer, 1)
        await until(application.has([0]), "the first record")
        await asyncio.sleep(0.05)  # the consumer waits again
        app.consumer_generation_id += 1
        await send(producer, 2)
        await until(application.has([0, 1, 2]), "the records behind it", seconds=20)
