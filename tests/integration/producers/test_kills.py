"""``kill -9`` of a collector under its supervisor, while data flows: it is back by itself, and nothing is wrong."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import Iterator
from itertools import groupby
from pathlib import Path
from typing import Any

import pytest
from aiokafka import TopicPartition

from alphapulse import kafka as clients
from alphapulse import topics
from alphapulse.config import KafkaSettings, Settings
from alphapulse.supervisor.supervisor import ChildSpec, Supervisor
from schemas.book_reader import BookReader, Outcome
from schemas.codec import Codec
from schemas.records import Event, L2Update, Record, Trade
from tests.fixtures.kafka_cluster import ON_KAFKA
from tests.fixtures.live import Market, market
from tests.integration.producers.test_collecting import ROOT, read_all

SYMBOLS = ("BTC-USD", "ETH-USD", "SOL-USD")
NAME = "collector"


@pytest.fixture
def broker_settings(request: pytest.FixtureRequest) -> KafkaSettings:
    """The settings of the empty broker whose fixture a test has as parameter."""
    settings: KafkaSettings = request.getfixturevalue(request.param)
    return settings


class Flow:
    """What of ``md.l2`` has come, read as it comes."""

    def __init__(self, settings: KafkaSettings) -> None:
        self._settings = settings
        self._codec = Codec()
        self.deltas: dict[tuple[str, int], int] = {}
        """(symbol, epoch) → deltas behind the epoch's snapshot."""

    async def read(self) -> None:
        """Read for ever."""
        reader = clients.consumer(self._settings, group_id=None, client_id="flow")
        reader.assign([TopicPartition(topics.L2, number) for number in range(12)])
        async with clients.running(reader, self._settings):
            while True:
                for messages in (await reader.getmany(timeout_ms=100)).values():
                    for record in (self._codec.decode(message.value) for message in messages):
                        if isinstance(record, L2Update):
                            self._note(record)

    def _note(self, record: L2Update) -> None:
        key = record.symbol, record.epoch
        if record.kind == "SNAPSHOT":
            self.deltas[key] = 0
        elif record.kind == "DELTA":
            self.deltas[key] += 1

    async def until_all_flow(self, lives: int, supervisor: Supervisor) -> None:
        """Wait until every book flows in its epoch number ``lives`` or a later one; fail if the child is given up."""

        def flows(symbol: str) -> bool:
            epochs = sorted(epoch for name, epoch in self.deltas if name == symbol)
            return len(epochs) >= lives and self.deltas[symbol, epochs[-1]] >= 20

        async with asyncio.timeout(60):
            while not all(flows(symbol) for symbol in SYMBOLS):
                supervisor.check()
                await asyncio.sleep(0.02)


@pytest.mark.parametrize(
    ("venue_name", "broker_settings"),
    [("kraken", "kafka"), ("binance", "kafka"), pytest.param("kraken", "real_kafka", marks=ON_KAFKA)],
    indirect=["broker_settings"],
)
@pytest.mark.unmeasured
async def test_killed_twice_it_comes_back_and_nothing_is_wrong_or_doubled(
    venue_name: str, broker_settings: KafkaSettings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(ROOT)
    monkeypatch.setattr("alphapulse.supervisor.standby.PREPARE_SECONDS", 0.0)
    async with market(venue_name, *SYMBOLS, rate=200.0) as venue, Supervisor(tmp_path) as supervisor:
        settings = Settings(data_dir=tmp_path, kafka=broker_settings, venues={venue_name: venue.settings(*SYMBOLS)})
        flow = Flow(broker_settings)
        reading = asyncio.create_task(flow.read())
        child = await supervisor.start(ChildSpec(NAME, "producers", settings, (venue_name, "--name", NAME), spare=True))
        await flow.until_all_flow(1, supervisor)
        pids = [child.pid, *supervisor._spares.pids]
        assert len(pids) == 2
        for life in (2, 3):  # the first time there is a spare, which the second time may not be ready
            assert child.pid is not None
            os.kill(child.pid, signal.SIGKILL)
            await flow.until_all_flow(life, supervisor)
            assert child.restarts == life - 1
            pids.append(child.pid)
        assert pids[1] == pids[2]

        venue.simulation.market.pause(3600 * 10**9)
        async with asyncio.timeout(60):
            while not await settled(supervisor):
                await asyncio.sleep(0.02)
            published = await read_all(broker_settings, topics.L2, topics.TRADES, topics.EVENTS)
            while not all(is_true(venue, symbol, published) for symbol in SYMBOLS):
                published = await read_all(broker_settings, topics.L2, topics.TRADES, topics.EVENTS)
        reading.cancel()
        await asyncio.gather(reading, return_exceptions=True)
    for symbol in SYMBOLS:
        check_epochs(list(updates(symbol, published)))
        check_trades(symbol, published)


async def settled(supervisor: Supervisor) -> bool:
    """Whether all that came is acknowledged."""
    status: dict[str, Any] = await supervisor.ask(NAME, "GET", "/status", default={})
    return bool(status) and status["frames_done"] == status["frames"]


def updates(symbol: str, published: list[Record]) -> Iterator[L2Update]:
    found = (record for record in published if isinstance(record, L2Update) and record.symbol == symbol)
    return (record for record in found if record.kind != "HEARTBEAT")


def is_true(venue: Market, symbol: str, published: list[Record]) -> bool:
    """Whether the published book is the venue's own."""
    reader = BookReader()
    for update in updates(symbol, published):
        reader.apply(update)
    part = venue.simulation.market.instruments[venue.venue, symbol]
    truth = part.book.sha256(-part.listing.price_decimals, -part.listing.size_decimals)
    return reader.valid and reader.book.sha256(reader.price_exponent, reader.size_exponent) == truth


def check_epochs(records: list[L2Update]) -> None:
    """A dead collector's epoch is followed by a later one's snapshot, with nothing between them and nothing missing."""
    reader = BookReader()
    assert {reader.apply(record) for record in records} == {Outcome.SNAPSHOT, Outcome.DELTA}
    epochs = [epoch for epoch, _ in groupby(record.epoch for record in records)]
    assert len(epochs) == 3
    assert epochs == sorted(set(epochs))


def check_trades(symbol: str, published: list[Record]) -> None:
    """No trade is there twice, and those that are not there were told of."""
    ids = [int(record.trade_id) for record in published if isinstance(record, Trade) and record.symbol == symbol]
    gaps = [record for record in published if isinstance(record, Event) and record.kind == "trade_gap"]
    missing = sum(int(gap.details["missing"]) for gap in gaps if gap.symbol == symbol)
    assert ids == sorted(set(ids))
    assert max(ids) - min(ids) + 1 - len(ids) == missing
