from __future__ import annotations

import asyncio
from typing import Any

import pytest
from aiokafka import TopicPartition

from alphapulse import topics
from schemas.codec import Codec
from schemas.records import DeadLetter, L2Update, Trade
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


def updates(count: int, *, bad: dict[int, bytes]) -> dict[TopicPartition, list[Message]]:
    """Records of four partitions, some of them something else."""
    found: dict[TopicPartition, list[Message]] = {}
    for number in range(count):
        key = TopicPartition(topics.L2, number * 4 // count)
        of_partition = found.setdefault(key, [])
        of_partition.append(message(key, 1000 + number, bad.get(number, CODEC.encode(l2(number)))))
    return found


async def decoded(messages: dict[TopicPartition, list[Message]], log: Log) -> list[tuple[int, int, int]]:
    """Return partition, offset and sequence of each row."""
    chunks = await decoder(LogProducer(log)).chunks(messages)
    found = []
    for chunk in chunks:
        chunk.rows.validate(full=True)
        assert chunk.rows.schema == schema(L2Update)
        assert set(chunk.rows.column("_partition").to_pylist()) == {chunk.partition.partition}
        found += [(row["_partition"], row["_offset"], row["sequence"]) for row in chunk.rows.to_pylist()]
    return found


async def test_many_records_are_decoded_together(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Codec, "decode", None)
    found = await decoded(updates(500, bad={}), Log())
    assert found == [(number // 125, 1000 + number, number) for number in range(500)]


async def test_of_many_records_exactly_the_bad_ones_are_refused() -> None:
    log = Log()
    value = CODEC.encode(l2(7))
    bad = {0: b"", 130: value[:-1], 131: value + value, 399: b"\0\0\0\0\1" + value[5:], 499: CODEC.encode(trade(1))}
    found = await decoded(updates(500, bad=bad), log)
    assert found == [(number // 125, 1000 + number, number) for number in range(500) if number not in bad]
    letters = [CODEC.decode_as(DeadLetter, sent) for _, sent in log.sent]
    assert [(letter.offset, letter.value) for letter in letters] == [(1000 + at, sent) for at, sent in bad.items()]


@pytest.mark.parametrize("bound", ["RECORDS", "BYTES"])
async def test_a_long_batch_is_decoded_in_slices(monkeypatch: pytest.MonkeyPatch, bound: str) -> None:
    monkeypatch.setattr(f"sinks.decoder.COLUMNAR_SLICE_{bound}", 100 if bound == "RECORDS" else 10_000)
    log = Log()
    decoding = asyncio.create_task(decoded(updates(450, bad={444: b"junk"}), log))
    turns = 0
    while not decoding.done():
        turns += 1
        await asyncio.sleep(0)
    assert decoding.result() == [(number * 4 // 450, 1000 + number, number) for number in range(450) if number != 444]
    assert turns >= 4
    assert len(log.sent) == 1


async def test_a_value_of_more_than_a_slice_is_a_slice(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sinks.decoder.COLUMNAR_SLICE_BYTES", 1)
    assert len(await decoded(updates(10, bad={}), Log())) == 10
