from __future__ import annotations

import asyncio
import json
import socket
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from aiohttp import web
from aiokafka import TopicPartition
from prometheus_client import REGISTRY

from alphapulse import topics
from alphapulse.config import KafkaSettings, Settings
from alphapulse.kafka import LagReader, consumer, producer, running
from alphapulse.kafka.lag import GroupLag, PartitionLag
from gateway.fanout import Hub
from gateway.health import monitor as health
from gateway.health.answers import Lag
from gateway.health.monitor import HealthMonitor, ReadingProgress, _GroupLag
from gateway.state import MarketState
from tests.fixtures import market
from tests.fixtures.gateway import NOBODY
from tests.fixtures.market import MAX_BOOK_AGE, SECOND, START
from tests.fixtures.stream import ManualScheduler


@asynccontextmanager
async def service(status: int, reported: dict[str, int] | None = None, **told: str) -> AsyncIterator[int]:
    """A service's ops server, as far as it is asked; yields its port."""

    async def report(_: web.Request) -> web.Response:
        return web.json_response(reported or {})

    async def ready(_: web.Request) -> web.Response:
        return web.json_response(told, status=status)

    app = web.Application()
    app.add_routes([web.get("/ready", ready), web.get("/status", report)])
    runner = web.AppRunner(app)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    try:
        yield runner.addresses[0][1]
    finally:
        await runner.cleanup()


def announce(folder: Path, name: str, text: str) -> None:
    (folder / "run").mkdir(exist_ok=True)
    (folder / "run" / f"{name}.json").write_text(text, encoding="utf-8")


class World:
    """What a monitor knows by itself."""

    def __init__(self) -> None:
        self.now = START
        self.state = MarketState(max_book_age=MAX_BOOK_AGE)
        self.hub = Hub(self.state, queue_bytes=1000, clock=lambda: self.now, schedule=ManualScheduler())
        self.hub.live = True
        self.progress = ReadingProgress({}, {})


@asynccontextmanager
async def monitor(folder: Path, kafka: KafkaSettings, world: World | None = None) -> AsyncIterator[HealthMonitor]:
    world = world or World()
    settings = Settings(data_dir=folder, kafka=kafka)
    made = HealthMonitor(settings, "gateway", world.state, world.hub, lambda: world.progress)
    try:
        yield made
    finally:
        await made.close()


def asked_again(made: HealthMonitor) -> HealthMonitor:
    """Let the monitor's answers be too old to be shared."""
    made._asked_at = None
    made._lag.read_at = -1e9 if made._lag.read_at is not None else None
    return made


async def test_all_well(tmp_path: Path, kafka: KafkaSettings) -> None:
    async with service(200) as port, monitor(tmp_path, kafka) as made:
        announce(tmp_path, "processors", json.dumps({"ops_port": port}))
        announce(tmp_path, "gateway", "its own file is not read")
        found = await made.read()
    assert (found.status, found.reasons) == ("ok", [])
    assert {name: each.status for name, each in found.services.items()} == {
        "gateway": "ok",
        "kafka": "ok",
        "processors": "ok",
    }
    assert found.lag == {"gateway": Lag(records=0, seconds=0, age_seconds=0)}, (
        "groups that never committed are left out"
    )
    assert found.uptime_seconds >= 0


async def test_lag_is_told_by_group(tmp_path: Path, kafka: KafkaSettings) -> None:
    group = Settings().parquet.group
    partition = TopicPartition(topics.TRADES, 3)
    async with running(producer(kafka, client_id="test"), kafka) as sender:
        for _ in range(5):
            await sender.send_and_wait(partition.topic, value=b"x", partition=partition.partition)
    async with running(consumer(kafka, partition.topic, group_id=group, client_id="test"), kafka) as reader:
        async with asyncio.timeout(30):
            while not await reader.getmany(timeout_ms=100):
                continue
        await reader.commit({partition: 2})
        async with monitor(tmp_path, kafka) as made:
            found = await made.read()
            labels = {"group": group, "topic": partition.topic}
            assert REGISTRY.get_sample_value("alphapulse_group_lag_records", labels) == 3.0
            assert (REGISTRY.get_sample_value("alphapulse_group_lag_seconds", labels) or 0.0) >= 0.0
            await made._lag._failed("no answer", down=True)
            assert REGISTRY.get_sample_value("alphapulse_group_lag_records", labels) is None, "none, not an old one"
    assert found.lag.keys() == {"gateway", group}
    assert (found.lag[group].records, found.status) == (3, "ok")


def lag_told(made: HealthMonitor, group: str, records: int, seconds: float) -> None:
    made._lag.groups[group] = _GroupLag(records, seconds)
    made._lag.read_at = time.monotonic()


