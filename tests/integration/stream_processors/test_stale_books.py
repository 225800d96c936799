"""Processors and old books: what falls silent is closed by the clock, and a lag opens nothing."""

from __future__ import annotations

import asyncio
import os
import signal
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from itertools import count
from pathlib import Path
from typing import Final

import pytest
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition

from alphapulse import kafka, topics
from alphapulse.config import FreshnessSettings, KafkaSettings
from schemas.records import ArbitrageOpportunity, L2Kind, L2Update
from tests.integration.stream_processors.processes import CODEC, PATIENCE, Processors, publish, running, settings_for

MS: Final = 1_000_000
SECOND: Final = 1_000_000_000
RULE: Final = FreshnessSettings(heartbeat_ms=300, max_book_age_ms=1_000)
MAX_AGE: Final = RULE.max_book_age_ms * MS
SLACK: Final = 3 * SECOND // 2
"""What a decision may take to reach the log on a busy machine."""


class Venue:
    """A book of one level a side, as a collector publishes it: each quote a snapshot."""

    def __init__(self, name: str) -> None:
        self.name = name
        self._epoch = self._bid = 0

    def quote(self, bid: int) -> L2Update:
        """Return the record of a book at ``bid`` and a unit above."""
        self._epoch, self._bid = time.time_ns(), bid
        return self._record("SNAPSHOT", [bid], [1000], [bid + 1])

    def heartbeat(self) -> L2Update:
        """Return the word that it is still so."""
        return self._record("HEARTBEAT", [], [], [])

    def _record(self, kind: L2Kind, bids: list[int], sizes: list[int], asks: list[int]) -> L2Update:
        return L2Update(
            venue=self.name,
            symbol="BTC-USD",
            kind=kind,
            epoch=self._epoch,
            sequence=0,
            exchange_time=0,
            received_time=time.time_ns(),
            price_exponent=-2,
            size_exponent=-3,
            bid_prices=bids,
            bid_sizes=sizes,
            ask_prices=asks,
            ask_sizes=sizes,
        )


class Signals:
    """``signals.arbitrage`` as it comes: each with the time at which it was sent."""

    def __init__(self, consumer: AIOKafkaConsumer) -> None:
        self._consumer = consumer
        self.made: list[tuple[int, ArbitrageOpportunity]] = []

    async def read(self) -> None:
        for messages in (await self._consumer.getmany(timeout_ms=20)).values():
            self.made += [(record.timestamp * MS, CODEC.decode(record.value)) for record in messages]  # type: ignore[misc]

    async def until(self, state: str, after: int = 0) -> ArbitrageOpportunity:
        """Return the first opportunity in ``state`` of those after the first ``after``."""
        async with asyncio.timeout(PATIENCE):
            while True:
                for _, made in self.made[after:]:
                    if made.state == state:
                        return made
                await self.read()


@asynccontextmanager
async def signals(settings: KafkaSettings) -> AsyncIterator[Signals]:
    consumer = kafka.consumer(settings, group_id=None, client_id="signals")
    async with kafka.running(consumer, settings):
        consumer.assign([TopicPartition(topics.ARBITRAGE, number) for number in range(12)])
        await consumer.seek_to_beginning()
        yield Signals(consumer)


def check_lives(made: list[tuple[int, ArbitrageOpportunity]], max_age: int = MAX_AGE) -> None:
    """Each opportunity is opened once and closed once, and decided on books that were young then."""
    lives: dict[str, list[str]] = {}
    for sent, one in made:
        lives.setdefault(one.opportunity_id, []).append(one.state)
        if one.state != "CLOSED":
            for book_time in (one.buy_book_time, one.sell_book_time):
                assert sent - book_time <= max_age + SLACK, f"{one.state} on a book {(sent - book_time) / SECOND} s old"
    for life in lives.values():
        assert life == ["OPENED", *["CHANGED"] * (len(life) - 2), "CLOSED"], life


async def test_both_venues_of_an_open_opportunity_fall_silent(kafka_settings: KafkaSettings, tmp_path: Path) -> None:
    """No INVALID, no record, nothing: the clock alone closes it, as soon as the older book is too old."""
    # Long enough for a confirmation to be in time on a busy machine.
    rule = FreshnessSettings(heartbeat_ms=300, max_book_age_ms=3_000)
    max_age = rule.max_book_age_ms * MS
    async with (
        running(settings_for(tmp_path, kafka_settings, rule)) as processors,
        signals(kafka_settings) as seen,
        kafka.running(kafka.producer(kafka_settings, client_id="feed"), kafka_settings) as producer,
    ):
        one, other = Venue("kraken"), Venue("coinbase")
        await publish(producer, [one.quote(10_000)])
        await publish(producer, [other.quote(10_100)])
        opened = await seen.until("OPENED")
        confirmed = time.time_ns() + max_age + SECOND
        while time.time_ns() < confirmed:  # confirmed, it outlives the age of a book
            await asyncio.sleep(0.3)
            await publish(producer, [one.heartbeat(), other.heartbeat()])
        last = other.heartbeat()
        await publish(producer, [last])
        closed = await seen.until("CLOSED")
        assert closed.opportunity_id == opened.opportunity_id
        assert closed.close_reason == "stale_book"
        oldest = min(closed.buy_book_time, closed.sell_book_time)
        assert oldest - min(opened.buy_book_time, opened.sell_book_time) > max_age
        assert max_age < closed.updated_time - oldest <= max_age + SLACK
        check_lives(seen.made, max_age)
        assert await processors.stop() == 0


