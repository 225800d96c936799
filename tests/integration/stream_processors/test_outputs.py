"""The way out to the broker: order, barrier and failure, on the embedded broker."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress

import pytest

from alphapulse import kafka, topics
from alphapulse.config import KafkaSettings
from alphapulse.errors import BrokerError, RecordRefused
from stream_processors.engine import publisher as outputs
from stream_processors.engine.publisher import Outputs
from tests.fixtures.market import candle, event, trade
from tests.integration.stream_processors.processes import CODEC, read_all


@asynccontextmanager
async def sending(settings: KafkaSettings) -> AsyncIterator[tuple[Outputs, asyncio.Task[None]]]:
    out = Outputs(CODEC)
    async with kafka.running(kafka.native_producer(settings, client_id="test"), settings) as producer:
        task = asyncio.create_task(out.run(producer))
        try:
            yield out, task
        finally:
            task.cancel()
            with suppress(asyncio.CancelledError, BrokerError):
                await task


async def test_after_a_flush_all_is_there_in_order(kafka_settings: KafkaSettings) -> None:
    async with sending(kafka_settings) as (out, _):
        await out.flush()
        for second in range(500):
            out.put(candle(second))
        out.put(event())
        await out.flush()
        found = [record for _, _, record in await read_all(kafka_settings, topics.CANDLES)]
        assert found == [candle(second) for second in range(500)]
        assert out.published == {topics.CANDLES: 500, topics.EVENTS: 1}
        ((_, number), end) = next(item for item in out.ends.items() if item[0][0] == topics.CANDLES)
        assert end == 500
        out.put_raw(topics.PROCESSORS_STATE, b"k", b"v", number)
        await out.flush()
        assert out.ends[topics.PROCESSORS_STATE, number] == 1


async def test_whoever_puts_in_too_much_waits(kafka_settings: KafkaSettings, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(outputs, "MAX_WAITING", 10)
    async with sending(kafka_settings) as (out, _):
        for number in range(100):
            out.put(trade(str(number)))
        await out.ebb()
        assert out.unacknowledged <= 10


async def test_what_cannot_be_delivered_fails_everybody(kafka_settings: KafkaSettings) -> None:
    async with sending(kafka_settings) as (out, task):
        out.put_raw(topics.CANDLES, b"k", b"x" * (topics.MAX_RECORD_BYTES + 1))
        with pytest.raises(BrokerError, match="cannot publish: MessageSizeTooLargeError"):
            await out.flush()
        with pytest.raises(BrokerError, match="cannot publish"):
            await out.ebb()
        with pytest.raises(BrokerError, match="cannot publish"):
            await task


async def test_a_broker_that_is_gone_is_given_up(
    kafka_settings: KafkaSettings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(outputs, "FLUSH_SECONDS", 0.2)
    out = Outputs(CODEC)
    out.put(trade())
    with pytest.raises(BrokerError, match=r"the broker acknowledged nothing for 0\.2 s"):
        await out.flush()


async def test_a_record_that_does_not_fit_is_refused_at_once(kafka_settings: KafkaSettings) -> None:
    out = Outputs(CODEC)
    with pytest.raises(RecordRefused):
        out.put(trade(price=2**63))
    await out.flush()
