from __future__ import annotations

import asyncio
from collections.abc import Collection, Mapping, Sequence
from typing import Any

import pytest
from aiokafka import OffsetAndMetadata, TopicPartition
from aiokafka.errors import KafkaConnectionError
from prometheus_client import REGISTRY

from alphapulse import topics
from alphapulse.errors import BrokerError, ServiceError
from alphapulse.tracing import TraceContext, Tracer
from schemas.codec import Codec
from schemas.records import Event
from schemas.refusal_sender import RefusalSender
from sinks.consumer import SinkConsumer
from sinks.contract import Abandoned, BatchChunk, BatchLimits, Commit, Span
from sinks.decoder import RecordDecoder
from tests.fixtures.log import Log, LogConsumer, SlowProducer
from tests.fixtures.otlp import Collected
from tests.fixtures.records import l2, trade
from tests.fixtures.sink_life import live, make

CODEC = Codec()
KEY = TopicPartition(topics.TRADES, 0)
OTHER = TopicPartition(topics.TRADES, 1)


class ListTarget:
    """Keeps rows in lists and writes down what is asked of it."""

    def __init__(self, *, plans: bool = False, records: int = 10, seconds: float = 1000.0) -> None:
        self.calls: list[str] = []
        self.limits = BatchLimits(records, 2**20, seconds)
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

    async def submit(self, chunk: BatchChunk) -> None:
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


async def test_what_comes_after_a_pause_is_written_at_once() -> None:
    log, target = log_of(3), ListTarget(records=1000)
    target.limits = BatchLimits(1000, 2**20, 100.0, idle_seconds=50.0)
    _, source, stopping, task = await started(log, target)
    await source.join([KEY])
    await read_all(source)
    assert target.calls[-1] == "write 0-2"
    log.append(KEY, CODEC.encode(trade(3)))
    # The clock advances 50 ms at each look, two or three of them in a poll.
    await read_all(source, 100)
    assert target.calls[-1] == "write 0-2"
    await read_all(source, 1000)
    assert target.calls[-1] == "write 3-3"
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
    target.limits = BatchLimits(1000, len(CODEC.encode(trade(1))) * 3, 1000.0)
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


# --- reading while a write is under way ---------------------------------------------------------------------


class Hold:
    """Keeps a write from ending until it is let go; what it was called with stays the target's affair."""

    def __init__(self) -> None:
        self.begun = asyncio.Event()
        self.released = asyncio.Event()

    async def __call__(self, _: asyncio.Event) -> None:
        self.begun.set()
        await self.released.wait()


async def turns(count: int = 30) -> None:
    for _ in range(count):
        await asyncio.sleep(0)


async def held(log: Log, target: ListTarget) -> tuple[SinkConsumer, LogConsumer, asyncio.Event, Any, Hold]:
    """Start a sink whose first write is under way."""
    hold = target.during_write = Hold()
    sink, source, stopping, task = await started(log, target)
    await source.join([KEY])
    await asyncio.wait_for(hold.begun.wait(), 5)
    return sink, source, stopping, task, hold


async def test_the_next_batch_is_read_while_one_is_being_written_and_no_more() -> None:
    log, target = log_of(95), ListTarget(records=10)
    target.plans = True
    sink, source, stopping, task, hold = await held(log, target)
    source.slices = [5] * 100
    await turns()
    first = [call for call in target.calls if call.startswith("write")]
    # One batch of 95 that was fetched in one piece is being written: nothing is left to read.
    assert first == ["write 0-94"]
    for number in range(95, 200):
        log.append(KEY, CODEC.encode(trade(number)))
    await turns(100)
    assert (source.positions[KEY], sink.status()["pending"]) == (105, 95 + 10)
    assert (target.pending, len(target.sealed)) == ([], 95)
    assert log.commits[KEY] == OffsetAndMetadata(0, "to 94")
    hold.released.set()
    await turns(200)
    assert "write 95-104" in target.calls
    stopping.set()
    await task
    assert [offset for _, offset in target.stored] == sorted({offset for _, offset in target.stored})
    offsets = [commit.offset for _, commit in log.history]
    assert offsets == sorted(offsets)


