from __future__ import annotations

import asyncio
import io
import json
import logging
from typing import Any

import pytest
import structlog
from aiokafka import TopicPartition
from aiokafka.errors import KafkaTimeoutError

from alphapulse import logs, topics
from alphapulse.config import LogSettings
from alphapulse.errors import BrokerError, RecordRefused
from alphapulse.tracing import Headers, TraceContext
from schemas.codec import Codec
from schemas.records import DeadLetter, Event
from schemas.refusal_sender import UNACKNOWLEDGED, RefusalSender
from tests.fixtures.log import Log, LogProducer, SlowProducer, message

CODEC = Codec()
TRADES = TopicPartition(topics.TRADES, 3)
WHY = RecordRefused("not in the wire format")


def sender(producer: Any) -> RefusalSender:
    return RefusalSender("sink-test", producer, CODEC, lambda: 17)


class DeafProducer(LogProducer):
    """Acknowledges nothing: at once, or when asked to send."""

    def __init__(self, *, at_once: bool) -> None:
        super().__init__(Log())
        self.at_once = at_once

    async def send(self, topic: str, value: bytes, key: bytes | None = None, headers: Headers | None = None) -> Any:
        if self.at_once:
            raise KafkaTimeoutError
        failed: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        failed.set_exception(KafkaTimeoutError())
        return failed


async def test_a_refused_record_goes_to_dlq_with_its_place_bytes_and_reason() -> None:
    log = Log()
    made = sender(LogProducer(log))
    await made.refuse(message(TRADES, 5, b"junk"), WHY)
    await made.acknowledged()
    ((topic, value),) = log.sent
    letter = CODEC.decode_as(DeadLetter, value)
    assert (topic, made.refused) == (topics.DEAD_LETTERS, 1)
    assert (letter.source, letter.partition, letter.offset, letter.value) == (topics.TRADES, 3, 5, b"junk")
    assert (letter.service, letter.time, letter.error, letter.reason) == ("sink-test", 17, "RecordRefused", str(WHY))


async def test_losses_are_told() -> None:
    log = Log()
    made = sender(LogProducer(log))
    await made.lost(TRADES, range(4, 7))
    await made.lost(TRADES, range(9, 10), severity="WARNING")
    found = [CODEC.decode_as(Event, value) for topic, value in log.sent if topic == topics.EVENTS]
    assert [(event.service, event.kind, event.severity) for event in found] == [
        ("sink-test", "lost_records", "ERROR"),
        ("sink-test", "lost_records", "WARNING"),
    ]
    assert found[0].details == {"topic": TRADES.topic, "partition": "3", "first_offset": "4", "records": "3"}


async def test_what_is_not_acknowledged_is_an_error() -> None:
    made = sender(DeafProducer(at_once=False))
    await made.refuse(message(TRADES, 5, b"junk"), WHY)
    with pytest.raises(BrokerError, match="refuses dead letters of sink-test"):
        await made.acknowledged()
    with pytest.raises(BrokerError, match="refuses records for dlq"):
        await sender(DeafProducer(at_once=True)).refuse(message(TRADES, 5, b"junk"), WHY)


async def test_whoever_asks_waits_for_letters_that_another_waits_for_already() -> None:
    producer = SlowProducer()
    made = sender(producer)
    await made.refuse(message(TRADES, 5, b"junk"), WHY)
    first, second = (asyncio.create_task(made.acknowledged()) for _ in range(2))
    for _ in range(5):
        await asyncio.sleep(0)
    assert not first.done()
    assert not second.done()
    producer.waiting[0].set_result(None)
    await asyncio.gather(first, second)
    await made.acknowledged()


async def test_a_flood_of_refusals_waits_for_the_broker() -> None:
    producer = SlowProducer()
    made = sender(producer)
    for offset in range(UNACKNOWLEDGED - 1):
        await made.refuse(message(TRADES, offset, b"junk"), WHY)
    last = asyncio.create_task(made.refuse(message(TRADES, UNACKNOWLEDGED, b"junk"), WHY))
    for _ in range(5):
        await asyncio.sleep(0)
    assert not last.done()
    for sent in producer.waiting:
        sent.set_result(None)
    await last
    assert made.refused == UNACKNOWLEDGED


async def test_a_dead_letter_keeps_the_trace_of_its_record_and_nothing_else() -> None:
    context, producer = TraceContext(7, 9), LogProducer(Log())
    made = sender(producer)
    for headers in ([("other", b"x"), *context.headers], [("traceparent", b"\xff")], ()):
        await made.refuse(message(TRADES, 5, b"junk", headers), WHY)
    assert producer.headers == [context.headers, None, None]


async def test_the_log_line_of_a_refused_record_has_its_trace_id() -> None:
    stream = io.StringIO()
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    logs.configure(LogSettings(format="json"), service="sink-test", stream=stream)
    try:
        await sender(LogProducer(Log())).refuse(message(TRADES, 5, b"junk", TraceContext(7, 9).headers), WHY)
    finally:
        root.handlers[:] = handlers
        root.setLevel(level)
        logging.captureWarnings(False)
        structlog.reset_defaults()
    (line,) = [json.loads(text) for text in stream.getvalue().splitlines()]
    assert (line["event"], line["trace_id"]) == ("record refused, kept in dlq", f"{7:032x}")
