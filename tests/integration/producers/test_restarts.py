"""A collector that is killed and started again: what the venue repeats is not published again."""

from __future__ import annotations

import asyncio
import json
import time
from pathlib import Path
from typing import Any

import pytest
from websockets.asyncio.server import ServerConnection

from alphapulse import kafka as clients
from alphapulse import topics
from alphapulse.config import KafkaSettings, PublisherSettings
from alphapulse.errors import BrokerError
from producers.collector.dedupe import REPEATED, read_back
from schemas.codec import Codec
from schemas.records import Event, Trade
from tests.fixtures.kafka_cluster import BROKERS
from tests.fixtures.market import trade
from tests.fixtures.venue_server import websocket_venue
from tests.integration.producers.test_collecting import collector, read_all, status


@pytest.fixture
def either(request: pytest.FixtureRequest) -> KafkaSettings:
    """An empty broker of either kind."""
    settings: KafkaSettings = request.getfixturevalue(request.param)
    return settings


def match(number: int) -> str:
    return json.dumps(
        {
            "type": "match",
            "trade_id": number,
            "side": "sell",
            "size": "0.04",
            "price": "10.5",
            "product_id": "BTC-USD",
            "time": "2021-04-17T16:43:37.075351Z",
        }
    )


async def test_no_trade_is_published_twice_over_a_kill(kafka: KafkaSettings, tmp_path: Path) -> None:
    lives = [range(100, 400), range(350, 500), range(380, 520), range(523, 530)]
    life = 0

    async def talk(socket: ServerConnection) -> None:
        await socket.recv()
        for number in lives[life]:
            await socket.send(match(number))
        await socket.wait_closed()

    async with websocket_venue(talk) as url:
        feed = {"symbols": ["BTC-USD"], "websocket_url": url}
        for number, numbers in enumerate(lives):
            life = number
            async with collector("coinbase", feed, kafka, tmp_path) as process:
                async with asyncio.timeout(30):
                    while (told := await status(tmp_path, "collector-coinbase")).get("frames_done", 0) < len(numbers):
                        await asyncio.sleep(0.02)
                process.kill()
                await process.wait()
            (tmp_path / "run" / "collector-coinbase.json").unlink()
    assert told["instruments"]["BTC-USD"]["trade_gaps"] == 1
    published = [record for record in await read_all(kafka, topics.TRADES) if isinstance(record, Trade)]
    assert [int(record.trade_id) for record in published] == [*range(100, 520), *range(523, 530)]
    events = [record for record in await read_all(kafka, topics.EVENTS) if isinstance(record, Event)]
    (gap,) = [event for event in events if event.kind == "trade_gap"]
    assert gap.details["missing"] == "3"


async def _publish(kafka: KafkaSettings, ids: list[int], venue: str = "kraken", raw: bytes | None = None) -> None:
    producer, codec = clients.producer(kafka, client_id="test"), Codec()
    async with clients.running(producer, kafka):
        for number in ids:
            value = raw if raw is not None else codec.encode(trade(str(number), venue=venue))
            await producer.send_and_wait(topics.TRADES, value, key=f"{venue}|BTC-USD".encode(), partition=3)


@pytest.mark.parametrize(
    ("bounds", "expected"),
    [
        ({}, list(range(50))),
        ({"dedupe_records": 12}, list(range(41, 50))),
        ({"dedupe_records": 0}, []),
        ({"dedupe_seconds": 0.0}, []),
        ({"dedupe_seconds": 1e-9}, []),
    ],
)
async def test_the_end_of_the_topic_is_read_back(
    kafka: KafkaSettings, bounds: dict[str, float], expected: list[int]
) -> None:
    await _publish(kafka, list(range(50)))
    await _publish(kafka, [7, 8], venue="coinbase")
    await _publish(kafka, [0], raw=b"\x00rubbish")
    found = await read_back(kafka, PublisherSettings(**bounds), range(12), "kraken", ["BTC-USD"], Codec(), "test")
    assert found._ids.get("BTC-USD", []) == expected
    assert len(found) == len(expected)


@pytest.mark.parametrize(
    ("symbols", "age_seconds", "expected"),
    [
        (["BTC-USD"], 0, []),
        (["BTC-USD", "BCH-USD"], 0, [7]),
        (["*-USD"], 0, [7]),
        (["BTC-USD", "BCH-USD"], 700, []),
    ],
)
@pytest.mark.parametrize("either", BROKERS, indirect=True)
async def test_a_long_topic_is_read_back_as_far_as_the_rarest_instrument_asks_for(
    either: KafkaSettings, symbols: list[str], age_seconds: int, expected: list[int]
) -> None:
    producer, codec, now_ms = clients.producer(either, client_id="test"), Codec(), time.time_ns() // 1_000_000
    async with clients.running(producer, either):

        async def send(number: int, symbol: str, timestamp_ms: int) -> asyncio.Future[Any]:
            value, key = codec.encode(trade(str(number), symbol=symbol)), f"kraken|{symbol}".encode()
            sent: asyncio.Future[Any] = await producer.send(topics.TRADES, value, key, timestamp_ms=timestamp_ms)
            return sent

        # Both are in the same partition.
        answers = [await send(7, "BCH-USD", now_ms - age_seconds * 1000)]
        answers += [await send(number, "BTC-USD", now_ms) for number in range(1000)]
        assert {(await answer).partition for answer in answers} == {10}
    found = await read_back(either, PublisherSettings(), range(12), "kraken", symbols, codec, "test")
    assert found._ids.pop("BCH-USD", []) == expected
    assert found._ids == {"BTC-USD": list(range(1000 - len(found), 1000))}
    assert REPEATED <= len(found) < 100


async def test_an_empty_topic_gives_nothing(kafka: KafkaSettings) -> None:
    assert len(await read_back(kafka, PublisherSettings(), range(12), "kraken", ["BTC-USD"], Codec(), "test")) == 0


async def test_without_a_broker_nothing_is_collected() -> None:
    settings = KafkaSettings(bootstrap="127.0.0.1:1", request_timeout_ms=1000)
    with pytest.raises(BrokerError):
        await read_back(settings, PublisherSettings(), range(12), "kraken", ["BTC-USD"], Codec(), "test")
