"""Protocol version 2: gateway processes between a real broker and clients on loopback."""

from __future__ import annotations

import asyncio
import json
import os
import random
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path
from typing import Any

import aiohttp
import msgspec
import pytest
from aiokafka import AIOKafkaProducer
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import InvalidStatus
from websockets.typing import Subprotocol

from alphapulse import topics
from alphapulse.config import KafkaSettings
from alphapulse.fixed import decimal_text
from alphapulse.kafka import producer, running
from gateway.v2.l2_reader import partition_of
from schemas.codec import Codec
from stream_processors.checkpoints.checkpoint import CheckpointLedger
from stream_processors.processing.arbitrage import ArbitrageRules
from stream_processors.processing.instrument import Rules
from stream_processors.processing.partition import Partition
from tests.fixtures import l2_feed, market
from tests.fixtures.asyncapi import MessageSchemas
from tests.fixtures.gateway import serving
from tests.fixtures.stream_v2 import FollowedBook, decoded, sides_of
from tests.integration.gateway.conftest import BOUND, Feed, eventually, running_gateway
from tests.integration.gateway.test_gateway import books

BOOK = {"op": "subscribe", "id": 1, "channel": "book", "venue": "kraken", "symbol": "BTC-USD"}
ENCODINGS = ("alphapulse.v2.json", "alphapulse.v2.msgpack")
MESSAGES = int(os.environ.get("STREAM_MESSAGES", "5000"))
"""Hostile messages of the fuzz test; more through the environment."""


class Client:
    """A client of version 2 that keeps what it was told; every message is checked against its schema."""

    def __init__(self, connection: ClientConnection, schemas: MessageSchemas) -> None:
        self.connection = connection
        self.messages: list[dict[str, Any]] = []
        self._packed = connection.subprotocol == "alphapulse.v2.msgpack"
        self._schemas = schemas

    async def say(self, **fields: Any) -> None:
        await self.connection.send(msgspec.msgpack.encode(fields) if self._packed else json.dumps(fields))

    async def until(self, condition: Callable[[list[dict[str, Any]]], object]) -> None:
        """Read until ``condition`` holds of all messages so far."""
        async with asyncio.timeout(BOUND):
            while not condition(self.messages):
                for message in decoded(await self.connection.recv()):
                    self._schemas.check(message, packed=self._packed)
                    self.messages.append(message)

    def book(self, book: FollowedBook | None = None, channel: str = "book") -> FollowedBook:
        """Return the book of all messages so far, continued from ``book`` by the rule."""
        book = book if book is not None else FollowedBook()
        for message in self.messages:
            if message.get("channel") == channel and "bids" in message:
                book.apply(message)
        return book

    def answer(self, kind: str) -> dict[str, Any]:
        """Return the one message of a type."""
        (found,) = [message for message in self.messages if message["type"] == kind]
        return found


async def served_schemas(url: str) -> MessageSchemas:
    """Return the schemas that a gateway serves."""
    async with aiohttp.ClientSession() as session, session.get(f"{url}/api/asyncapi.json") as response:
        return MessageSchemas(await response.json())


@asynccontextmanager
async def client(url: str, encoding: str | None = None, schemas: MessageSchemas | None = None) -> AsyncIterator[Client]:
    """Connect to a gateway."""
    schemas = schemas if schemas is not None else await served_schemas(url)
    subprotocols = None if encoding is None else [Subprotocol(encoding)]
    async with connect(url.replace("http", "ws", 1) + "/ws/v2", subprotocols=subprotocols) as connection:
        yield Client(connection, schemas)


def has_sequence(sequence: int, messages: list[dict[str, Any]]) -> bool:
    return messages[-1].get("sequence") == sequence


def valid_snapshot(messages: list[dict[str, Any]]) -> bool:
    return any(each["type"] == "snapshot" and each["valid"] for each in messages)


def subscribed(messages: list[dict[str, Any]]) -> bool:
    return any(message["type"] == "subscribed" for message in messages)


