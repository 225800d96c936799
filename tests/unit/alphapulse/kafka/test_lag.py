"""Tests of lag arithmetic; reading the figures is tested in ``tests/integration/kafka``."""

from __future__ import annotations

import pytest
from aiokafka import TopicPartition

from alphapulse.brokers.memory.broker import EmbeddedBroker
from alphapulse.config import KafkaSettings
from alphapulse.errors import BrokerError
from alphapulse.kafka import GroupLag, LagReader, PartitionLag


@pytest.mark.parametrize(
    ("start", "end", "committed", "lag", "dropped"),
    [
        (0, 0, None, 0, 0),
        (0, 10, None, 10, 0),
        (4, 10, None, 6, 0),  # never committed: it will begin at the oldest
        (0, 10, 0, 10, 0),
        (0, 10, 7, 3, 0),
        (0, 10, 10, 0, 0),
        (5, 10, 3, 5, 2),
        (10, 10, 3, 0, 7),
        (0, 10, 12, 0, 0),  # committed between the two requests
    ],
)
def test_lag_of_a_partition(start: int, end: int, committed: int | None, lag: int, dropped: int) -> None:
    partition = PartitionLag(start, end, committed)
    assert (partition.lag, partition.dropped) == (lag, dropped)


def test_lag_of_a_group_is_the_sum() -> None:
    group = GroupLag(
        "group",
        {
            TopicPartition("a", 0): PartitionLag(0, 10, 4),
            TopicPartition("a", 1): PartitionLag(3, 10, 1),
            TopicPartition("b", 0): PartitionLag(0, 1, 1),
        },
    )
    assert (group.total, group.dropped) == (13, 2)
    assert group.by_topic() == {"a": 13, "b": 0}


async def test_a_reader_must_be_entered() -> None:
    with pytest.raises(RuntimeError, match="context manager"):
        await LagReader(KafkaSettings(), {}).read()


async def test_no_groups_no_figures(broker: EmbeddedBroker) -> None:
    async with LagReader(broker.settings(), {}) as lag:
        assert await lag.read() == {}


async def test_a_broker_that_is_not_there_is_named() -> None:
    with pytest.raises(BrokerError, match=r"127\.0\.0\.1:1"):
        async with LagReader(KafkaSettings(bootstrap="127.0.0.1:1"), {"group": ["md.l2"]}):
            pass


async def test_a_broker_that_went_away_is_named() -> None:
    with EmbeddedBroker({"md.l2": 2}) as broker:
        settings = broker.settings()
        async with LagReader(settings, {"group": ["md.l2"]}) as lag:
            assert (await lag.read())["group"].total == 0
            broker.stop()
            with pytest.raises(BrokerError, match=f"cannot read lag from the broker at {broker.bootstrap}"):
                await lag.read()
