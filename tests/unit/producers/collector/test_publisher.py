from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from types import SimpleNamespace

import pytest
from aiokafka import TopicPartition
from aiokafka.errors import KafkaError, MessageSizeTooLargeError

from alphapulse import kafka as clients
from alphapulse import topics
from alphapulse.brokers.memory.broker import EmbeddedBroker
from alphapulse.config import KafkaSettings, PublisherSettings
from alphapulse.errors import BrokerError, RecordRefused
from alphapulse.kafka.native.producer import Told
from producers.collector import publisher as publishing
from producers.collector.publisher import FAST_RECORDS, Publisher
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
    return producer, Publisher(producer, Codec(), PublisherSettings(max_in_flight=6, linger_ms=0), "kraken")


async def test_what_is_published_is_handed_over_at_once_in_its_order(held: tuple[HeldProducer, Publisher]) -> None:
    producer, publisher = held
    for number in range(1, 6):
        publisher.publish(trade(number))
    assert producer.records() == [trade(number) for number in range(1, 6)]
    assert {(sent.topic, sent.key) for sent in producer.sent} == {(topics.TRADES, b"kraken|BTC-USD")}
    assert (publisher.in_flight, publisher.acknowledged) == (5, 0)
    producer.acknowledge()
    await publisher.flush()
    assert (publisher.in_flight, publisher.acknowledged) == (0, 5)
    assert publisher.published == {topics.TRADES: 5}


async def test_records_that_come_fast_are_sent_together_in_their_order(held: tuple[HeldProducer, Publisher]) -> None:
    producer, _ = held
    publisher = Publisher(producer, Codec(), PublisherSettings(linger_ms=1000), "kraken")
    for number in range(1, 20):
        publisher.publish(trade(number))
    assert producer.records() == [trade(number) for number in range(1, FAST_RECORDS + 1)]
    assert (publisher.in_flight, publisher.taken) == (19, 19)
    await asyncio.sleep(0)
    assert publisher.confirmed() == 0, "those not sent yet count as not acknowledged"
    producer.acknowledge()
    flushing = asyncio.create_task(publisher.flush())
    async with asyncio.timeout(20):
        while len(producer.sent) < 19:
            await asyncio.sleep(0.01)
    assert producer.records() == [trade(number) for number in range(1, 20)]
    producer.acknowledge()
    await flushing
    assert (publisher.acknowledged, publisher.in_flight) == (19, 0)


async def test_records_that_come_slowly_wait_for_nothing(held: tuple[HeldProducer, Publisher]) -> None:
    producer, _ = held
    publisher = Publisher(producer, Codec(), PublisherSettings(linger_ms=20), "kraken")
    for number in range(1, 12):
        publisher.publish(trade(number))
        assert len(producer.sent) == number
        await asyncio.sleep(0.02)
    producer.acknowledge()
    await publisher.flush()


async def test_a_traced_record_is_sent_after_the_gathered_ones_and_its_end_is_polled_soon() -> None:
    producer = HeldProducer()
    spans: list[str] = []

    class Span:
        def sending(self) -> tuple[tuple[str, bytes], ...]:
            return (("traceparent", b"x"),)

        def placed(self, error: KafkaError | None, partition: int, offset: int, seconds: float) -> None:
            spans.append("ended")

    publisher = Publisher(producer, Codec(), PublisherSettings(linger_ms=1000), "kraken")
    for number in range(1, FAST_RECORDS + 4):
        publisher.publish(trade(number))
    assert len(producer.sent) == FAST_RECORDS
    publisher._sampler = SimpleNamespace(begin=lambda *_: Span())  # type: ignore[assignment]
    publisher.publish(trade(FAST_RECORDS + 4))
    assert producer.records() == [trade(number) for number in range(1, FAST_RECORDS + 5)]
    producer.acknowledge()
    looks = producer.looks
    async with asyncio.timeout(10):
        while not spans:
            await asyncio.sleep(0.001)
    assert producer.looks > looks
    await publisher.flush()


async def test_after_a_gathered_record_that_the_client_refuses_none_is_sent() -> None:
    producer = HeldProducer(room=FAST_RECORDS + 1)
    publisher = Publisher(producer, Codec(), PublisherSettings(linger_ms=50), "kraken")
    for number in range(1, FAST_RECORDS + 4):
        publisher.publish(trade(number))
    with pytest.raises(BrokerError, match="did not accept"):
        await publisher.flush()
    assert len(producer.sent) == FAST_RECORDS + 1
    assert publisher.confirmed() == 0
    with pytest.raises(BrokerError):
        publisher.publish(trade(99))


async def test_confirmed_never_passes_a_record_that_is_not_acknowledged(held: tuple[HeldProducer, Publisher]) -> None:
    producer, publisher = held
    assert (publisher.confirmed(), publisher.taken) == (0, 0)
    for number in (10, 11):
        publisher.publish(trade(number))
    assert publisher.confirmed() == 0  # within the turn as well
    await settle()
    publisher.publish(trade(12))
    await settle()
    assert (publisher.confirmed(), publisher.taken) == (0, 3)
    producer.acknowledge(1)  # of two records of a turn
    assert publisher.confirmed() == 0
    producer.acknowledge(1)
    assert publisher.confirmed() == 2
    publisher.publish(trade(5))
    assert publisher.confirmed() == 2
    producer.acknowledge()
    await settle()
    assert publisher.confirmed() == 4