@pytest.mark.parametrize("encoding", ENCODINGS)
async def test_every_channel_from_the_broker_to_the_client(
    feed: Feed, kafka: KafkaSettings, tmp_path: Path, encoding: str
) -> None:
    walk = books(20, time.time_ns())
    await feed.put(walk[0], market.trade("1"), market.event("gap", severity="WARNING", time=time.time_ns()))
    async with running_gateway(tmp_path, kafka) as gateway:
        url = (await gateway.announced())["url"]
        async with client(url, encoding) as one:
            await one.say(**BOOK, checksum=True, levels=10)
            for number, channel in enumerate(("bbo", "trades", "candles", "stats"), start=2):
                await one.say(op="subscribe", id=number, channel=channel, venue="kr*", symbol=["*-USD"])
            await one.say(op="subscribe", id=6, channel="arbitrage", symbol="*")
            await one.say(op="subscribe", id=7, channel="alerts")
            await one.say(op="subscribe", id=8, channel="status")
            await one.say(op="ping", id="nine")
            await one.say(op="snapshot", id=10, channel="book", venue="*", symbol="*", levels=1)
            await one.say(op="subscribe", id=11, channel="nothing")
            await one.until(lambda got: {each.get("id") for each in got} >= {*range(1, 9), "nine", 10, 11})
            now = time.time_ns()
            await feed.put(*walk[1:], market.trade("2"), market.statistics(), market.candle())
            await feed.put(market.opportunity(), market.event("late", severity="ERROR", time=now))
            wanted = {"delta", "bbo", "trades", "candle", "stats", "alert", "status", "pong", "done"}
            wanted |= {"error", "hello", "snapshot", "subscribed"}
            await one.until(lambda got: {each["type"] for each in got} >= wanted)
            await one.until(
                lambda got: any(each["type"] == "delta" and each["sequence"] == walk[-1].sequence for each in got)
            )
            book = FollowedBook()
            for message in one.messages:
                if message.get("channel") == "book" and "bids" in message and "id" not in message:
                    book.apply(message)
            assert book.sides == sides_of(walk[-1], 10)
            await one.until(lambda got: any("service" in each for each in got))
            await one.say(op="unsubscribe", id=12, channel="book", venue="*", symbol="*")
            await one.until(lambda got: any(each["type"] == "unsubscribed" for each in got))


@pytest.mark.parametrize("encoding", ENCODINGS)
async def test_after_kill_9_a_client_continues_where_it_was(
    feed: Feed, kafka: KafkaSettings, tmp_path: Path, encoding: str
) -> None:
    walk = books(30, time.time_ns())
    await feed.put(*walk[:10], *(market.trade(str(number)) for number in range(10)))
    subscribe_trades = BOOK | {"id": 2, "channel": "trades"}
    async with (
        running_gateway(tmp_path / "one", kafka) as gateway,
        client((await gateway.announced())["url"], encoding) as one,
    ):
        await one.say(**BOOK, checksum=True)
        await one.say(**subscribe_trades)
        await one.until(lambda got: any("trades" in each for each in got))
        book = one.book()
        assert (book.sequence, book.sides) == (walk[9].sequence, sides_of(walk[9]))
        assert gateway.process is not None
        gateway.process.kill()
        await gateway.process.wait()
    await feed.put(*walk[10:20], *(market.trade(str(number)) for number in range(10, 14)))
    async with (
        running_gateway(tmp_path / "two", kafka) as gateway,
        client((await gateway.announced())["url"], encoding) as one,
    ):
        await one.say(**BOOK, checksum=True, since=[book.position()])
        last_trade = {"venue": "kraken", "symbol": "BTC-USD", "trade_id": "9"}
        await one.say(**subscribe_trades, since=[last_trade])
        await one.until(lambda got: any("trades" in each for each in got))
        first, second = [each for each in one.messages if each["type"] == "subscribed"]
        assert [each["feeds"][0]["recovered"] for each in (first, second)] == [True, True]
        one.book(book)
        assert book.snapshots == 1, "only that of the first gateway"
        assert (book.sequence, book.sides) == (walk[19].sequence, sides_of(walk[19]))
        trades = one.answer("trades")["trades"]
        assert [trade["id"] for trade in trades] == ["10", "11", "12", "13"]
        await feed.put(*walk[20:])
        await one.until(lambda got: got[-1].get("sequence") == walk[-1].sequence)
    async with (
        running_gateway(tmp_path / "three", kafka) as gateway,
        client((await gateway.announced())["url"], encoding) as one,
    ):
        await one.say(**BOOK, since=[book.position() | {"sequence": 3}])
        await one.until(lambda got: any(each["type"] == "snapshot" for each in got))
        assert one.answer("subscribed")["feeds"][0]["recovered"] is False, "no record has that number"


