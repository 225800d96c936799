"""Tests of the loss arithmetic; real losses are in ``tests/integration/kafka``."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import dataclass

import pytest
from aiokafka import AIOKafkaConsumer, TopicPartition
from structlog.testing import capture_logs

from alphapulse.config import KafkaSettings
from alphapulse.kafka import LossWatch, consumer

ONE, TWO = TopicPartition("topic.of.losses", 0), TopicPartition("topic.of.losses", 1)


@dataclass
class Record:
    """A consumed record, as far as the watch looks at it."""

    offset: int


def records(*offsets: int) -> list[Record]:
    """Return records at ``offsets``."""
    return [Record(offset) for offset in offsets]


@pytest.fixture
async def reader() -> AsyncIterator[AIOKafkaConsumer]:
    """A consumer without a group, never started: there are no commits to ask for."""
    made = consumer(KafkaSettings(), group_id=None, client_id="test")
    yield made
    await made.stop()


async def test_every_offset_between_two_batches_is_lost(reader: AIOKafkaConsumer) -> None:
    watch = LossWatch()
    assert await watch.check(reader, {ONE: records(5, 6), TWO: records(0)}) == {}
    assert await watch.check(reader, {ONE: records(7), TWO: []}) == {}
    assert await watch.check(reader, {ONE: records(10, 11), TWO: records(4)}) == {
        ONE: range(8, 10),
        TWO: range(1, 4),
    }
    assert await watch.check(reader, {ONE: records(12), TWO: records(5)}) == {}
    assert await watch.check(reader, {}) == {}


async def test_partitions_given_away_are_measured_anew(reader: AIOKafkaConsumer) -> None:
    watch = LossWatch()
    await watch.check(reader, {ONE: records(5), TWO: records(5)})
    await watch.on_partitions_revoked([ONE])
    await watch.on_partitions_assigned([ONE])
    assert await watch.check(reader, {ONE: records(90), TWO: records(90)}) == {TWO: range(6, 90)}


async def test_a_log_that_went_back_is_told_and_followed(reader: AIOKafkaConsumer) -> None:
    watch = LossWatch()
    watch.expect(ONE, 100)
    with capture_logs() as logged:
        assert await watch.check(reader, {ONE: records(0, 1)}) == {}
    assert [(line["log_level"], line["expected_offset"], line["offset"]) for line in logged] == [("warning", 100, 0)]
    assert await watch.check(reader, {ONE: records(3)}) == {ONE: range(2, 3)}
