from __future__ import annotations

import asyncio
from typing import Any

import pytest
from aiokafka import TopicPartition
from aiokafka.errors import KafkaTimeoutError

from alphapulse import topics
from alphapulse.errors import BrokerError
from schemas.codec import Codec
from schemas.records import DeadLetter, Event
from sinks.refusals import Reader
from tests.fixtures.log import Log, LogProducer, message
from tests.fixtures.records import l2, trade

CODEC = Codec()
TRADES = TopicPartition(topics.TRADES, 3)


def reader(producer: Any) -> Reader:
    return Reader(CODEC, producer, "sink-test")


async def test_records_come_with_their_offsets() -> None:
    values = [CODEC.encode(trade(number)) for number in range(3)]
    messages = [message(TRADES, 10 + number, value) for number, value in enumerate(values)]
    assert await reader(LogProducer(Log())).read(messages) == ([10, 11, 12], [trade(0), trade(1), trade(2)])


async def test_what_is_no_record_goes_to_dlq_with_its_place_and_bytes() -> None:
    log = Log()
    made = reader(LogProducer(log))
    offsets, records = await made.read([message(TRADES, 5, b"junk"), message(TRADES, 6, CODEC.encode(trade(1)))])
    await made.acknowledged()
    assert (offsets, records, made.refused) == ([6], [trade(1)], 1)
    (topic, value), *rest = log.sent
    letter = CODEC.decode_as(DeadLetter, value)
    assert topic == topics.DEAD_LETTERS
    assert rest == []
    assert (letter.source, letter.partition, letter.offset, letter.value) == (topics.TRADES, 3, 5, b"junk")
    assert (letter.key, letter.service, letter.error) == (b"key", "sink-test", "RecordRefused")
    assert "Confluent wire format" in letter.reason


async def test_a_record_of_another_class_is_refused() -> None:
    log = Log()
    offsets, _ = await reader(LogProducer(log)).read([message(TRADES, 5, CODEC.encode(l2(1)))])
    assert offsets == []
    assert "expected Trade, found L2Update" in CODEC.decode_as(DeadLetter, log.sent[0][1]).reason


async def test_a_message_without_value_is_refused() -> None:
    log = Log()
    empty = message(TRADES, 5, b"")
    offsets, _ = await reader(LogProducer(log)).read([empty])
    assert offsets == []
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
    made = reader(DeafProducer(at_once=False))
    await made.read([message(TRADES, 5, b"junk")])
    with pytest.raises(BrokerError, match="does not take dead letters of sink-test"):
        await made.acknowledged()
    with pytest.raises(BrokerError, match="does not take records for dlq"):
        await reader(DeafProducer(at_once=True)).read([message(TRADES, 5, b"junk")])


async def test_a_flood_of_refusals_does_not_pile_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sinks.refusals._UNACKNOWLEDGED", 10)
    made = reader(LogProducer(Log()))
    await made.read([message(TRADES, number, b"junk") for number in range(25)])
    assert len(made._unacknowledged) < 10
    assert made.refused == 25


async def test_losses_are_told() -> None:
    log = Log()
    await reader(LogProducer(log)).lost(TRADES, range(4, 7))
    topic, value = log.sent[0]
    event = CODEC.decode_as(Event, value)
    assert (topic, event.service, event.kind, event.severity) == (topics.EVENTS, "sink-test", "lost_records", "ERROR")
    assert event.details == {"topic": TRADES.topic, "partition": "3", "first_offset": "4", "records": "3"}