async def test_a_client_moves_between_two_gateways(feed: Feed, kafka: KafkaSettings, tmp_path: Path) -> None:
    walk = books(60, time.time_ns())
    await feed.put(walk[0])
    async with running_gateway(tmp_path / "a", kafka) as first, running_gateway(tmp_path / "b", kafka) as second:
        urls = [(await gateway.announced())["url"] for gateway in (first, second)]
        book = FollowedBook()
        moves = 0
        for number in range(1, 60, 6):
            async with client(urls[number % 2], ENCODINGS[number % 3 % 2]) as one:
                since = {"since": [book.position()]} if book.valid else {}
                await one.say(**BOOK, checksum=True, interval_ms=(0, 100, 250)[number % 3], **since)
                await one.until(subscribed)
                await feed.put(*walk[number : number + 6])
                last = walk[min(number + 5, 59)]
                await one.until(partial(has_sequence, last.sequence))
                moves += one.answer("subscribed")["feeds"][0]["recovered"] is True
                one.book(book)
                assert book.sides == sides_of(last)
        assert (moves, book.snapshots) == (9, 1)


class Whole:
    """Writes ``md.l2``, and the checkpoints that the processors write of it.

    Attributes:
        made: the book's records; those up to ``written`` are on the topic.
    """

    def __init__(self, sender: AIOKafkaProducer, feed: Feed) -> None:
        self._sender = sender
        self._feed = feed
        self._partition = Partition(0, Rules(), ArbitrageRules())
        self._ledger = CheckpointLedger()
        self._codec = Codec()
        self.made = l2_feed.Feed(start=time.time_ns(), levels=300, trade_every=0, step=1_000_000)
        self.written = 0

    async def put(self, deltas: int) -> None:
        """Write the next deltas, after the snapshot."""
        list(self.made.run(deltas))
        for record in self.made.records[self.written :]:
            await self._feed.put(record)
            self._partition.apply_l2(self.written, record, record.received_time, [])
            self.written += 1
            self._partition.positions[topics.L2] = self.written

    async def checkpoint(self) -> None:
        """Write a checkpoint."""
        number = partition_of(("kraken", "BTC-USD"))
        for key, value in self._ledger.take(self._partition, self._codec, {}):
            await self._sender.send_and_wait(topics.PROCESSORS_STATE, value=value, key=key, partition=number)

    def equals(self, book: FollowedBook) -> bool:
        """Whether a client's book is the newest."""
        reader = self.made.book()
        sides = [
            {decimal_text(p, reader.price_exponent): decimal_text(s, reader.size_exponent) for p, s in side}
            for side in (reader.book.bids, reader.book.asks)
        ]
        place = (str(reader.epoch), reader.sequence)
        return book.valid and (book.epoch, book.sequence) == place and [*book.sides] == sides


@pytest.fixture
async def whole(kafka: KafkaSettings, feed: Feed) -> AsyncIterator[Whole]:
    async with running(producer(kafka, client_id="processors"), kafka) as sender:
        yield Whole(sender, feed)


@pytest.mark.parametrize("encoding", ENCODINGS)
async def test_a_whole_book_begins_at_the_checkpoint_and_is_continued_elsewhere(
    feed: Feed, whole: Whole, kafka: KafkaSettings, tmp_path: Path, encoding: str
) -> None:
    await feed.put(market.depth())  # makes the instrument known
    await whole.put(20)
    await whole.checkpoint()
    await whole.put(10)
    subscribe = BOOK | {"channel": "l2", "checksum": True}
    async with (
        running_gateway(tmp_path / "a", kafka) as gateway,
        client((await gateway.announced())["url"], encoding) as one,
    ):
        await one.say(**subscribe)
        await one.until(valid_snapshot)
        assert whole.equals(one.book(channel="l2"))
        await whole.put(5)
        await one.until(partial(has_sequence, whole.made.records[-1].sequence))
        book = one.book(channel="l2")
        assert whole.equals(book)
        assert (book.snapshots, book.deltas) == (2, 5), "an unknown book, the book, each record"
    await whole.put(10)
    async with (
        running_gateway(tmp_path / "b", kafka) as gateway,
        client((await gateway.announced())["url"], encoding) as one,
    ):
        await one.say(**subscribe, since=[book.position()])
        await one.until(lambda got: any(each.get("channel") == "l2" and "bids" in each for each in got))
        first, second = [each["feeds"] for each in one.messages if each["type"] == "subscribed"]
        assert (first, [each["recovered"] for each in second]) == ([], [True]), "it waits for the book"
        one.book(book, channel="l2")
        assert whole.equals(book)
        assert book.snapshots == 2


