from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any

import pytest
from aiohttp import web
from aiokafka.errors import KafkaError
from websockets.asyncio.server import ServerConnection
from websockets.exceptions import ConnectionClosed

from alphapulse.config import PublisherSettings, VenueSettings
from alphapulse.errors import BrokerError
from producers.collector.collector import Collector
from producers.collector.dedupe import KnownTrades
from producers.collector.publisher import Publisher
from producers.feed.venue import Venue
from producers.net.backoff import Backoff
from producers.registry import load
from schemas.book_reader import BookReader, Outcome
from schemas.codec import Codec
from schemas.records import DeadLetter, Event, L2Update, Trade
from tests.fixtures.held_producer import HeldProducer, settle
from tests.fixtures.venue_server import rest_venue, until, websocket_venue

SNAPSHOT = b'{"type":"snapshot","product_id":"BTC-USD","bids":[["10.00","1"]],"asks":[["11.00","2.5"]]}'


def update(price: str = "9.00") -> bytes:
    return b'{"type":"l2update","product_id":"BTC-USD","changes":[["buy","%s","1"]],"time":""}' % price.encode()


@dataclass
class Running:
    """A collector at work, and what came of it."""

    collector: Collector
    producer: HeldProducer
    publisher: Publisher
    stopping: asyncio.Event
    ready: list[bool] = field(default_factory=list)

    def l2(self) -> list[L2Update]:
        """Return the records of books but for the heartbeats, which come when the clock wants it."""
        updates = [record for record in self.producer.records() if isinstance(record, L2Update)]
        return [update for update in updates if update.kind != "HEARTBEAT"]

    def events(self) -> list[str]:
        return [record.kind for record in self.producer.records() if isinstance(record, Event)]

    def event(self, kind: str) -> Event:
        return next(r for r in self.producer.records() if isinstance(r, Event) and r.kind == kind)


@asynccontextmanager
async def running(
    venue: Venue,
    settings: VenueSettings,
    *,
    producer: HeldProducer | None = None,
    max_in_flight: int = 1000,
    patience: float = 10.0,
    known: KnownTrades | None = None,
) -> AsyncIterator[Running]:
    producer = producer if producer is not None else HeldProducer(prompt=True)
    bounds = PublisherSettings(max_in_flight=max_in_flight, linger_ms=0, broker_patience_s=patience)
    publisher = Publisher(producer, Codec(), bounds, venue.name)
    backoff = partial(Backoff, base=0.01, cap=0.02)
    it = Running(
        Collector(venue, settings, publisher, "collector-test", backoff=backoff, known=known),
        producer,
        publisher,
        asyncio.Event(),
    )
    work = asyncio.create_task(it.collector.run(it.stopping, it.ready.append))
    try:
        yield it
    finally:
        it.stopping.set()
        async with asyncio.timeout(10):
            await asyncio.gather(work, return_exceptions=True)
    await work


def coinbase(url: str, **changes: Any) -> tuple[Venue, VenueSettings]:
    return replace(load("coinbase"), **changes), VenueSettings(symbols=("BTC-USD",), websocket_url=url)


async def stay(socket: ServerConnection) -> None:
    await socket.wait_closed()


async def test_a_life_from_start_to_stop() -> None:
    heard: list[Any] = []

    async def talk(socket: ServerConnection) -> None:
        heard.append(json.loads(await socket.recv()))
        await socket.send(SNAPSHOT.decode())
        await socket.send(update().decode())
        await stay(socket)

    async with websocket_venue(talk) as url:
        async with running(*coinbase(url)) as it:
            await until(lambda: it.collector.status()["frames_done"] == 2)
            status = it.collector.status()
            assert status["connected"]
            assert status["instruments"]["BTC-USD"]["deltas"] == 1
            assert (status["frames"], status["frames_waiting"], status["in_flight"]) == (2, 0, 0)
            assert status["bytes"] == len(SNAPSHOT) + len(update())
            assert it.collector.status()["last_frame_time"] == status["last_frame_time"] > 0
        await it.publisher.flush()
    assert heard[0]["type"] == "subscribe"
    assert [record.kind for record in it.l2()] == ["SNAPSHOT", "DELTA", "INVALID"]
    assert it.events() == ["started", "connected", "disconnected", "stopped"]
    assert it.event("disconnected").severity == "INFO"
    assert it.ready == [True, False]


