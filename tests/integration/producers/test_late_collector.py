"""A collector stopped as a process and continued: nothing that waited in its socket is told as if it were new."""

from __future__ import annotations

import asyncio
import os
import signal
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Final

import pytest
from aiokafka import AIOKafkaConsumer, TopicPartition

from alphapulse import kafka as clients
from alphapulse import topics
from alphapulse.config import FreshnessSettings, KafkaSettings
from alphapulse.freshness import book_fault
from schemas.book_reader import BookReader, Outcome
from schemas.codec import Codec
from schemas.records import Event, L2Update
from tests.fixtures.live import market
from tests.integration.producers.test_collecting import collector

MS: Final = 1_000_000
SECOND: Final = 1_000_000_000
SYMBOLS: Final = ("BTC-USD", "ETH-USD")
RULE: Final = FreshnessSettings()
STOPPED_SECONDS: Final = 8.0


class Following:
    """Everything on ``md.l2`` and ``ops.events``, and the books as a reader has them."""

    def __init__(self, consumer: AIOKafkaConsumer) -> None:
        self._consumer = consumer
        self._codec = Codec()
        self.updates: dict[str, list[L2Update]] = {symbol: [] for symbol in SYMBOLS}
        self.outcomes: dict[str, list[Outcome]] = {symbol: [] for symbol in SYMBOLS}
        self.readers = {symbol: BookReader() for symbol in SYMBOLS}
        self.events: list[Event] = []

    async def read(self) -> None:
        for messages in (await self._consumer.getmany(timeout_ms=50)).values():
            for message in messages:
                record = self._codec.decode(message.value)
                if isinstance(record, L2Update):
                    self.updates[record.symbol].append(record)
                    self.outcomes[record.symbol].append(self.readers[record.symbol].apply(record))
                elif isinstance(record, Event):
                    self.events.append(record)

    def kinds(self) -> list[str]:
        return [event.kind for event in self.events]


@asynccontextmanager
async def following(kafka: KafkaSettings) -> AsyncIterator[Following]:
    consumer = clients.consumer(kafka, group_id=None, client_id="following")
    async with clients.running(consumer, kafka):
        names = (topics.L2, topics.EVENTS)
        consumer.assign([TopicPartition(name, number) for name in names for number in range(12)])
        await consumer.seek_to_beginning()
        yield Following(consumer)


@pytest.mark.slow
@pytest.mark.parametrize("venue", ["kraken", "binance"])
@pytest.mark.unmeasured
async def test_stopped_for_8_seconds_and_continued(venue: str, kafka: KafkaSettings, tmp_path: Path) -> None:
    async with market(venue, *SYMBOLS, rate=50.0) as market_of, following(kafka) as it, asyncio.timeout(120):
        settings = market_of.settings(*SYMBOLS)
        feed = {"symbols": list(SYMBOLS), "websocket_url": settings.websocket_url, "rest_url": settings.rest_url}
        async with collector(venue, feed, kafka, tmp_path) as process:
            while min(map(len, it.updates.values())) < 100:
                await it.read()
            os.kill(process.pid, signal.SIGSTOP)
            stopped = time.time_ns() + SECOND // 10
            end = time.monotonic() + STOPPED_SECONDS
            while time.monotonic() < end:
                await it.read()
            for reader in it.readers.values():
                now, most = time.time_ns(), RULE.max_book_age_ms * MS
                assert book_fault(reader.valid, reader.received_time, now, most) == "stale"
            continued = time.time_ns()
            os.kill(process.pid, signal.SIGCONT)
            while "caught_up" not in it.kinds():
                await it.read()
            while any(updates[-1].kind != "DELTA" for updates in it.updates.values()):
                await it.read()
            market_of.simulation.market.pause(3600 * SECOND)

            def same(symbol: str) -> bool:
                part, reader = market_of.simulation.market.instruments[venue, symbol], it.readers[symbol]
                truth = part.book.sha256(-part.listing.price_decimals, -part.listing.size_decimals)
                return reader.book.sha256(reader.price_exponent, reader.size_exponent) == truth

            while not all(map(same, SYMBOLS)):
                await it.read()
            now = time.time_ns()
    for symbol, updates in it.updates.items():
        outcomes = set(it.outcomes[symbol])
        assert outcomes <= {Outcome.SNAPSHOT, Outcome.DELTA, Outcome.HEARTBEAT, Outcome.INVALIDATED}, (
            "nothing is missing"
        )
        # What it had taken before it was stopped still comes, as old as it is.
        since = [update for update in updates if update.received_time >= continued]
        assert since[0].kind == "INVALID"
        assert not any(stopped < update.received_time < continued for update in updates)
        kinds = [update.kind for update in updates if update.kind not in ("DELTA", "HEARTBEAT")]
        assert kinds == ["SNAPSHOT", "INVALID", "SNAPSHOT"]
        for update in since:
            if update.exchange_time and update.kind in ("SNAPSHOT", "DELTA"):
                delay = update.received_time - update.exchange_time
                assert delay <= RULE.max_feed_delay_ms * MS + SECOND // 2, f"{delay / SECOND} s old, told as new"
    assert it.kinds().count("late") == it.kinds().count("caught_up") == 1
    assert it.kinds().count("connected") == 1
    assert "resync" not in it.kinds(), "nothing was asked of the venue"
    assert now - continued < 30 * SECOND