async def test_a_group_that_is_too_far_behind_degrades_the_whole(tmp_path: Path) -> None:
    settings = Settings()
    async with monitor(tmp_path, NOBODY) as made:
        lag_told(made, settings.processors.group, 147_000, 5.0)
        lag_told(made, settings.parquet.group, 90_000, 64.0)
        assert made._judge().reasons == [], "a sink that writes once a minute is a minute behind"
        lag_told(made, settings.processors.group, 147_000, 5.1)
        lag_told(made, settings.clickhouse.group, 12, 10.1)
        lag_told(made, settings.parquet.group, 90_000, 65.1)
        found = made._judge()
    assert found.status == "degraded"
    assert found.reasons == [
        "alphapulse-processors is 147,000 records, 5.1 s behind (maximum 5 s)",
        "alphapulse-sink-parquet is 90,000 records, 65.1 s behind (maximum 65 s)",
        "alphapulse-sink-clickhouse is 12 records, 10.1 s behind (maximum 10 s)",
    ]


async def test_the_gateway_tells_when_it_is_behind_itself(tmp_path: Path) -> None:
    world = World()
    partition = TopicPartition(topics.DEPTH, 0)
    world.progress = ReadingProgress({partition: 10}, {partition: 40})
    async with monitor(tmp_path, NOBODY, world) as made:
        assert made._judge().lag["gateway"].records == 30
        made._own_history._times[partition][0] -= 7.0
        found = made._judge()
        assert found.reasons[-1] == "gateway is 30 records, 7.0 s behind (maximum 5 s)"
        world.hub.live = False
        assert made._judge().reasons[0] == "gateway: catching up: 30 records to read"


async def test_books_that_are_not_good_degrade_the_whole(tmp_path: Path, kafka: KafkaSettings) -> None:
    world = World()
    for symbol in ("BTC-USD", "ETH-USD"):
        world.hub.apply(market.depth(symbol=symbol, received_time=START), START)
    world.hub.apply(market.depth(venue="coinbase", received_time=START), START)
    async with monitor(tmp_path, kafka, world) as made:
        assert (await made.read()).reasons == []
        world.now += 7 * SECOND
        world.hub.apply(market.depth(sequence=2, received_time=world.now), world.now)
        assert (await made.read()).reasons == [
            "coinbase: 1 of 1 books are stale, the oldest not confirmed for 7.0 s",
            "kraken: 1 of 2 books are stale, the oldest not confirmed for 7.0 s",
        ]
        world.hub.apply(market.depth(symbol="ETH-USD", sequence=2, received_time=world.now, valid=False), world.now)
        world.hub.apply(market.event("late", venue="coinbase", time=world.now), world.now)
        world.hub.apply(market.depth(venue="coinbase", sequence=2, received_time=world.now, valid=False), world.now)
        late = "coinbase is late: its collector cannot read the frames in time and has invalidated its books"
        assert (await made.read()).reasons == [late], "a book may be taken up again"
        world.now += 5 * SECOND + 1
        world.hub.apply(market.depth(sequence=3, received_time=world.now), world.now)
        assert (await made.read()).reasons == [late, "kraken: 1 of 2 books are invalid, the oldest for 5.0 s"]
        world.hub.apply(market.event("disconnected", time=world.now), world.now)
        found = await made.read()
        assert (found.reasons, found.status) == ([late, "kraken is disconnected"], "degraded")


async def test_what_is_not_well_is_named_and_degrades_the_whole(tmp_path: Path, kafka: KafkaSettings) -> None:
    async with (
        service(503) as port,
        service(503, waiting="kafka.bootstrap") as waiting,
        monitor(tmp_path, kafka) as made,
    ):
        announce(tmp_path, "collector-kraken", json.dumps({"ops_port": port}))
        announce(tmp_path, "processors", json.dumps({"ops_port": waiting}))
        announce(tmp_path, "killed", json.dumps({"ops_port": 1}))
        announce(tmp_path, "half", '{"ops_')
        announce(tmp_path, "list", "[]")
        announce(tmp_path, "portless", "{}")
        found = await made.read()
    assert found.status == "degraded"
    assert {name: each.status for name, each in found.services.items()} == {
        "collector-kraken": "degraded",
        "gateway": "ok",
        "half": "down",
        "kafka": "ok",
        "killed": "down",
        "list": "down",
        "portless": "down",
        "processors": "degraded",
    }
    messages = {name: each.message or "" for name, each in found.services.items()}
    assert "answered 503" in messages["collector-kraken"]
    assert messages["processors"] == "waits: kafka.bootstrap"
    assert "127.0.0.1:1/ready does not answer" in messages["killed"]
    assert "half.json" in messages["half"]
    assert "expected a JSON object" in messages["list"]
    assert [reason.partition(":")[0] for reason in found.reasons] == [
        "collector-kraken",
        "half",
        "killed",
        "list",
        "portless",
        "processors",
    ]


