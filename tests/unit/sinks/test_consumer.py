from __future__ import annotations

import asyncio
from collections.abc import Collection, Mapping, Sequence
from typing import Any

import pytest
from aiokafka import OffsetAndMetadata, TopicPartition
from aiokafka.errors import KafkaConnectionError

from alphapulse import topics
from alphapulse.errors import BrokerError, ServiceError
from schemas.codec import Codec
from schemas.records import Event
from sinks.consumer import SinkConsumer
from sinks.contract import Abandoned, Chunk, Commit, Limits, Span
from tests.fixtures.log import Log, LogConsumer
from tests.fixtures.records import trade
from tests.fixtures.sink_life import live, make

CODEC = Codec()
KEY = TopicPartition(topics.TRADES, 0)
OTHER = TopicPartition(topics.TRADES, 1)


class ListTarget:
    """Keeps rows in lists and writes down what is asked of it."""

    def __init__(self, *, plans: bool = False, records: int = 10, seconds: float = 1000.0) -> None:
        self.calls: list[str] = []
        self.limits = Limits(records, 2**20, seconds)
        self.full = False
        self.plans = plans
        self.pending: list[tuple[TopicPartition, int]] = []
        self.sealed: list[tuple[TopicPartition, int]] = []
        self.stored: list[tuple[TopicPartition, int]] = []
        self.commits: dict[TopicPartition, Commit | None] = {}
        self.planned: dict[TopicPartition, int] = {}
        self.during_write: Any = None
        self.error: Exception | None = None

    async def open(self) -> None:
        self.calls.append("open")

    async def survey(self, partitions: Collection[TopicPartition]) -> None:
        self.calls.append("survey")

    async def assign(self, commits: Mapping[TopicPartition, Commit | None]) -> dict[TopicPartition, int]:
        self.calls.append("assign")
        self.commits = dict(commits)
        return dict(self.planned)

    async def submit(self, chunk: Chunk) -> None:
        self.pending += [(chunk.partition, int(offset)) for offset in chunk.rows.column("_offset").to_numpy()]

    def seal(self, spans: Sequence[Span]) -> dict[TopicPartition, str] | None:
        self.sealed, self.pending = self.pending, []
        return {span.partition: f"to {span.last}" for span in spans} if self.plans else None

    async def write(self, spans: Sequence[Span], *, recovering: bool, give_up: asyncio.Event) -> None:
        text = ",".join(f"{span.first}-{span.last}" for span in spans)
        self.calls.append(f"write {text}{' again' if recovering else ''}")
        if self.during_write is not None:
            await self.during_write(give_up)
        if self.error is not None:
            raise self.error
        self.stored += self.sealed
        self.sealed = []

    async def rollback(self, spans: Sequence[Span]) -> None:
        self.calls.append("rollback")

    async def discard(self, partitions: Collection[TopicPartition]) -> None:
        self.pending = self.sealed = []

    def status(self) -> dict[str, Any]:
        return {"rows": {"trades": len(self.stored)}}

    async def close(self) -> None:
        self.calls.append("close")


def log_of(count: int, *keys: TopicPartition) -> Log:
    log = Log()
    for key in keys or (KEY,):
        for number in range(count):
            log.append(key, CODEC.encode(trade(number)))
    return log


async def started(log: Log, target: ListTarget) -> tuple[SinkConsumer, LogConsumer, asyncio.Event, asyncio.Task[None]]:
    sink, source = make(log, target)
    stopping = asyncio.Event()
    task = asyncio.create_task(sink.run([KEY.topic], stopping))
    while source.listener is None:
        await asyncio.sleep(0)
    return sink, source, stopping, task


async def read_all(source: LogConsumer, polls: int = 5) -> None:
    while source.idle < polls:
        await asyncio.sleep(0)


async def test_writes_by_records_and_commits_behind_them() -> None:
    log, target = log_of(25), ListTarget(records=10)
    sink = await live(log, target, slices=[10] * 5)
    assert target.calls == ["open", "survey", "assign", "write 0-9", "write 10-19", "write 20-24", "close"]
    assert log.commits[KEY] == OffsetAndMetadata(25, "")
    assert sink.status() | {"last_commit_time": 0} == {
        "records": 25,
        "batches": 3,
        "pending": 0,
        "lag": 0,
        "partitions": 1,
        "duplicates_skipped": 0,
        "lost": 0,
        "dead_letters": 0,
        "last_commit_time": 0,
        "rows": {"trades": 25},
    }
    assert sink.last_commit_time > 0