@pytest.mark.slow
@pytest.mark.unmeasured
async def test_processors_stopped_and_continued_open_nothing_on_old_books(
    kafka_settings: KafkaSettings, tmp_path: Path
) -> None:
    async with (
        running(settings_for(tmp_path, kafka_settings, RULE)) as processors,
        signals(kafka_settings) as seen,
        kafka.running(kafka.producer(kafka_settings, client_id="feed"), kafka_settings) as producer,
    ):
        feeding = asyncio.create_task(feed(producer))
        await seen.until("CLOSED")
        for _ in range(2):
            await seen.until("OPENED", len(seen.made))
            assert processors.process is not None
            os.kill(processors.process.pid, signal.SIGSTOP)
            await asyncio.sleep(4)
            stopped = len(seen.made)
            os.kill(processors.process.pid, signal.SIGCONT)
            await seen.until("OPENED", stopped)
        feeding.cancel()
        await asyncio.gather(feeding, return_exceptions=True)
        await close_all(seen)
        check_lives(seen.made)
        assert await processors.stop() == 0


@pytest.mark.slow
@pytest.mark.unmeasured
async def test_killed_they_leave_no_opportunity_open_and_open_none_twice(
    kafka_settings: KafkaSettings, tmp_path: Path
) -> None:
    settings = settings_for(tmp_path, kafka_settings, RULE, checkpoint_interval_s=0.5)
    processors = Processors(settings)
    await processors.start()
    try:
        async with (
            signals(kafka_settings) as seen,
            kafka.running(kafka.producer(kafka_settings, client_id="feed"), kafka_settings) as producer,
        ):
            feeding = asyncio.create_task(feed(producer))
            await seen.until("CLOSED")
            for _ in range(3):
                await seen.until("OPENED", len(seen.made))
                await seen.until("OPENED", len(seen.made))
                processors.kill()
                known = len(seen.made)
                await processors.start()
                await seen.until("OPENED", known)
            feeding.cancel()
            await asyncio.gather(feeding, return_exceptions=True)
            await close_all(seen)
            check_lives(seen.made)
        assert await processors.stop() == 0
    finally:
        if processors.process is not None and processors.process.poll() is None:
            processors.kill()


async def test_killed_before_its_first_commit_a_worker_leaves_nothing_open(
    kafka_settings: KafkaSettings, tmp_path: Path
) -> None:
    """What it published is all that the next worker has to go by: no checkpoint, no commit."""
    processors = Processors(
        settings_for(tmp_path, kafka_settings, RULE, checkpoint_interval_s=3600, commit_interval_ms=3_600_000)
    )
    await processors.start()
    try:
        async with (
            signals(kafka_settings) as seen,
            kafka.running(kafka.producer(kafka_settings, client_id="feed"), kafka_settings) as producer,
        ):
            one, other = Venue("kraken"), Venue("coinbase")
            await publish(producer, [one.quote(10_000)])
            await publish(producer, [other.quote(10_100)])
            opened = await seen.until("OPENED")
            processors.kill()
            await publish(producer, [other.quote(10_000)])
            await processors.start()
            closed = await seen.until("CLOSED")
            assert closed.opportunity_id == opened.opportunity_id
            check_lives(seen.made)
        assert await processors.stop() == 0
    finally:
        if processors.process is not None and processors.process.poll() is None:
            processors.kill()


async def feed(producer: AIOKafkaProducer) -> None:
    """Let two venues quote; every few quotes one of them is above the other."""
    one, other = Venue("kraken"), Venue("coinbase")
    for number in count():
        apart = (0, 0, 50, 60, 60, 0)[number % 6]
        await publish(producer, [one.quote(10_000 + number % 7), other.quote(10_000 + number % 7 + apart)])
        await asyncio.sleep(0.02)


async def close_all(seen: Signals) -> None:
    """Wait until nothing is open: nobody quotes any more."""
    async with asyncio.timeout(PATIENCE):
        while True:
            await seen.read()
            last: dict[tuple[str, str], ArbitrageOpportunity] = {}
            for _, one in seen.made:
                last[one.buy_venue, one.sell_venue] = one
            if all(one.state == "CLOSED" for one in last.values()):
                return