async def test_a_whole_book_without_a_checkpoint_is_read_from_the_topic(
    feed: Feed, whole: Whole, kafka: KafkaSettings, tmp_path: Path
) -> None:
    await feed.put(market.depth(), market.depth(symbol="ETH-USD"))
    await whole.put(20)
    async with (
        running_gateway(tmp_path, kafka) as gateway,
        client((await gateway.announced())["url"]) as one,
    ):
        await one.say(**BOOK | {"channel": "l2", "symbol": "*"}, interval_ms=100)
        await one.until(valid_snapshot)
        await whole.put(20)
        await one.until(partial(has_sequence, whole.made.records[-1].sequence))
        book = FollowedBook()
        for message in one.messages:
            if message.get("symbol") == "BTC-USD" and "bids" in message:
                book.apply(message)
        assert whole.equals(book)


async def test_a_partition_that_is_added_later_leaves_the_others_alone(
    feed: Feed, whole: Whole, kafka: KafkaSettings, tmp_path: Path
) -> None:
    symbols = [f"A{number}-USD" for number in range(40)]
    other = next(each for each in symbols if partition_of(("kraken", each)) != partition_of(("kraken", "BTC-USD")))
    added = l2_feed.Feed(symbol=other, start=time.time_ns(), levels=50, trade_every=0, step=1_000_000)
    await feed.put(market.depth(), market.depth(symbol=other))
    await whole.put(5)
    await feed.put(*added.run(5))
    async with (
        running_gateway(tmp_path, kafka) as gateway,
        client((await gateway.announced())["url"]) as one,
    ):
        await one.say(**BOOK | {"channel": "l2", "checksum": True})
        await one.until(valid_snapshot)
        await whole.put(5)
        await one.say(**BOOK | {"channel": "l2", "checksum": True, "symbol": other})
        await one.until(lambda got: any(valid_snapshot([each]) for each in got if each.get("symbol") == other))
        await feed.put(*added.run(5))
        await whole.put(5)
        books = {"BTC-USD": FollowedBook(), other: FollowedBook()}
        last = {"BTC-USD": whole.made.records[-1].sequence, other: added.records[-1].sequence}
        await one.until(
            lambda got: all(
                any((each.get("symbol"), each.get("sequence")) == place for each in got) for place in last.items()
            )
        )
        for message in one.messages:
            if "bids" in message:
                books[message["symbol"]].apply(message)
        assert whole.equals(books["BTC-USD"])
        assert {symbol: book.sequence for symbol, book in books.items()} == last
        assert books["BTC-USD"].deltas == 10, "none was lost, none came twice"


async def test_unknown_subprotocols_and_a_gateway_that_catches_up_are_refused(tmp_path: Path) -> None:
    async with serving(tmp_path) as served:
        url = served.url.replace("http", "ws", 1) + "/ws/v2"
        for offered, expected in (
            (["mqtt"], None),
            (["mqtt", ENCODINGS[1]], ENCODINGS[1]),
            ([ENCODINGS[0]], ENCODINGS[0]),
        ):
            subprotocols = [Subprotocol(each) for each in offered]
            if expected is None:
                with pytest.raises(InvalidStatus) as refused:
                    await connect(url, subprotocols=subprotocols)
                assert refused.value.response.status_code == 400
            else:
                async with connect(url, subprotocols=subprotocols) as connection:
                    assert connection.subprotocol == expected
        served.hub.live = False
        with pytest.raises(InvalidStatus) as refused:
            await connect(url)
        assert refused.value.response.status_code == 503


# --- hostile messages ---------------------------------------------------------------------------------------

_KEYS = (
    "op",
    "id",
    "channel",
    "venue",
    "symbol",
    "levels",
    "interval_ms",
    "checksum",
    "since",
    "snapshot",
    "token",
    "x",
)
_VALUES: tuple[Any, ...] = (
    *("subscribe", "unsubscribe", "snapshot", "ping", "auth", "book", "bbo", "l2", "trades", "candles", "stats"),
    *("arbitrage", "alerts", "status", "kraken", "BTC-USD", "*", "**", "*-*", "k*", "coinbase", "", "\0", "é", "𝄞"),
    *(0, 1, 5, 20, 100, 250, -1, 2**63, -(2**63) - 1, 10**30, 1.5, True, False, None),
    *([], {}, [[]], ["*"] * 201, ["kraken", "kraken"], "*a" * 32, "x" * 5000),
    [{"venue": "kraken", "symbol": "BTC-USD", "epoch": "1", "sequence": 1}],
    [{"venue": "kraken", "symbol": "BTC-USD", "epoch": "-1", "sequence": 2**70}],
    [{"venue": "kraken", "symbol": "BTC-USD", "trade_id": "1"}],
)
_LIKELY = {
    "op": ("subscribe", "unsubscribe", "snapshot", "ping", "auth"),
    "channel": ("book", "bbo", "l2", "trades", "candles", "stats", "arbitrage", "alerts", "status"),
    "venue": ("kraken", "coinbase", "*", ["kraken", "c*"]),
    "symbol": ("BTC-USD", "*", ["BTC-USD", "ETH-*"]),
}