async def test_a_service_that_stands_still_is_told_by_its_silence(
    tmp_path: Path, kafka: KafkaSettings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(health, "TIMEOUT_SECONDS", 0.1)
    with socket.create_server(("127.0.0.1", 0)) as deaf:  # accepts, and never answers
        announce(tmp_path, "processors", json.dumps({"ops_port": deaf.getsockname()[1]}))
        async with monitor(tmp_path, kafka) as made:
            found = await made.read()
    assert found.services["processors"].status == "down"
    assert (found.services["processors"].message or "").endswith("/ready does not answer within 0.1 s")


async def test_without_a_broker_it_is_degraded_not_failing(tmp_path: Path) -> None:
    async with monitor(tmp_path, NOBODY) as made:
        found = await made.read()
    assert found.status == "degraded"
    assert found.services["kafka"].status == "down"
    assert "127.0.0.1:1" in (found.services["kafka"].message or "")


async def test_a_broker_that_answers_too_late_leaves_the_figures_of_before(
    tmp_path: Path, kafka: KafkaSettings, monkeypatch: pytest.MonkeyPatch
) -> None:
    answers = asyncio.Event()
    answers.set()

    async def read(_: LagReader) -> dict[str, GroupLag]:
        await answers.wait()
        lag = {TopicPartition(topics.L2, 0): PartitionLag(0, 100, 58)}
        return {"alphapulse-processors": GroupLag("alphapulse-processors", lag)}

    monkeypatch.setattr(LagReader, "read", read)
    monkeypatch.setattr(health, "TIMEOUT_SECONDS", 0.01)
    async with monitor(tmp_path, kafka) as made:
        assert (await made.read()).services["kafka"].status == "ok"
        answers.clear()
        monkeypatch.setattr(health, "LAG_TIMEOUT_SECONDS", 0.05)
        for _ in range(2):  # the second finds the first one's reading under way, or given up
            found = await asked_again(made).read()
            assert found.lag["alphapulse-processors"].records == 42, "kept"
            assert found.lag["alphapulse-processors"].age_seconds > 1000
        async with asyncio.timeout(30):
            while not made._lag.failure or made._lag._reading is not None:
                await asyncio.sleep(0)
        found = made._judge()
        told = found.services["kafka"]
        assert told.status == "degraded", "not down: it may be the reader that is slow"
        assert "the broker did not answer within 0.05 s" in (told.message or "")
        assert " s old" in (told.message or "")
        assert found.reasons == [f"kafka: {told.message}"]
        answers.set()
        monkeypatch.undo()
        monkeypatch.setattr(LagReader, "read", read)
        assert (await asked_again(made).read()).services["kafka"].status == "ok"


async def test_answers_are_shared_for_a_while(
    tmp_path: Path, kafka: KafkaSettings, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with service(200) as port, monitor(tmp_path, kafka) as made:
        announce(tmp_path, "processors", json.dumps({"ops_port": port}))
        first = await made.read()
        asked = made._asked_at, made._lag.read_at
        assert (await made.read()).services == first.services
        assert (made._asked_at, made._lag.read_at) == asked
        monkeypatch.setattr(health, "FRESH_SECONDS", 0.0)
        await made.read()
        assert made._asked_at is not None
        assert made._lag.read_at is not None
        assert (made._asked_at, made._lag.read_at) > asked


async def test_the_lag_is_noted_while_nobody_asks(
    tmp_path: Path, kafka: KafkaSettings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(health, "UNASKED_SECONDS", 0.01)
    async with monitor(tmp_path, kafka) as made:
        watching = asyncio.create_task(made.watch())
        times: set[float | None] = set()
        async with asyncio.timeout(30):
            while len(times) < 3:
                await asyncio.sleep(0)
                times.add(made._lag.read_at)
        watching.cancel()


async def test_status_tells_where_time_goes_and_how_old_the_last_frame_is(tmp_path: Path) -> None:
    world = World()
    world.now = START + 10 * SECOND
    book = market.depth(epoch=START, received_time=world.now - SECOND, exchange_time=world.now - 2 * SECOND)
    for record in (market.event("gap", venue="kraken", time=world.now), book):
        world.hub.apply(record, world.now)
    last_frame = {"last_frame_time": world.now - 3 * SECOND}
    async with service(200, last_frame) as port, monitor(tmp_path, NOBODY, world) as made:
        announce(tmp_path, "collector-kraken", json.dumps({"ops_port": port}))
        announce(tmp_path, "processors", json.dumps({"ops_port": port}))
        lag_told(made, Settings().processors.group, 12, 0.5)
        made.incidents.apply(market.event("gap", time=world.now))
        made.incidents.apply(book)
        made.hops.sent(world.now - 5_000_000, world.now)
        found = await made.status()
        kraken = found.venues["kraken"]
        assert (kraken.last_frame_age_ms, kraken.last_frame_source) == (3000, "collector"), "a heartbeat is no frame"
        assert (kraken.last_hour.gaps, kraken.last_hour.epochs, kraken.last_hour.resyncs) == (1, 1, 0)
        assert kraken.valid_books == 1
        processors = found.services["processors"]
        assert (processors.ready, processors.lag_records, processors.lag_seconds) == (True, 12, 0.5)
        sent = found.hops["gateway_to_sent"]
        assert (sent.count, sent.p50, sent.max) == (1, 5000, 5000)
        assert found.hops["venue_to_collector"].p50 is None
        announce(tmp_path, "collector-kraken", json.dumps({"ops_port": 1}))
        asked_again(made)
        kraken = (await made.status()).venues["kraken"]
        assert (kraken.last_frame_age_ms, kraken.last_frame_source) == (1000, "records")
