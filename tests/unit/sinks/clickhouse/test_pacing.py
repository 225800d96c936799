from __future__ import annotations

import asyncio
from typing import Any

import pytest
from aiokafka import TopicPartition

from alphapulse import topics
from alphapulse.config import ClickHouseSettings
from schemas.records import Trade
from sinks.clickhouse.pacing import WORTH_ROWS, InsertPacing
from sinks.clickhouse.writer import ClickHouseTarget
from sinks.columns import batch
from sinks.contract import BatchChunk, Span
from tests.fixtures.memory_engine import MemoryEngine
from tests.fixtures.records import trade


def steady(pacing: InsertPacing, rate: float, seconds: float, now: float = 0.0) -> tuple[int, float]:
    """Insert as the pacing says; return the inserts and the time at the end."""
    inserts, end = 0, now + seconds
    while now < end:
        wait = pacing.seconds
        now += wait
        pacing.sealed(round(rate * wait), now)
        inserts += 1
    return inserts, now


@pytest.mark.parametrize(
    ("rate", "seconds"), [(5_000, 1.0), (1_000, 1.0), (400, 2.5), (430, 2.33), (50, 5.0), (1, 5.0)]
)
def test_the_interval_makes_an_insert_worth_its_part(rate: float, seconds: float) -> None:
    pacing = InsertPacing(1.0, 5.0)
    assert pacing.seconds == 1.0
    steady(pacing, rate, 60)
    assert pacing.seconds == pytest.approx(seconds, rel=0.02)
    assert pacing.rate * pacing.seconds == pytest.approx(max(min(WORTH_ROWS, rate * 5), rate), rel=0.05)


def test_a_minute_at_fifty_records_a_second_is_a_dozen_inserts() -> None:
    pacing = InsertPacing(1.0, 5.0)
    _, now = steady(pacing, 50, 10)
    inserts, _ = steady(pacing, 50, 60, now)
    assert inserts <= 12


def test_it_follows_a_change_of_the_rate_within_a_few_batches() -> None:
    pacing = InsertPacing(1.0, 5.0)
    _, now = steady(pacing, 50, 60)
    now += pacing.seconds
    pacing.sealed(50_000, now)
    assert pacing.seconds == 1.0
    for _ in range(16):
        now += pacing.seconds
        pacing.sealed(round(50 * pacing.seconds), now)
    assert pacing.seconds == 5.0


def test_batches_sealed_early_count_with_the_next() -> None:
    pacing = InsertPacing(1.0, 5.0)
    pacing.sealed(100_000, 10.0)  # what was waiting at the start
    assert pacing.seconds == 1.0
    for number in range(1, 21):
        pacing.sealed(50, 10.0 + number / 10)  # flushes
    assert pacing.rate == pytest.approx(500)


def test_a_longest_time_below_the_shortest_changes_nothing() -> None:
    pacing = InsertPacing(10.0, 5.0)
    steady(pacing, 1, 100)
    assert pacing.seconds == 10.0


async def test_a_target_waits_longer_at_low_rates() -> None:
    now = [0.0]
    target = ClickHouseTarget(
        ClickHouseSettings(),
        MemoryEngine(),  # type: ignore[arg-type]
        "life-1",
        asyncio.Event(),
        clock=lambda: now[0],
    )
    key = TopicPartition(topics.TRADES, 0)
    waits = []
    for number in range(4):
        waits.append(target.limits.seconds)
        assert target.limits.idle_seconds == 2 * target.limits.seconds
        await target.submit(BatchChunk(key, Trade, batch(Trade, [trade(number)], 0, [number])))
        target.seal([Span(key, number, number)])
        now[0] += target.limits.seconds
        await target.write([Span(key, number, number)], recovering=False, give_up=asyncio.Event())
    assert waits == [1.0, 1.0, 5.0, 5.0]
    assert target.status()["batch_seconds"] == 5.0


@pytest.mark.parametrize(
    ("settings", "longest"),
    [
        ({}, 5.0),
        ({"dsn": "chdb:///data"}, 5.0),
        ({"dsn": "clickhouse://host"}, 12.0),
        ({"dsn": "clickhouse://host", "batch_seconds_max": 3}, 3.0),
        ({"batch_seconds": 20}, 20.0),
    ],
)
def test_how_long_a_batch_may_wait(settings: dict[str, Any], longest: float) -> None:
    assert ClickHouseSettings(**settings).longest_batch_seconds == longest


async def test_a_server_gets_no_more_than_a_part_a_second_and_table() -> None:
    """Each partition is a part of its own there; fifty records a second over all twelve."""
    now = [0.0]
    target = ClickHouseTarget(
        ClickHouseSettings(dsn="clickhouse://host"),
        MemoryEngine(embedded=False),  # type: ignore[arg-type]
        "life-1",
        asyncio.Event(),
        clock=lambda: now[0],
    )
    inserts, offset, began = 0, 0, 0.0
    for number in range(12):
        if number == 4:
            inserts, began = 0, now[0]
        count = max(round(50 * target.limits.seconds / 12), 1)
        spans = [Span(TopicPartition(topics.TRADES, p), offset, offset + count - 1) for p in range(12)]
        for span in spans:
            rows = batch(
                Trade, [trade(n) for n in range(count)], span.partition.partition, range(offset, offset + count)
            )
            await target.submit(BatchChunk(span.partition, Trade, rows))
        target.seal(spans)
        await target.write(spans, recovering=False, give_up=asyncio.Event())
        now[0] += target.limits.seconds
        inserts += len(spans)
        offset += count
    assert inserts <= now[0] - began