async def test_a_lost_connection_ends_the_epoch_and_the_next_opens_one() -> None:
    lives = 0

    async def talk(socket: ServerConnection) -> None:
        nonlocal lives
        lives += 1
        await socket.send(SNAPSHOT)
        if lives > 1:
            await stay(socket)
        await socket.close(1012, "restart")

    async with websocket_venue(talk) as url, running(*coinbase(url)) as it:
        await until(lambda: [record.kind for record in it.l2()] == ["SNAPSHOT", "INVALID", "SNAPSHOT"])
        first, invalid, second = it.l2()
        assert invalid.epoch == first.epoch < second.epoch
        assert it.event("disconnected").severity == "WARNING"
        assert "1012 restart" in it.event("disconnected").message
        assert it.ready == [True, False, True]


async def test_a_venue_that_cannot_be_reached_is_tried_again() -> None:
    attempts = 0

    async def talk(socket: ServerConnection) -> None:
        await stay(socket)

    async with websocket_venue(talk) as url:
        pass
    port = int(url.rpartition(":")[2])
    venue, settings = coinbase(f"ws://127.0.0.1:{port}")

    async def count(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal attempts
        attempts += 1
        writer.close()

    server = await asyncio.start_server(count, "127.0.0.1", port)
    try:
        async with running(venue, settings) as it:
            await until(lambda: attempts >= 3)
            assert not it.collector.connected
            assert it.ready == [False] * len(it.ready)
    finally:
        server.close()
        await server.wait_closed()


async def test_what_a_killed_collector_left_is_ended_where_its_successor_cannot_begin() -> None:
    left = BookReader()

    async def talk(socket: ServerConnection) -> None:
        await socket.recv()
        await socket.send(SNAPSHOT)
        await socket.wait_closed()

    async with websocket_venue(talk) as url:
        feed = VenueSettings(symbols=("BTC-USD",), websocket_url=url)
        async with running(load("coinbase"), feed) as first:
            await until(first.l2)
            left.apply(first.l2()[0])
            assert left.valid

    async with running(load("coinbase"), feed) as second:  # nobody listens there any more
        await until(second.l2)
        await settle()
        (record,) = second.l2()
    assert (record.kind, record.sequence, record.bid_prices) == ("INVALID", 0, [])
    assert left.apply(record) is Outcome.INVALIDATED


async def test_silence_is_taken_for_death() -> None:
    lives = 0

    async def talk(socket: ServerConnection) -> None:
        nonlocal lives
        lives += 1
        await stay(socket)

    async with websocket_venue(talk) as url, running(*coinbase(url, silence_seconds=0.1)) as it:
        await until(lambda: lives >= 2)
        await until(lambda: "disconnected" in it.events())
        assert it.event("disconnected").message == "no message received for 0.1 s"


async def test_a_full_pipe_holds_the_venue_back_and_loses_nothing() -> None:
    count = 3000  # of 10 kB each: more than the kernel's buffers hold
    sockets: list[ServerConnection] = []

    async def talk(socket: ServerConnection) -> None:
        sockets.append(socket)
        await socket.send(SNAPSHOT)
        for number in range(count):
            await socket.send(update(f"{number % 9}.5") + b" " * 10_000)
        await stay(socket)

    producer = HeldProducer()
    async with (
        websocket_venue(talk) as url,
        # Silence that is of our own making is none.
        running(*coinbase(url, silence_seconds=0.05), producer=producer, max_in_flight=10) as it,
    ):
        # TCP holds the venue back: what it sends stays on its own side.
        await until(lambda: it.publisher.full and sockets[0].transport.get_write_buffer_size() > 30_000)
        assert it.collector.status()["frames"] <= 10
        assert it.collector.status()["frames_done"] == 0
        producer.acknowledge()
        await until(lambda: it.collector.status()["frames_done"] == count + 1)
        assert it.collector.status()["instruments"]["BTC-USD"]["deltas"] == count
        assert [record.sequence for record in it.l2()] == list(range(count + 1))
        assert it.ready == [True]


async def test_a_broker_that_takes_nothing_closes_the_venues_connection() -> None:
    lives = 0

    async def talk(socket: ServerConnection) -> None:
        nonlocal lives
        lives += 1
        try:
            await socket.send(SNAPSHOT)
            for _ in range(20):
                await socket.send(update())
            await stay(socket)
        except ConnectionClosed:
            return

    producer = HeldProducer()
    async with (
        websocket_venue(talk) as url,
        running(*coinbase(url), producer=producer, max_in_flight=5, patience=0.1) as it,
    ):
        await until(lambda: it.ready == [True, False])
        assert lives == 1
        await settle()
        producer.acknowledge()
        await until(lambda: it.ready == [True, False, True])
        await until(lambda: len(it.l2()) > 15)
        kinds = [record.kind for record in it.l2()]
        assert kinds.count("INVALID") == 1
        assert kinds.count("SNAPSHOT") == 2
        assert it.event("disconnected").message == "the broker acknowledged nothing for 0.1 s"


async def test_a_broker_that_goes_again_and_again_is_not_held_against_the_venue() -> None:
    async def talk(socket: ServerConnection) -> None:
        try:
            await socket.send(SNAPSHOT)
            while True:
                await socket.send(update())
                await asyncio.sleep(0.001)
        except ConnectionClosed:
            return

    producer = HeldProducer()
    async with (
        websocket_venue(talk) as url,
        running(*coinbase(url), producer=producer, max_in_flight=5, patience=0.05) as it,
    ):
        for times in range(1, 4):
            producer.prompt = False
            await until(lambda times=times: it.ready == [True, False] * times)  # type: ignore[misc]
            # As after a first failure, however soon the broker went again: the next wait is the shortest.
            await until(lambda: it.collector.shards[0].backoff.failures == 1)
            producer.acknowledge()
            await until(lambda times=times: it.ready == [True, False] * times + [True])  # type: ignore[misc]


async def test_refused_records_end_the_collector() -> None:
    async def talk(socket: ServerConnection) -> None:
        await socket.send(SNAPSHOT)
        await stay(socket)

    async def live(producer: HeldProducer) -> None:
        async with websocket_venue(talk) as url, running(*coinbase(url), producer=producer) as it:
            await until(lambda: producer.sent)
            producer.fault = KafkaError("gone")
            await until(it.publisher.failed.is_set)

    with pytest.raises(BrokerError, match="did not accept"):
        await live(HeldProducer())


async def test_refused_frames_go_to_the_dead_letters_and_the_rest_goes_on() -> None:
    async def talk(socket: ServerConnection) -> None:
        for frame in (SNAPSHOT, b'{"type":"match"\xff not json', update()):
            await socket.send(frame)
        await stay(socket)

    async with websocket_venue(talk) as url, running(*coinbase(url)) as it:
        await until(lambda: it.collector.status()["frames_done"] == 3)
        (letter,) = [record for record in it.producer.records() if isinstance(record, DeadLetter)]
        assert letter.value == b'{"type":"match"\xff not json'
        assert (letter.service, letter.source, letter.error) == ("collector-test", url, "FrameRefused")
        assert it.collector.status()["dead_letters"] == 1
        assert [record.kind for record in it.l2()] == ["SNAPSHOT", "DELTA"]
        assert "dead_letter" in it.events()


async def test_a_doubt_is_repaired_by_subscribing_again() -> None:
    heard: list[Any] = []

    async def talk(socket: ServerConnection) -> None:
        await socket.recv()
        await socket.send(SNAPSHOT)
        await socket.send(update("99"))
        await socket.send(update("99"))
        heard.extend([json.loads(await socket.recv()), json.loads(await socket.recv())])
        await socket.send(SNAPSHOT)
        await stay(socket)

    async with websocket_venue(talk) as url, running(*coinbase(url)) as it:
        await until(lambda: it.collector.status()["frames_done"] == 4)
        assert [record.kind for record in it.l2()] == ["SNAPSHOT", "INVALID", "SNAPSHOT"]
        assert [request["type"] for request in heard] == ["unsubscribe", "subscribe"]
        assert it.events()[2:] == ["crossed_book", "resync"]
        assert it.collector.status()["instruments"]["BTC-USD"]["ignored"] == 1


def diff(number: int) -> bytes:
    data = {"e": "depthUpdate", "E": 1, "s": "BTCUSDT", "U": number, "u": number, "b": [["9.0", "1"]], "a": []}
    return json.dumps({"stream": "btcusdt@depth@100ms", "data": data}).encode()


def body(last: int) -> dict[str, Any]:
    return {"lastUpdateId": last, "bids": [["10.00", "1.0"]], "asks": [["11.00", "2.0"]]}


Answers = list[Callable[[], Awaitable[web.StreamResponse]]]


async def test_snapshots_are_fetched_beside_the_read_loop_until_one_joins() -> None:
    release = asyncio.Event()
    asked: list[str] = []
    paths: list[str] = []

    async def too_old() -> web.StreamResponse:
        return web.json_response(body(2))

    async def slow() -> web.StreamResponse:
        await release.wait()
        return web.json_response(body(5))

    answers: Answers = [too_old, slow]

    async def answer(request: web.Request) -> web.StreamResponse:
        asked.append(str(request.rel_url))
        return await answers[len(asked) - 1]()

    async def talk(socket: ServerConnection) -> None:
        assert socket.request is not None
        paths.append(socket.request.path)
        for number in range(5, 55):
            await socket.send(diff(number))
        await stay(socket)

    async with websocket_venue(talk) as url, rest_venue(answer) as rest:
        settings = VenueSettings(symbols=("BTC-USDT",), websocket_url=url + "/", rest_url=rest + "/", depth=100)
        async with running(load("binance"), settings) as it:
            await until(lambda: len(asked) == 2 and it.collector.status()["frames"] == 50)
            status = it.collector.status()
            assert (status["frames_done"], status["frames_waiting"]) == (0, 50)
            assert it.l2() == []
            release.set()
            await until(lambda: it.collector.status()["frames_done"] == 50)
            assert [record.kind for record in it.l2()] == ["SNAPSHOT"] + ["DELTA"] * 49
    assert paths == ["/stream?streams=btcusdt@depth@100ms/btcusdt@trade"]
    assert set(asked) == {"/api/v3/depth?symbol=BTCUSDT&limit=100"}


async def test_frames_whose_snapshot_is_refused_hold_nobody_up_and_their_records_come_all_the_same() -> None:
    refuse = True
    asked = 0

    async def answer(request: web.Request) -> web.StreamResponse:
        nonlocal asked
        asked += 1
        if refuse:
            return web.Response(status=503, text="no answer to give")
        return web.json_response(body(5))

    sockets: list[ServerConnection] = []

    async def talk(socket: ServerConnection) -> None:
        sockets.append(socket)
        for number in range(5, 15):
            await socket.send(diff(number))
        await stay(socket)

    async with websocket_venue(talk) as url, rest_venue(answer) as rest:
        settings = VenueSettings(symbols=("BTC-USDT",), websocket_url=url, rest_url=rest)
        async with running(load("binance"), settings) as it:
            await until(lambda: it.collector.status()["frames_done"] == 10)
            assert asked
            assert it.collector.status()["frames_waiting"] == 10
            refuse = False
            assert "HTTP 503" in it.event("snapshot_failed").message
            await until(it.l2)
            assert it.collector.status()["frames_done"] >= 10
            await sockets[0].send(diff(15))
            await until(lambda: it.collector.status()["frames_done"] == 11)
            records = it.l2()
            if records[0].kind == "INVALID":  # where this takes longer than a second, the book is said not to be there
                assert records.pop(0).sequence == 0
            assert [record.kind for record in records] == ["SNAPSHOT"] + ["DELTA"] * 10


async def test_a_rest_address_that_cannot_be_reached_is_told() -> None:
    async def talk(socket: ServerConnection) -> None:
        await socket.send(diff(5))
        await stay(socket)

    async with websocket_venue(talk) as url:
        settings = VenueSettings(symbols=("BTC-USDT",), websocket_url=url, rest_url="http://127.0.0.1:1")
        async with running(load("binance"), settings) as it:
            await until(lambda: "snapshot_failed" in it.events())
            assert "127.0.0.1" in it.event("snapshot_failed").message


async def test_an_announced_shutdown_reconnects() -> None:
    lives = 0

    async def talk(socket: ServerConnection) -> None:
        nonlocal lives
        lives += 1
        if lives == 1:
            await socket.send(b'{"e":"serverShutdown","E":1}')
        await stay(socket)

    async with websocket_venue(talk) as url:
        settings = VenueSettings(symbols=("BTC-USDT",), websocket_url=url, rest_url="http://127.0.0.1:1")
        async with running(load("binance"), settings) as it:
            await until(lambda: "connection_ended" in it.events())
            assert lives == 2
            assert it.ready == [True]  # the new connection stood before the old one went
            assert it.event("connection_ended").message == "serverShutdown announced"


async def test_trades_are_published() -> None:
    async def talk(socket: ServerConnection) -> None:
        match = {"type": "match", "trade_id": 5, "side": "sell", "size": "0.04", "price": "10", "product_id": "BTC-USD"}
        await socket.send(json.dumps(match))
        await socket.send(json.dumps({**match, "trade_id": 8}))
        await stay(socket)

    async with websocket_venue(talk) as url, running(*coinbase(url)) as it:
        await until(lambda: it.collector.status()["frames_done"] == 2)
        trades = [record for record in it.producer.records() if isinstance(record, Trade)]
        assert [trade.trade_id for trade in trades] == ["5", "8"]
        assert it.event("trade_gap").details == {"missing": "2"}
        assert it.collector.status()["instruments"]["BTC-USD"]["gaps"] == 1
