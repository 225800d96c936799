from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest
from aiokafka import TopicPartition
from aiokafka.errors import KafkaError

from alphapulse import kafka as clients
from alphapulse import topics
from alphapulse.config import KafkaSettings, PublisherSettings
from alphapulse.embedded.broker import EmbeddedBroker
from alphapulse.errors import BrokerError, RecordRefused
from producers.publisher import Publisher
from schemas.codec import Codec
from schemas.records import DeadLetter, Event, Record, Trade
from tests.fixtures.held_producer import HeldProducer, settle


def trade(number: int, symbol: str = "BTC-USD") -> Trade:
    return Trade(
        venue="kraken",
        symbol=symbol,
        trade_id=str(number),
        side="BUY",
        price=1,
        size=2,
        price_exponent=-8,
        size_exponent=-8,
        exchange_time=0,
        received_time=number,
    )


@pytest.fixture
async def held() -> tuple[HeldProducer, Publisher]:
    producer = HeldProducer()
    publisher = Publisher(producer, Codec(), PublisherSettings(max_in_flight=6, linger_ms=0), "kraken")
    await publisher.start()
    return producer, publisher


async def test_one_batch_of_a_partition_is_on_its_way_at_a_time(held: tuple[HeldProducer, Publisher]) -> None:
    producer, publisher = held
    codec = Codec()
    for number in range(1, 6):
        publisher.publish(trade(number), number)
    await settle()
    assert [len(values) for _, _, values, _ in producer.sent] == [3]
    assert publisher.in_flight == 5
    producer.sent[0][3].set_result(None)
    await settle()
    assert [len(values) for _, _, values, _ in producer.sent] == [3, 2]
    assert (publisher.in_flight, publisher.acknowledged) == (2, 3)
    producer.sent[1][3].set_result(None)
    await publisher.flush()
    decoded = [codec.decode(value) for _, _, values, _ in producer.sent for value in values]
    assert decoded == [trade(number) for number in range(1, 6)]


async def test_done_never_passes_a_record_that_is_not_acknowledged(held: tuple[HeldProducer, Publisher]) -> None:
    producer, publisher = held
    assert publisher.done(9) == 9
    for number in (10, 11, 12, 13):
        publisher.publish(trade(number), number)
    await settle()
    assert publisher.done(15) == 9
    producer.sent[0][3].set_result(None)
    await settle()
    assert publisher.done(15) == 12
    publisher.publish(trade(5), 5)  # of a frame held back until now
    assert publisher.done(15) == 4
    for _ in range(3):
        for _, _, _, future in producer.sent:
            if not future.done():
                future.set_result(None)
        await settle()
    assert publisher.done(15) == 15


async def test_at_the_bound_the_caller_waits(held: tuple[HeldProducer, Publisher]) -> None:
    producer, publisher = held
    for number in range(6):
        assert not publisher.full
        publisher.publish(trade(number), number)
    assert publisher.full
    waiting = asyncio.create_task(publisher.room())
    await settle()
    assert not waiting.done()
    producer.sent[0][3].set_result(None)
    await waiting
    assert not publisher.full


async def test_bytes_are_bounded_as_records_are() -> None:
    producer = HeldProducer(capacity=10)
    publisher = Publisher(producer, Codec(), PublisherSettings(max_in_flight_bytes=65_536, linger_ms=0), "kraken")
    await publisher.start()
    letter = DeadLetter(time=1, service="s", source="v", value=b"x" * 30_000, error="E", reason="r")
    for number in range(3):
        assert not publisher.full
        publisher.publish(letter, number)
    assert 90_000 < publisher.in_flight_bytes < 91_000
    waiting = asyncio.create_task(publisher.room())
    await settle()
    assert not waiting.done()
    producer.acknowledge()
    await waiting
    await publisher.flush()
    assert publisher.in_flight_bytes == 0


@pytest.mark.parametrize("error", [KafkaError("no"), RuntimeError("a bug of the client's")])
async def test_a_refused_batch_is_never_swallowed(held: tuple[HeldProducer, Publisher], error: Exception) -> None:
    producer, publisher = held
    for number in range(6):
        publisher.publish(trade(number), number)
    waiting = asyncio.create_task(publisher.room())
    await settle()
    producer.sent[0][3].set_exception(error)
    with pytest.raises(BrokerError, match=r"3 records to md\.trades-[01] were refused"):
        await waiting
    assert publisher.failed.is_set()
    assert publisher.full
    assert publisher.done(9) == -1
    with pytest.raises(BrokerError):
        publisher.publish(trade(7), 7)
    with pytest.raises(BrokerError):
        await publisher.flush()


async def test_a_record_that_does_not_fit_its_schema_is_told(held: tuple[HeldProducer, Publisher]) -> None:
    _, publisher = held
    wrong = trade(1)
    wrong.price = 2**70
    with pytest.raises(RecordRefused):
        publisher.publish(wrong, 1)
    assert publisher.in_flight == 0


async def test_partitions_that_cannot_be_learned_are_told() -> None:
    class Deaf(HeldProducer):
        async def partitions_for(self, topic: str) -> set[int]:
            raise KafkaError("no answer")

    publisher = Publisher(Deaf(), Codec(), PublisherSettings(), "kraken")
    with pytest.raises(BrokerError, match=r"partitions of md\.l2"):
        await publisher.start()


@pytest.fixture
async def real(kafka: KafkaSettings) -> AsyncIterator[Publisher]:
    producer = clients.producer(kafka, client_id="test", linger_ms=0)
    async with clients.running(producer, kafka):
        publisher = Publisher(producer, Codec(), PublisherSettings(linger_ms=1), "kraken")
        await publisher.start()
        yield publisher


async def test_records_arrive_in_order_per_key(real: Publisher, broker: EmbeddedBroker, kafka: KafkaSettings) -> None:
    symbols = [f"A{number}-USD" for number in range(20)]
    sent: list[Record] = [trade(number, symbols[number % 20]) for number in range(2000)]
    for record in sent:
        real.publish(record, 1)
    real.publish(Event(time=1, service="s", kind="started", severity="INFO", message="m"), 2)
    real.publish(DeadLetter(time=1, service="s", source="v", value=b"\xff", error="E", reason="r"), 3)
    await real.flush()
    assert (real.acknowledged, real.in_flight, real.done(3)) == (2002, 0, 3)

    found: dict[bytes, list[Record]] = {}
    codec = Codec()
    reader = clients.consumer(kafka, group_id=None, client_id="reader")
    async with clients.running(reader, kafka):
        parts = [
            TopicPartition(topic, n) for topic in (topics.TRADES, topics.EVENTS, topics.DEAD_LETTERS) for n in range(12)
        ]
        reader.assign(parts)
        await reader.seek_to_beginning()
        async with asyncio.timeout(20):
            while sum(map(len, found.values())) < 2002:
                for messages in (await reader.getmany(timeout_ms=100)).values():
                    for message in messages:
                        found.setdefault(message.key, []).append(codec.decode(message.value))
    for symbol in symbols:
        assert found[f"kraken|{symbol}".encode()] == [record for record in sent if record.symbol == symbol]
    assert len(found[b"s"]) == len(found[b"v"]) == 1
