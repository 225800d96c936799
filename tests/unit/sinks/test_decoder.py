from __future__ import annotations

import asyncio
from typing import Any

import pytest
from aiokafka import TopicPartition
from aiokafka.errors import KafkaTimeoutError

from alphapulse import topics
from alphapulse.errors import BrokerError
from schemas.codec import Codec
from schemas.records import DeadLetter, Event, Trade
from sinks.buffer import Message
from sinks.columns import schema
from sinks.contract import Chunk
from sinks.decoder import RecordDecoder
from tests.fixtures.log import Log, LogProducer, SlowProducer, message
from tests.fixtures.records import l2, trade

CODEC = Codec()
TRADES = TopicPartition(topics.TRADES, 3)


def decoder(producer: Any) -> RecordDecoder:
    return RecordDecoder(CODEC, producer, "sink-test")


def trades(key: TopicPartition, first: int, *numbers: int) -> list[Message]:
    return [message(key, first + at, CODEC.encode(trade(number))) for at, number in enumerate(numbers)]


def rows(chunk: Chunk) -> list[tuple[int, int, str]]:
    """Partition, offset and trade id of each row."""
    chunk.rows.validate(full=True)
    return [(row["_partition"], row["_offset"], row["trade_id"]) for row in chunk.rows.to_pylist()]


async def test_records_come_with_their_offsets() -> None:
    (chunk,) = await decoder(LogProducer(Log())).chunks({TRADES: trades(TRADES, 10, 0, 1, 2)})
    assert (chunk.partition, chunk.kind, chunk.rows.schema) == (TRADES, Trade, schema(Trade))
    assert rows(chunk) == [(3, 10, "0"), (3, 11, "1"), (3, 12, "2")]


async def test_each_partition_gets_its_own_rows() -> None:
    other, updates = TopicPartition(topics.TRADES, 7), TopicPartition(topics.L2, 3)
    nothing_left = TopicPartition(topics.TRADES, 1)
    made = decoder(LogProducer(Log()))
    chunks = await made.chunks(
        {
            TRADES: [*trades(TRADES, 10, 0, 1), message(TRADES, 12, b"junk")],
            updates: [message(updates, 4, CODEC.encode(l2(9)))],
            nothing_left: [message(nothing_left, 8, b"junk")],
            other: trades(other, 20, 5),
        }
    )
    assert [(chunk.partition, chunk.rows.num_rows) for chunk in chunks] == [(TRADES, 2), (other, 1), (updates, 1)]
    assert [rows(chunk) for chunk in chunks[:2]] == [[(3, 10, "0"), (3, 11, "1")], [(7, 20, "5")]]
    assert chunks[2].rows.column("sequence").to_pylist() == [9]
    assert made.refused == 2


async def test_a_long_batch_lets_others_run_meanwhile(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sinks.decoder.SLICE_RECORDS", 10)
    decoding = asyncio.create_task(decoder(LogProducer(Log())).chunks({TRADES: trades(TRADES, 0, *range(35))}))
    turns = 0
    while not decoding.done():
        turns += 1
        await asyncio.sleep(0)
    assert len(rows(decoding.result()[0])) == 35
    assert turns >= 4


async def test_what_is_no_record_goes_to_dlq_with_its_place_and_bytes() -> None:
    log = Log()
    made = decoder(LogProducer(log))
    (chunk,) = await made.chunks({TRADES: [message(TRADES, 5, b"junk"), *trades(TRADES, 6, 1)]})
    await made.acknowledged()
    assert (rows(chunk), made.refused) == ([(3, 6, "1")], 1)
    (topic, value), *rest = log.sent
    letter = CODEC.decode_as(DeadLetter, value)
    assert topic == topics.DEAD_LETTERS
    assert rest == []
    assert (letter.source, letter.partition, letter.offset, letter.value) == (topics.TRADES, 3, 5, b"junk")
    assert (letter.key, letter.service, letter.error) == (b"key", "sink-test", "RecordRefused")
    assert "Confluent wire format" in letter.reason


async def test_a_record_of_another_class_is_refused() -> None:
    log = Log()
    assert await decoder(LogProducer(log)).chunks({TRADES: [message(TRADES, 5, CODEC.encode(l2(1)))]}) == []
    assert "expected Trade, found L2Update" in CODEC.decode_as(DeadLetter, log.sent[0][1]).reason


async def test_a_message_without_value_is_refused() -> None:
    log = Log()
    empty = message(TRADES, 5, b"")
    assert await decoder(LogProducer(log)).chunks({TRADES: [empty]}) == []
    assert CODEC.decode_as(DeadLetter, log.sent[0][1]).value == b""


class DeafProducer(LogProducer):
    """Acknowledges nothing: at once, or when asked to send."""

    def __init__(self, *, at_once: bool) -> None:
        super().__init__(Log())
        self.at_once = at_once

    async def send(self, topic: str, value: bytes, key: bytes | None = None) -> Any:
        if self.at_once:
            raise KafkaTimeoutError
        failed: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        failed.set_exception(KafkaTimeoutError())
        return failed


async def test_a_dead_letter_that_is_not_acknowledged_is_an_error() -> None:
    made = decoder(DeafProducer(at_once=False))
    await made.chunks({TRADES: [message(TRADES, 5, b"junk")]})
    with pytest.raises(BrokerError, match="does not take dead letters of sink-test"):
        await made.acknowledged()
    with pytest.raises(BrokerError, match="does not take records for dlq"):
        await decoder(DeafProducer(at_once=True)).chunks({TRADES: [message(TRADES, 5, b"junk")]})


async def test_whoever_asks_waits_for_letters_that_another_waits_for_already() -> None:
    producer = SlowProducer()
    made = decoder(producer)
    await made.chunks({TRADES: [message(TRADES, 5, b"junk")]})
    first, second = (asyncio.create_task(made.acknowledged()) for _ in range(2))
    for _ in range(5):
        await asyncio.sleep(0)
    assert not first.done()
    assert not second.done()
    producer.waiting[0].set_result(None)
    await asyncio.gather(first, second)
    await made.acknowledged()


async def test_a_flood_of_refusals_does_not_pile_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sinks.decoder._UNACKNOWLEDGED", 10)
    made = decoder(LogProducer(Log()))
    await made.chunks({TRADES: [message(TRADES, number, b"junk") for number in range(25)]})
    assert len(made._unacknowledged) < 10
    assert made.refused == 25


async def test_losses_are_told() -> None:
    log = Log()
    await decoder(LogProducer(log)).lost(TRADES, range(4, 7))
    topic, value = log.sent[0]
    event = CODEC.decode_as(Event, value)
    assert (topic, event.service, event.kind, event.severity) == (topics.EVENTS, "sink-test", "lost_records", "ERROR")
    assert event.details == {"topic": TRADES.topic, "partition": "3", "first_offset": "4", "records": "3"}