async def test_writes_when_the_oldest_has_waited_long_enough() -> None:
    log, target = log_of(3), ListTarget(seconds=0.5)
    _, source, stopping, task = await started(log, target)
    await source.join([KEY])
    await read_all(source, 20)
    assert target.calls[-1] == "write 0-2"
    stopping.set()
    await task


async def test_writes_when_the_target_is_full() -> None:
    log, target = log_of(3), ListTarget(records=1000)
    target.full = True
    _, source, stopping, task = await started(log, target)
    await source.join([KEY])
    await read_all(source)
    assert target.calls[-1] == "write 0-2"
    stopping.set()
    await task


async def test_bytes_bound_a_batch() -> None:
    log, target = log_of(10), ListTarget(records=1000)
    target.limits = Limits(1000, len(CODEC.encode(trade(1))) * 3, 1000.0)
    await live(log, target, slices=[2] * 9)
    assert [call for call in target.calls if call.startswith("write")] == ["write 0-3", "write 4-7", "write 8-9"]


async def test_the_plan_is_committed_before_the_write() -> None:
    log, target = log_of(5), ListTarget(plans=True)
    seen: list[OffsetAndMetadata] = []

    async def look(_: asyncio.Event) -> None:
        seen.append(log.commits[KEY])

    target.during_write = look
    await live(log, target)
    assert seen == [OffsetAndMetadata(0, "to 4")]
    assert log.commits[KEY] == OffsetAndMetadata(5, "")


async def test_without_a_plan_the_beginning_is_committed_before_the_first_write_only() -> None:
    log, target = log_of(20), ListTarget(records=10)
    seen: list[OffsetAndMetadata] = []

    async def look(_: asyncio.Event) -> None:
        seen.append(log.commits[KEY])

    target.during_write = look
    await live(log, target, slices=[10] * 5)
    assert seen == [OffsetAndMetadata(0, ""), OffsetAndMetadata(10, "")]


async def test_a_planned_span_is_written_first_and_alone() -> None:
    log, target = log_of(9, KEY, OTHER), ListTarget()
    log.commits[KEY] = OffsetAndMetadata(2, "to 5")
    log.commits[OTHER] = OffsetAndMetadata(1, "")
    target.planned = {KEY: 5}
    await live(log, target)
    assert target.commits == {KEY: Commit(2, "to 5"), OTHER: Commit(1, "")}
    assert [call for call in target.calls if call.startswith("write")] == ["write 2-5 again", "write 6-8,1-8"]
    assert sorted(target.stored) == [(KEY, n) for n in range(2, 9)] + [(OTHER, n) for n in range(1, 9)]


async def test_a_plan_past_the_end_of_a_cut_log_does_not_wait_for_ever() -> None:
    log, target = log_of(4), ListTarget()
    log.commits[KEY] = OffsetAndMetadata(2, "to 9")
    target.planned = {KEY: 9}
    await live(log, target)
    assert "write 2-3 again" in target.calls
    assert log.commits[KEY].offset == 4


async def test_dropped_records_are_counted_and_told() -> None:
    log, target = log_of(10), ListTarget()
    log.commits[KEY] = OffsetAndMetadata(2, "")
    log.drop(KEY, 6)
    sink = await live(log, target)
    assert sink.lost == 4
    assert [offset for _, offset in target.stored] == [6, 7, 8, 9]
    topic, value = log.sent[0]
    event = CODEC.decode_as(Event, value)
    assert (topic, event.kind) == (topics.EVENTS, "lost_records")
    assert event.details == {"topic": KEY.topic, "partition": "0", "first_offset": "2", "records": "4"}


async def test_messages_out_of_order_are_read_again_not_taken_for_a_loss() -> None:
    log, target = log_of(10), ListTarget(records=4)
    sink, source, stopping, task = await started(log, target)
    await source.join([KEY])
    source.positions[KEY] = 5
    await read_all(source)
    stopping.set()
    await task
    assert sink.lost == 0
    assert [offset for _, offset in target.stored] == list(range(10))


async def test_messages_seen_before_are_left_out_and_counted() -> None:
    log, target = log_of(10), ListTarget(records=1000)
    sink, source, stopping, task = await started(log, target)
    await source.join([KEY])
    await read_all(source)
    source.positions[KEY] = 7
    source.idle = 0
    await read_all(source)
    stopping.set()
    await task
    assert sink.duplicates_skipped == 3
    assert [offset for _, offset in target.stored] == list(range(10))


