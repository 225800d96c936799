from __future__ import annotations

import asyncio
from decimal import Decimal
from pathlib import Path
from types import SimpleNamespace

import pytest
from aiokafka import TopicPartition
from prometheus_client import REGISTRY

from alphapulse import topics
from alphapulse.config import FreshnessSettings, KafkaSettings, ProcessorSettings, Settings, VenueSettings
from alphapulse.errors import BrokerError
from alphapulse.kafka.lag import unread_text
from alphapulse.service import Service
from schemas.codec import Codec
from schemas.records import Event
from stream_processors import __main__ as command
from stream_processors.engine.ownership import OwnedPartition
from stream_processors.engine.worker import INPUTS, Worker, arbitrage_rules_of, rules_of
from stream_processors.processing.partition import Partition
from tests.fixtures.log import message
from tests.fixtures.market import SECOND, trade


def test_rules_are_in_nanoseconds() -> None:
    settings = Settings(
        processors=ProcessorSettings(
            depth_levels=7,
            depth_interval_ms=25,
            stats_interval_s=2,
            candle_intervals_s=(60, 1),
            candle_lateness_s=1.5,
            arbitrage_min_net_basis_points=0.1,
        ),
        freshness=FreshnessSettings(heartbeat_ms=100, max_book_age_ms=300),
        venues={"kraken": VenueSettings(taker_fee_basis_points=Decimal("26.5"))},
    )
    rules = rules_of(settings)
    assert (rules.depth_levels, rules.depth_interval, rules.stats_interval) == (7, 25_000_000, 2 * SECOND)
    assert (rules.candle_intervals, rules.candle_lateness) == ((SECOND, 60 * SECOND), 1_500_000_000)
    arbitrage = arbitrage_rules_of(settings)
    assert arbitrage.fees == {"kraken": Decimal("26.5")}
    assert (arbitrage.least_basis_points, arbitrage.max_book_age) == (Decimal("0.1"), 300_000_000)


async def test_a_record_of_our_own_that_does_not_fit_becomes_an_event(tmp_path: Path) -> None:
    worker = Worker(Service("processors", Settings(data_dir=tmp_path)))
    worker._publish([trade(size=2**63), trade()])
    made = [(topic, Codec().decode(value)) for topic, _, value, *_ in worker._outputs._waiting]
    assert [topic for topic, _ in made] == [topics.EVENTS, topics.TRADES]
    event = made[0][1]
    assert isinstance(event, Event)
    assert (event.kind, event.severity) == ("record_refused", "ERROR")
    assert "9223372036854775808" in event.message


class Draining:
    """A worker that is asked to stop, with one partition, and a broker that tells these ends."""

    def __init__(self, folder: Path, monkeypatch: pytest.MonkeyPatch, *, seconds: float) -> None:
        settings = Settings(data_dir=folder, processors=ProcessorSettings(drain_seconds=seconds))
        self.worker = Worker(Service("processors", settings))
        owned = OwnedPartition(Partition(3, rules_of(settings), arbitrage_rules_of(settings)))
        self.worker.ownership.partitions[3] = owned
        self.positions = owned.state.positions
        self.committed: dict[str, int] | None = None
        """What the broker has taken of commits; None: all."""
        self.commits = 0
        self.worker._taken_over()
        self.worker.ownership.settled.set()
        self.ends = {topics.L2: 10, topics.TRADES: 5, topics.DEPTH: 4}
        self.asked: list[list[str]] = []
        self.fault: BrokerError | None = None

        async def ends_of(
            _: KafkaSettings, partitions: list[TopicPartition], *, client_id: str
        ) -> dict[TopicPartition, int]:
            assert client_id == "alphapulse-processors-restore"
            self.asked.append([partition.topic for partition in partitions])
            if self.fault is not None:
                raise self.fault
            return {partition: self.ends[partition.topic] for partition in partitions}

        async def commit() -> None:
            self.commits += 1

        monkeypatch.setattr("stream_processors.engine.worker.ends_of", ends_of)
        monkeypatch.setattr(self.worker.app, "consumer", SimpleNamespace(commit=commit), raising=False)
        monkeypatch.setattr(self.worker.app, "committed", self._told)

    def _told(self, topic: str) -> dict[int, int]:
        taken = self.positions if self.committed is None else self.committed
        return {3: taken[topic]} if topic in taken else {}


