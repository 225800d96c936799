"""Values at and beyond the bounds of their columns."""

from __future__ import annotations

import asyncio
import copy
import io
from dataclasses import replace

import fastavro
import pytest
from aiokafka import TopicPartition

from alphapulse import topics
from alphapulse.config import ClickHouseSettings
from schemas.codec import Codec
from schemas.definitions import definition
from schemas.records import DeadLetter, Trade
from sinks.clickhouse.engine import Engine
from sinks.clickhouse.writer import ClickHouseTarget
from tests.fixtures.lasting_engine import LastingEngine
from tests.fixtures.log import Log
from tests.fixtures.records import trade
from tests.fixtures.sink_life import live, uncommitted

KEY = TopicPartition(topics.TRADES, 0)
CODEC = Codec()
MOST, LEAST = 2**63 - 1, -(2**63)


def with_exponent(record: Trade, exponent: int) -> bytes:
    """The bytes of a trade whose exponent need not fit 32 bits: a varint on the wire, like every other number."""
    schema = copy.deepcopy({k: v for k, v in definition(Trade).parsed.items() if not k.startswith("__")})
    for field in schema["fields"]:
        if field["name"] == "price_exponent":
            field["type"] = "long"
    out = io.BytesIO()
    fastavro.schemaless_writer(out, fastavro.parse_schema(schema), {**record.__dict__, "price_exponent": exponent})
    return CODEC.encode(record)[:5] + out.getvalue()


async def store(engine: Engine, log: Log) -> None:
    await live(log, ClickHouseTarget(ClickHouseSettings(), LastingEngine(engine), "life-1", asyncio.Event()))
    assert uncommitted(log) == {}


@pytest.mark.parametrize("exponent", [2**31, -(2**31) - 1, MOST])
async def test_a_value_beyond_its_column_is_a_dead_letter_and_its_neighbours_are_stored(
    engine: Engine, exponent: int
) -> None:
    log = Log()
    for number in range(9):
        record = trade(number)
        log.append(KEY, with_exponent(record, exponent) if number == 4 else CODEC.encode(record))
    await store(engine, log)
    found = await engine.rows("SELECT _offset, trade_id, price FROM trades ORDER BY 1")
    assert found == [(n, trade(n).trade_id, trade(n).price) for n in range(9) if n != 4]
    ((topic, value),) = [sent for sent in log.sent if sent[0] == topics.DEAD_LETTERS]
    letter = CODEC.decode_as(DeadLetter, value)
    assert (letter.source, letter.partition, letter.offset) == (KEY.topic, 0, 4)
    assert letter.value == with_exponent(trade(4), exponent)
    assert "price_exponent" in letter.reason
    assert str(exponent) in letter.reason
    assert topic == topics.DEAD_LETTERS


@pytest.mark.parametrize("time", [0, 1, -1, MOST, LEAST])
async def test_the_bounds_themselves_are_stored_exactly(engine: Engine, time: int) -> None:
    log = Log()
    records = [
        replace(trade(n), price=price, size=LEAST, price_exponent=100, exchange_time=0, received_time=time)
        for n, price in enumerate((MOST, LEAST, 0))
    ]
    for record in records:
        log.append(KEY, CODEC.encode(record))
    for _ in range(2):
        await store(engine, log)
    found = await engine.rows(
        "SELECT price, size, price_exponent, toUnixTimestamp64Nano(received_time) FROM trades ORDER BY _offset"
    )
    assert found == [(r.price, r.size, r.price_exponent, time) for r in records]