async def test_revoked_partitions_are_written_first() -> None:
    log, target = log_of(5), ListTarget()
    owned: list[bool] = []
    sink, source, stopping, task = await started(log, target)
    sink.assigned = owned.append
    await source.join([KEY])
    await read_all(source)
    await source.leave()
    assert log.commits[KEY].offset == 5
    assert sink.status()["partitions"] == 0
    await source.join([OTHER])
    await read_all(source, 10)
    stopping.set()
    await task
    assert owned == [True, False, True]


async def test_a_refused_commit_undoes_the_write_and_forgets_it() -> None:
    log, target = log_of(5), ListTarget(seconds=0.2)
    sink, source, stopping, task = await started(log, target)

    async def lose_the_partition(_: asyncio.Event) -> None:
        log.members += 1

    target.during_write = lose_the_partition
    await source.join([KEY])
    while "rollback" not in target.calls:
        await asyncio.sleep(0)
    assert log.commits[KEY].offset == 0
    assert sink.records == 0
    # The group gives it back: everything is read again.
    target.during_write = None
    target.stored = []
    await source.join([KEY])
    await read_all(source, 20)
    stopping.set()
    await task
    assert [offset for _, offset in target.stored] == list(range(5))
    assert log.commits[KEY].offset == 5


async def test_an_assignment_that_is_outdated_at_its_beginning_changes_nothing() -> None:
    log, target = log_of(5), ListTarget()
    log.commits[KEY] = OffsetAndMetadata(0, "")
    _, source, stopping, task = await started(log, target)
    await source.join([KEY])
    log.members += 1
    await read_all(source)
    assert "assign" not in target.calls
    stopping.set()
    await task
    assert target.stored == []


async def test_a_write_that_is_given_up_is_read_again() -> None:
    log, target = log_of(5), ListTarget(plans=True, seconds=0.2)
    target.error = Abandoned("busy")
    _, source, stopping, task = await started(log, target)
    await source.join([KEY])
    while "write 0-4" not in target.calls:
        await asyncio.sleep(0)
    assert log.commits[KEY] == OffsetAndMetadata(0, "to 4")
    stopping.set()
    await task


async def test_flush_writes_now() -> None:
    log, target = log_of(3), ListTarget(records=1000)
    sink, source, stopping, task = await started(log, target)
    await source.join([KEY])
    await read_all(source)
    assert target.stored == []
    await asyncio.wait_for(sink.flush(), 5)
    assert len(target.stored) == 3
    await asyncio.wait_for(sink.flush(), 5)  # nothing to write is no reason to wait
    stopping.set()
    await task


async def test_a_flush_that_is_never_answered_ends_with_the_loop() -> None:
    log, target = log_of(3), ListTarget()
    sink, source, stopping, task = await started(log, target)
    await source.join([KEY])
    await read_all(source)
    target.error = ServiceError("the disk is full")
    waiting = asyncio.create_task(sink.flush())
    with pytest.raises(ServiceError, match="the disk is full"):
        await task
    with pytest.raises(asyncio.CancelledError):
        await waiting
    assert not stopping.is_set()


async def test_an_error_while_partitions_are_revoked_ends_the_loop() -> None:
    log, target = log_of(3), ListTarget()
    _, source, _, task = await started(log, target)
    await source.join([KEY])
    await read_all(source)
    target.error = ServiceError("the disk is full")
    await source.leave()
    with pytest.raises(ServiceError, match="the disk is full"):
        await task


class BrokenConsumer(LogConsumer):
    """Fails in one method."""

    def __init__(self, log: Log, method: str) -> None:
        super().__init__(log)

        async def fail(*_: object, **__: object) -> None:
            raise KafkaConnectionError("gone")

        setattr(self, method, fail)


@pytest.mark.parametrize("method", ["getmany", "commit", "beginning_offsets", "end_offsets"])
async def test_a_broker_that_fails_is_told(method: str) -> None:
    log, target = log_of(3), ListTarget(seconds=0.01)
    log.commits[OTHER] = OffsetAndMetadata(0, "to 1")
    log.append(OTHER, CODEC.encode(trade(1)))
    target.planned = {OTHER: 0}
    sink, _ = make(log, target)
    source = BrokenConsumer(log, method)
    sink._consumer = source
    task = asyncio.create_task(sink.run([KEY.topic], asyncio.Event()))
    while source.listener is None:
        await asyncio.sleep(0)
    await source.join([KEY, OTHER])
    with pytest.raises(BrokerError, match="gone"):
        await asyncio.wait_for(task, 5)