async def test_at_the_bound_the_caller_waits(held: tuple[HeldProducer, Publisher]) -> None:
    producer, publisher = held
    for number in range(6):
        assert not publisher.full
        publisher.publish(trade(number))
        await settle()
    assert publisher.full
    waiting = asyncio.create_task(publisher.room())
    await settle()
    assert not waiting.done()
    producer.acknowledge(1)
    async with asyncio.timeout(5):
        await waiting
    assert not publisher.full


async def test_acknowledgements_are_looked_for_also_when_nothing_more_comes(
    held: tuple[HeldProducer, Publisher], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(publishing, "LOOK_SECONDS", 0.01)
    producer, publisher = held
    publisher.publish(trade(1))
    await settle()
    producer.acknowledge()
    async with asyncio.timeout(5):
        while publisher.acknowledged == 0:
            await asyncio.sleep(0.005)
    looks = producer.looks
    await asyncio.sleep(0.05)
    assert producer.looks == looks, "nobody looks while nothing is in flight"


async def test_a_refusal_is_told_also_when_nothing_more_comes(
    held: tuple[HeldProducer, Publisher], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(publishing, "LOOK_SECONDS", 0.01)
    producer, publisher = held
    publisher.publish(trade(1))
    producer.fault = KafkaError("no")
    async with asyncio.timeout(5):
        await publisher.failed.wait()


async def test_what_is_acknowledged_within_its_turn_is_settled(held: tuple[HeldProducer, Publisher]) -> None:
    producer, publisher = held
    for number in range(6):
        publisher.publish(trade(number))
    producer.acknowledge()
    publisher.look()  # in the same turn, as a timer may
    async with asyncio.timeout(5):
        await publisher.room()
        await publisher.flush()
    assert publisher.in_flight == 0


async def test_bytes_are_bounded_as_records_are() -> None:
    producer = HeldProducer()
    publisher = Publisher(producer, Codec(), PublisherSettings(max_in_flight_bytes=65_536, linger_ms=0), "kraken")
    letter = DeadLetter(time=1, service="s", source="v", value=b"x" * 30_000, error="E", reason="r")
    for _ in range(3):
        assert not publisher.full
        publisher.publish(letter)
    assert 90_000 < publisher.in_flight_bytes - 3 * publishing.RECORD_BYTES < 91_000
    waiting = asyncio.create_task(publisher.room())
    await settle()
    assert not waiting.done()
    producer.acknowledge()
    await waiting
    await publisher.flush()
    assert publisher.in_flight_bytes == 0


async def test_a_refused_record_is_never_swallowed(held: tuple[HeldProducer, Publisher]) -> None:
    producer, publisher = held
    for number in range(6):
        publisher.publish(trade(number))
    producer.acknowledge(2)
    waiting = asyncio.create_task(publisher.room())
    await settle()
    producer.fault = KafkaError("no")
    with pytest.raises(BrokerError, match=r"records to md\.trades: .*no"):
        await waiting
    assert publisher.failed.is_set()
    assert publisher.full
    assert publisher.confirmed() == 0
    with pytest.raises(BrokerError):
        publisher.publish(trade(7))
    with pytest.raises(BrokerError):
        await publisher.flush()


@pytest.mark.parametrize("error", [MessageSizeTooLargeError("too large"), RuntimeError("a bug of the client's")])
async def test_a_record_that_the_client_does_not_take_is_never_swallowed(error: Exception) -> None:
    class Refusing(HeldProducer):
        def send(self, topic: str, value: bytes, *, key: bytes, told: Told, **_: object) -> bool:
            raise error

    publisher = Publisher(Refusing(), Codec(), PublisherSettings(), "kraken")
    publisher.publish(trade(1))
    assert publisher.failed.is_set()
    assert publisher.confirmed() == 0
    with pytest.raises(BrokerError, match=r"did not accept 1 records to md\.trades"):
        await publisher.flush()


async def test_a_client_without_room_is_a_failure_and_no_loss_in_silence() -> None:
    publisher = Publisher(HeldProducer(room=1), Codec(), PublisherSettings(), "kraken")
    publisher.publish(trade(1))
    publisher.publish(trade(2))
    with pytest.raises(BrokerError, match="the client's queue is full"):
        await publisher.room()


async def test_a_record_that_does_not_fit_its_schema_is_told(held: tuple[HeldProducer, Publisher]) -> None:
    _, publisher = held
    wrong = trade(1)
    wrong.price = 2**70
    with pytest.raises(RecordRefused):
        publisher.publish(wrong)
    assert publisher.in_flight == 0


@pytest.fixture
async def real(kafka: KafkaSettings) -> AsyncIterator[Publisher]:
    producer = clients.native_producer(kafka, client_id="test", linger_ms=0, give_up=False)
    async with clients.running(producer, kafka):
        yield Publisher(producer, Codec(), PublisherSettings(), "kraken")


async def test_records_arrive_in_order_per_key(real: Publisher, broker: EmbeddedBroker, kafka: KafkaSettings) -> None:
    symbols = [f"A{number}-USD" for number in range(20)]
    sent: list[Record] = [trade(number, symbols[number % 20]) for number in range(2000)]
    for record in sent:
        real.publish(record)
    real.publish(Event(time=1, service="s", kind="started", severity="INFO", message="m"))
    real.publish(DeadLetter(time=1, service="s", source="v", value=b"\xff", error="E", reason="r"))
    await real.flush()
    assert (real.acknowledged, real.in_flight, real.confirmed()) == (2002, 0, 2002)

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