async def test_much_is_decoded_before_its_write_is_due(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sinks.buffer.DECODE_RECORDS", 4)
    log, target = log_of(9), ListTarget(records=1000)
    _, source, stopping, task = await started(log, target)
    source.slices = [3] * 20
    await source.join([KEY])
    await read_all(source)
    assert [offset for _, offset in target.pending] == list(range(6))
    stopping.set()
    await task
    assert [offset for _, offset in target.stored] == list(range(9))


async def test_a_flush_during_a_write_waits_for_what_was_fetched_meanwhile() -> None:
    log, target = log_of(10), ListTarget(records=10)
    sink, _, stopping, task, hold = await held(log, target)
    for number in range(10, 15):
        log.append(KEY, CODEC.encode(trade(number)))
    await turns()
    waiting = asyncio.create_task(sink.flush())
    await turns()
    assert not waiting.done()
    hold.released.set()
    await asyncio.wait_for(waiting, 5)
    assert log.commits[KEY].offset == 15
    stopping.set()
    await task


async def test_nothing_is_committed_before_the_broker_has_the_dead_letters() -> None:
    log, target = Log(), ListTarget(records=2)
    for value in (CODEC.encode(trade(0)), b"junk"):
        log.append(KEY, value)
    producer = SlowProducer()
    sink, source, stopping, task = await started(log, target)
    sink._decoder = RecordDecoder(CODEC, RefusalSender("sink-test", producer, CODEC))
    await source.join([KEY])
    while not producer.waiting:
        await asyncio.sleep(0)
    await turns()
    assert (log.history, target.stored) == ([], [])
    producer.waiting[0].set_result(None)
    await turns()
    assert log.commits[KEY].offset == 2
    stopping.set()
    await task


async def test_partitions_are_given_back_when_both_batches_are_committed() -> None:
    log, target = log_of(10), ListTarget(records=10)
    _, source, stopping, task, hold = await held(log, target)
    for number in range(10, 15):
        log.append(KEY, CODEC.encode(trade(number)))
    await turns()
    leaving = asyncio.create_task(source.leave())
    await turns()
    assert not leaving.done()
    hold.released.set()
    await leaving
    assert log.commits[KEY].offset == 15
    assert len(target.stored) == 15
    stopping.set()
    await task


async def test_a_refused_commit_forgets_what_was_read_meanwhile_as_well() -> None:
    log, target = log_of(10), ListTarget(records=10)
    sink, source, stopping, task, hold = await held(log, target)
    for number in range(10, 15):
        log.append(KEY, CODEC.encode(trade(number)))
    await turns()
    log.members += 1
    hold.released.set()
    while "rollback" not in target.calls:
        await asyncio.sleep(0)
    await turns()
    assert (sink.status()["pending"], target.pending, log.commits[KEY].offset) == (0, [], 0)
    target.stored = []
    await source.join([KEY])
    await read_all(source, 40)
    stopping.set()
    await task
    assert [offset for _, offset in target.stored] == list(range(15))
    assert log.commits[KEY].offset == 15


async def test_all_partitions_are_read_while_a_planned_span_is_written() -> None:
    log, target = log_of(9, KEY, OTHER), ListTarget()
    log.commits[KEY] = OffsetAndMetadata(2, "to 5")
    log.commits[OTHER] = OffsetAndMetadata(1, "")
    target.planned = {KEY: 5}
    hold = target.during_write = Hold()
    sink, source, stopping, task = await started(log, target)
    await source.join([KEY, OTHER])
    await asyncio.wait_for(hold.begun.wait(), 5)
    await turns()
    assert sink.status()["pending"] == 4 + 3 + 8
    assert dict(log.history) == {KEY: OffsetAndMetadata(2, "to 5"), OTHER: OffsetAndMetadata(1, "")}
    hold.released.set()
    await read_all(source, 30)
    stopping.set()
    await task
    assert [call for call in target.calls if call.startswith("write")] == ["write 2-5 again", "write 6-8,1-8"]


async def test_an_error_of_a_write_ends_the_loop_that_reads() -> None:
    log, target = log_of(10), ListTarget(records=10)
    _, _, stopping, task, hold = await held(log, target)
    target.error = ServiceError("the disk is full")
    hold.released.set()
    with pytest.raises(ServiceError, match="the disk is full"):
        await asyncio.wait_for(task, 5)
    assert not stopping.is_set()


async def test_an_error_of_the_loop_ends_the_write(monkeypatch: pytest.MonkeyPatch) -> None:
    log, target = log_of(10), ListTarget(records=10)
    sink, source, _, task, hold = await held(log, target)

    async def fail(*_: object, **__: object) -> None:
        raise KafkaConnectionError("gone")

    monkeypatch.setattr(source, "getmany", fail)
    with pytest.raises(BrokerError, match=r"cannot read from the broker: .*gone"):
        await asyncio.wait_for(task, 5)
    hold.released.set()
    await turns()
    assert (target.stored, log.commits[KEY].offset, sink.records) == ([], 0, 0)


# --- the end ------------------------------------------------------------------------------------------------


async def test_what_the_broker_has_when_asked_to_stop_is_read_and_stored() -> None:
    log, target = log_of(40, KEY, OTHER), ListTarget(records=10)
    sink, source = make(log, target, slices=[3] * 60)
    stopping = asyncio.Event()
    task = asyncio.create_task(sink.run([KEY.topic], stopping, drain_seconds=1000.0))
    while source.listener is None:
        await asyncio.sleep(0)
    await source.join([KEY, OTHER])
    stopping.set()
    await task
    assert {key: commit.offset for key, commit in log.commits.items()} == {KEY: 40, OTHER: 40}
    assert sorted(target.stored) == [(key, offset) for key in (KEY, OTHER) for offset in range(40)]
    assert sink.unread == {}


async def test_what_comes_after_the_request_to_stop_does_not_keep_it_from_stopping() -> None:
    log, target = log_of(10), ListTarget(records=10)
    sink, source = make(log, target)

    class Growing(LogConsumer):
        """Each message that is read is followed by one more."""

        async def getmany(self, *keys: TopicPartition, timeout_ms: int, max_records: int) -> Any:
            got = await super().getmany(*keys, timeout_ms=timeout_ms, max_records=max_records)
            for messages in got.values():
                for _ in messages:
                    log.append(KEY, CODEC.encode(trade(0)))
            return got

    source = sink._consumer = Growing(log, slices=[1] * 1000)
    stopping = asyncio.Event()
    task = asyncio.create_task(sink.run([KEY.topic], stopping, drain_seconds=1000.0))
    while source.listener is None:
        await asyncio.sleep(0)
    await source.join([KEY])
    stopping.set()
    await asyncio.wait_for(task, 5)
    assert 10 <= log.commits[KEY].offset < len(log.partitions[KEY])
    assert sink.unread == {}


async def test_what_could_not_be_read_in_time_is_told_by_topic() -> None:
    log, target = log_of(40, KEY, OTHER), ListTarget(records=10)
    updates = TopicPartition(topics.L2, 0)
    log.append(updates, CODEC.encode(l2(0)))
    sink, source = make(log, target, slices=[5] * 100)
    stopping = asyncio.Event()
    task = asyncio.create_task(sink.run([topics.TRADES, topics.L2], stopping, drain_seconds=1.0))
    while source.listener is None:
        await asyncio.sleep(0)
    await source.join([KEY, OTHER, updates])
    stopping.set()
    await task
    stored = len(target.stored)
    assert 0 < stored < 80
    assert sum(commit.offset for commit in log.commits.values()) == stored
    assert sink.unread == {topics.TRADES: 80 - stored, topics.L2: 1}


async def test_without_time_to_drain_what_was_fetched_is_stored() -> None:
    log, target = log_of(10), ListTarget(records=1000)
    sink, source, stopping, task = await started(log, target)
    await source.join([KEY])
    await read_all(source)
    for number in range(10, 25):
        log.append(KEY, CODEC.encode(trade(number)))
    stopping.set()
    await task
    assert log.commits[KEY].offset == 10
    assert sink.unread == {topics.TRADES: 15}


async def test_a_write_that_is_given_up_at_the_end_is_unread() -> None:
    log, target = log_of(10), ListTarget(records=1000)
    target.error = Abandoned("busy")
    sink, source, stopping, task = await started(log, target)
    await source.join([KEY])
    await read_all(source)
    stopping.set()
    await task
    assert sink.unread == {topics.TRADES: 10}


async def test_a_broker_that_does_not_tell_the_ends_does_not_keep_it_from_storing(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    log, target = log_of(10), ListTarget(records=1000)
    sink, source, stopping, task = await started(log, target)
    await source.join([KEY])
    await read_all(source)
    log.append(KEY, CODEC.encode(trade(10)))

    async def fail(*_: object) -> None:
        raise KafkaConnectionError("gone")

    monkeypatch.setattr(source, "end_offsets", fail)
    stopping.set()
    await task
    # Where the log ended when it was last seen.
    assert (log.commits[KEY].offset, sink.unread) == (10, {topics.TRADES: 1})


async def test_a_sink_that_waits_for_a_rebalance_stops_at_once() -> None:
    log, target = log_of(10), ListTarget()
    sink, source = make(log, target)
    begun = asyncio.Event()

    async def wait(*_: object, **__: object) -> None:
        begun.set()
        await asyncio.Event().wait()

    source.getmany = wait
    stopping = asyncio.Event()
    task = asyncio.create_task(sink.run([KEY.topic], stopping, drain_seconds=1000.0))
    await asyncio.wait_for(begun.wait(), 5)
    stopping.set()
    await asyncio.wait_for(task, 5)
    assert sink.unread == {}


async def draining(log: Log, target: ListTarget, seconds: float = 1e6) -> tuple[SinkConsumer, LogConsumer, Any]:
    """Return a sink that was asked to stop and has stored a part of what there is."""
    sink, source = make(log, target, slices=[3] * 60)
    stopping = asyncio.Event()
    task = asyncio.create_task(sink.run([KEY.topic], stopping, drain_seconds=seconds))
    while source.listener is None:
        await asyncio.sleep(0)
    await source.join([KEY])
    stopping.set()
    while not target.stored:
        await asyncio.sleep(0)
    return sink, source, task


async def test_partitions_that_another_takes_over_at_the_end_are_its_affair() -> None:
    log, target = log_of(40), ListTarget(records=10)
    log.append(OTHER, CODEC.encode(trade(0)))
    sink, source, task = await draining(log, target)
    await source.leave()
    stored = len(target.stored)
    assert 0 < stored < 40
    await source.join([OTHER])
    await asyncio.wait_for(task, 5)
    assert {key: commit.offset for key, commit in log.commits.items()} == {KEY: stored, OTHER: 1}
    assert sink.unread == {}


async def test_partitions_that_come_back_at_the_end_are_read_on() -> None:
    log, target = log_of(40), ListTarget(records=10)
    sink, source, task = await draining(log, target)
    await source.leave()
    await turns(200)
    assert not task.done()
    await source.join([KEY])
    await asyncio.wait_for(task, 5)
    assert [offset for _, offset in target.stored] == list(range(40))
    assert sink.unread == {}


async def test_partitions_lost_unnoticed_are_read_again_before_the_end() -> None:
    """As after a pause of the process that was longer than the group's session: the last commit is refused."""
    log, target = log_of(15), ListTarget(records=1000)
    sink, source = make(log, target)
    stopping = asyncio.Event()
    task = asyncio.create_task(sink.run([KEY.topic], stopping, drain_seconds=1e6))
    while source.listener is None:
        await asyncio.sleep(0)
    await source.join([KEY])
    await read_all(source)
    log.members += 1
    stopping.set()
    while sink.status()["partitions"]:
        await asyncio.sleep(0)
    assert target.stored == []
    await source.join([KEY])
    await asyncio.wait_for(task, 5)
    assert [offset for _, offset in target.stored] == list(range(15))
    assert (log.commits[KEY].offset, sink.unread) == (15, {})


async def test_partitions_that_do_not_come_back_are_told_when_the_time_is_over() -> None:
    log, target = log_of(40), ListTarget(records=10)
    sink, source, task = await draining(log, target, 20.0)
    await source.leave()
    await asyncio.wait_for(task, 5)
    committed = log.commits[KEY].offset
    assert 0 < committed < 40
    assert len(target.stored) == committed
    assert sink.unread == {topics.TRADES: 40 - committed}


def told(name: str, **labels: str) -> float:
    return REGISTRY.get_sample_value(name, labels) or 0.0


async def test_stored_batches_are_told_to_the_metrics() -> None:
    names = ("alphapulse_sink_rows_total", "alphapulse_sink_age_seconds_count", "alphapulse_sink_age_seconds_sum")
    before = {name: told(name, topic=KEY.topic) for name in names}
    batches, writes = told("alphapulse_sink_batch_records_count"), told("alphapulse_sink_write_seconds_count")
    log, target = log_of(25), ListTarget(records=10)
    log.append(KEY, b"no record")
    sink = await live(log, target, slices=[10] * 5)
    after = {name: told(name, topic=KEY.topic) - before[name] for name in names}
    assert after[names[0]] == 25, "what was refused is no row"
    assert after[names[1]] == sink.batches == 3
    oldest = trade(20).received_time / 1e9  # all batches are of about the same time
    assert after[names[2]] / 3 == pytest.approx(sink.last_commit_time / 1e9 - oldest, rel=0.01)
    assert told("alphapulse_sink_batch_records_count") - batches == 3
    assert told("alphapulse_sink_write_seconds_count") - writes == 3


async def test_the_age_of_what_is_not_stored_counts_until_it_is() -> None:
    log, target = log_of(3), ListTarget(records=3)
    ages: list[float] = []

    async def look(_: asyncio.Event) -> None:
        ages.append(sink.unwritten_seconds)
        ages.append(sink.unwritten_seconds)
        lags.append((sink.lag_of(KEY.topic), sink.lag_of(topics.L2)))

    lags: list[tuple[int, int]] = []
    target.during_write = look
    sink, source, stopping, task = await started(log, target)
    assert sink.unwritten_seconds == 0.0
    await source.join([KEY])
    await read_all(source)
    stopping.set()
    await task
    assert 0.0 < ages[0] < ages[1]
    assert lags == [(3, 0)]
    assert (sink.unwritten_seconds, sink.lag) == (0.0, 0)


async def test_rows_that_were_not_committed_are_not_counted() -> None:
    before = told("alphapulse_sink_rows_total", topic=KEY.topic)
    log, target = log_of(3), ListTarget(records=3)
    target.error = ServiceError("disk full")
    sink, source, _, task = await started(log, target)
    await source.join([KEY])
    with pytest.raises(ServiceError, match="disk full"):
        await task
    assert told("alphapulse_sink_rows_total", topic=KEY.topic) == before
    assert sink.unwritten_seconds > 0.0


async def test_a_traced_message_is_followed_until_it_is_committed() -> None:
    export, log, target = Collected(), log_of(4), ListTarget(records=10)
    log.append(KEY, CODEC.encode(trade(4)), TraceContext(7, 9).headers)
    sink = await live(log, target, tracer=Tracer(export, 0.0))
    ((span, end, error),) = export.ended
    assert (span.context.trace_id, span.attributes["messaging.kafka.offset"], error) == (7, 4, "")
    assert end == sink.last_commit_time
    assert span.attributes["alphapulse.batch.records"] == 5


async def test_a_message_whose_commit_was_refused_is_not_told_as_stored() -> None:
    export, log, target = Collected(), log_of(0), ListTarget(records=1)
    log.append(KEY, CODEC.encode(trade(4)), TraceContext(7, 9).headers)
    sink, source = make(log, target, tracer=Tracer(export, 0.0))
    stopping = asyncio.Event()
    task = asyncio.create_task(sink.run([KEY.topic], stopping))
    while source.listener is None:
        await asyncio.sleep(0)

    async def taken_over(_: asyncio.Event) -> None:
        log.members += 1

    target.during_write = taken_over
    await source.join([KEY])
    await read_all(source)
    stopping.set()
    await task
    assert "rollback" in target.calls
    assert export.ended == []