def hostile(chance: random.Random, packed: bool) -> str | bytes:
    """Return a message: nearly right, of random values, mangled, or noise, of which some is of the other kind."""
    if chance.random() < 0.1:
        noise = chance.randbytes(chance.randint(0, 60))
        return noise if packed is (chance.random() < 0.7) else noise.decode("latin-1")
    fields = {key: chance.choice(values) for key, values in _LIKELY.items() if chance.random() < 0.93}
    for _ in range(chance.choice((0, 0, 1, 2))):
        fields[chance.choice(_KEYS)] = chance.choice(_VALUES)
    try:
        data = msgspec.msgpack.encode(fields) if packed else json.dumps(fields).encode()
    except (OverflowError, ValueError):
        data = b"\x81\xa2op\xa4ping" if packed else b'{"op":"ping"}'
    if chance.random() < 0.15:
        mangled = bytearray(data)
        for _ in range(chance.randint(1, 4)):
            mangled[chance.randrange(len(mangled))] = chance.randrange(256)
        data = bytes(mangled)
    return data if packed else data.decode("latin-1")


async def _assault(url: str, encoding: str, count: int, seed: int) -> dict[str, int]:
    """Send hostile messages over as many connections as it takes; return the codes of the errors."""
    chance = random.Random(seed)
    packed = encoding == ENCODINGS[1]
    codes: dict[str, int] = {}
    schemas = await served_schemas(url)
    sent = 0
    while sent < count:
        async with client(url, encoding, schemas) as one:
            one.messages = _Latest(codes)
            for _ in range(min(50, count - sent)):  # a hundred refusals in a row would close
                message = hostile(chance, packed)
                cut = chance.randint(0, len(message))
                whole = chance.random() < 0.8
                await one.connection.send(message if whole else [message[:cut], message[:0], message[cut:]])
                if chance.random() < 0.02:
                    await one.connection.ping()
                sent += 1
            await one.say(op="ping", id="end")
            await one.until(lambda got: got and any(each.get("id") == "end" for each in got))
    return codes


class _Latest(list[dict[str, Any]]):
    """Keeps the last message and counts the errors of all."""

    def __init__(self, codes: dict[str, int]) -> None:
        super().__init__()
        self._codes = codes

    def append(self, message: dict[str, Any]) -> None:
        if message["type"] == "error":
            self._codes[message["code"]] = self._codes.get(message["code"], 0) + 1
        if message.get("id") == "end" or not self:
            self[:] = [message]


@pytest.mark.slow
@pytest.mark.timeout(3600)
async def test_hostile_messages_are_answered_and_do_no_harm(feed: Feed, kafka: KafkaSettings, tmp_path: Path) -> None:
    walk = books(5, time.time_ns())
    await feed.put(*walk, market.trade("1"), market.depth(venue="coinbase"), market.depth(symbol="ETH-USD"))
    async with running_gateway(tmp_path, kafka) as gateway:
        url = (await gateway.announced())["url"]
        found = await asyncio.gather(
            *(_assault(url, encoding, MESSAGES // 2, seed) for seed, encoding in enumerate(ENCODINGS))
        )
        for codes in found:
            assert {"bad_value", "unknown_key", "missing_key", "unknown_op"} <= codes.keys()
        async with client(url) as one:
            await one.say(**BOOK)
            await one.until(lambda got: any(each["type"] == "snapshot" for each in got))
            assert one.book().sides == sides_of(walk[-1])

        async def healthy() -> bool:
            async with aiohttp.ClientSession() as session, session.get(f"{url}/api/v1/system/health") as response:
                assert response.status == 200
                return True

        await eventually(healthy)
        assert gateway.process is not None
        assert gateway.process.returncode is None
        gateway.process.terminate()
        code, errors = await gateway.ended()
        assert code == 0
        assert "Traceback" not in errors, errors
