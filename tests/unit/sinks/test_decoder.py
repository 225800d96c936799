from __future__ import annotations

import asyncio
from typing import Any

import pytest
from aiokafka import TopicPartition

from alphapulse import topics
from schemas.codec import Codec
from schemas.records import DeadLetter, Trade
from schemas.refusal_sender import RefusalSender
from sinks.buffer import Message
from sinks.columns import schema
from sinks.contract import BatchChunk
from sinks.decoder import RecordDecoder
from tests.fixtures.log import Log, LogProducer, message
from tests.fixtures.records import l2, trade

CODEC = Codec()
TRADES = TopicPartition(topics.TRADES, 3)


def decoder(producer: Any) -> RecordDecoder:
    return RecordDecoder(CODEC, RefusalSender("sink-test", producer, CODEC))


def trades(key: TopicPartition, first: int, *numbers: int) -> list[Message]:
    return [message(key, first + at, CODEC.encode(trade(number))) for at, number in enumerate(numbers)]


def rows(chunk: BatchChunk) -> list[tuple[int, int, str]]:
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
    assert made.refusals.refused == 2


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
    await made.refusals.acknowledged()
    assert (rows(chunk), made.refusals.refused) == ([(3, 6, "1")], 1)
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