async def test_a_stop_reads_on_to_the_ends_and_then_to_what_came_of_that(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    one = Draining(tmp_path, monkeypatch, seconds=60.0)
    draining = asyncio.create_task(one.worker._drain())
    for at in ({topics.L2: 10}, {topics.TRADES: 5}):
        one.positions |= at
        await asyncio.sleep(0)
        assert not draining.done()
    one.positions[topics.DEPTH] = 4
    one.ends[topics.DEPTH] = 9  # the books that the last records led to
    async with asyncio.timeout(20):
        while len(one.asked) < 2:
            await asyncio.sleep(0.01)
    assert one.asked == [[topics.L2, topics.TRADES, topics.DEPTH], [topics.DEPTH]]
    assert not draining.done()
    one.positions[topics.DEPTH] = 9
    await asyncio.wait_for(draining, 20)
    assert one.worker.unread == {}


async def test_a_stop_reads_again_what_it_could_not_commit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The group has taken the worker for dead; it hears of that while it reads on."""
    one = Draining(tmp_path, monkeypatch, seconds=60.0)
    ownership = one.worker.ownership
    one.positions |= one.ends
    one.committed = {}
    draining = asyncio.create_task(one.worker._drain())
    async with asyncio.timeout(20):
        while one.commits < 2:
            await asyncio.sleep(0.01)
    # The rebalance: what was applied and not committed is read again.
    owned = ownership.partitions.pop(3)
    ownership.tenure += 1
    ownership.settled.clear()
    await asyncio.sleep(0.05)
    assert not draining.done()
    one.positions.clear()
    one.committed = None
    ownership.partitions[3] = owned
    ownership.settled.set()
    await asyncio.sleep(0.05)
    assert not draining.done()
    one.positions |= one.ends
    await asyncio.wait_for(draining, 20)
    assert one.worker.unread == {}


async def test_who_never_had_partitions_ends_at_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    one = Draining(tmp_path, monkeypatch, seconds=60.0)
    one.worker._worked = False
    await asyncio.wait_for(one.worker._drain(), 20)
    assert one.asked == []


async def test_what_a_stop_has_no_time_for_is_told_by_topic(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    one = Draining(tmp_path, monkeypatch, seconds=0.0)
    one.positions |= {topics.L2: 7, topics.TRADES: 5}
    await one.worker._drain()
    assert one.worker.unread == {topics.L2: 3, topics.DEPTH: 4}
    assert unread_text(one.worker.unread) == "stopped with 7 records unread: md.depth 4, md.l2 3"


async def test_a_partition_that_goes_to_another_worker_is_not_waited_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    one = Draining(tmp_path, monkeypatch, seconds=60.0)
    draining = asyncio.create_task(one.worker._drain())
    async with asyncio.timeout(20):
        while not one.asked:
            await asyncio.sleep(0.01)
    one.worker.ownership.partitions.clear()
    await asyncio.wait_for(draining, 20)
    assert one.worker.unread == {}


async def test_without_a_broker_a_stop_does_not_wait(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    one = Draining(tmp_path, monkeypatch, seconds=60.0)
    one.fault = BrokerError("gone")
    await asyncio.wait_for(one.worker._drain(), 20)
    assert one.worker.unread == {}


def test_a_configuration_that_cannot_be_used_is_refused_before_anything_starts(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "services.toml").write_text("[processors]\ndepth_levls = 5\n")
    assert command.main(["--config", str(tmp_path)]) == 2
    told = capsys.readouterr().err
    assert "depth_levls" in told
    assert "services.toml" in told


def test_the_age_of_a_batchs_last_record_is_observed(tmp_path: Path) -> None:
    name, labels = "alphapulse_processing_age_seconds", {"topic": topics.TRADES}

    def told() -> list[float]:
        return [REGISTRY.get_sample_value(f"{name}_{part}", labels) or 0.0 for part in ("count", "sum")]

    settings = Settings(data_dir=tmp_path)
    now = 2_000_000_000 * SECOND
    worker = Worker(Service("processors", settings), clock=lambda: now)
    owned = OwnedPartition(Partition(3, rules_of(settings), arbitrage_rules_of(settings)))
    key = TopicPartition(topics.TRADES, 3)
    records = [trade(str(age), received_time=now - age * SECOND) for age in (8, 2)]
    messages = [message(key, offset, Codec().encode(record)) for offset, record in enumerate(records)]
    before = told()
    _, apply = INPUTS[topics.TRADES]
    worker._apply(owned, topics.TRADES, messages, apply)
    assert [after - was for after, was in zip(told(), before, strict=True)] == [1.0, pytest.approx(2.0)]
    worker._apply(owned, topics.TRADES, messages, apply)
    assert told()[0] - before[0] == 1.0, "what was applied before has no age"


def test_the_oldest_checkpoint_that_is_behind_counts(tmp_path: Path) -> None:
    settings = Settings(data_dir=tmp_path)
    ownership = Worker(Service("processors", settings)).ownership
    assert ownership.checkpoint_age(100.0) == 0.0
    for number, saved in ((1, 40.0), (2, 70.0), (3, 10.0)):
        owned = OwnedPartition(Partition(number, rules_of(settings), arbitrage_rules_of(settings)))
        owned.saved_at = saved
        if number != 3:
            owned.state.positions[topics.L2] = 5
        ownership.partitions[number] = owned
    assert ownership.checkpoint_age(100.0) == 60.0, "the third has applied nothing since"
