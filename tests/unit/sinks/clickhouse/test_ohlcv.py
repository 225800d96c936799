"""Candles of any interval equal a computation over the trades of the table, whatever happened to the inserts."""

from __future__ import annotations

import asyncio
import contextlib
import random
import re
from dataclasses import replace
from decimal import Decimal, localcontext
from typing import Any

import pytest
from aiokafka import TopicPartition

from alphapulse import topics
from alphapulse.config import ClickHouseSettings
from schemas.codec import Codec
from schemas.records import Trade
from sinks.clickhouse.engine import Engine
from sinks.clickhouse.tables import migrate
from sinks.clickhouse.writer import ClickHouseTarget
from sinks.columns import batch
from sinks.contract import BatchChunk, Commit, Span
from tests.fixtures.lasting_engine import LastingEngine
from tests.fixtures.log import Fuse, Killed, Log
from tests.fixtures.records import SECOND, START, trade
from tests.fixtures.sink_life import live

KEYS = [TopicPartition(topics.TRADES, number) for number in range(2)]
CODEC = Codec()
INTERVALS = (0.25, 1, 7, 60, 180, 3600)


def trades(count: int) -> list[Trade]:
    """Several instruments, exponents that change, trades without a venue's time, several at one time, two months."""
    chance = random.Random(11)
    made = []
    for number in range(count):
        time = START + (number // 2) * 600_000_000 + number % 3 * 31 * 86_400 * SECOND
        made.append(
            replace(
                trade(number, received_time=time + 5),
                venue=chance.choice(["kraken", "okx"]),
                symbol=f"BTC-U{number % 2}",
                exchange_time=0 if number % 5 == 0 else time,
                price=chance.randrange(1, 10 ** chance.randrange(1, 19)),
                size=chance.randrange(0, 10 ** chance.randrange(1, 19)),
                price_exponent=chance.choice([-18, -2, 0, 3]),
                size_exponent=chance.choice([-18, -8, 0]),
            )
        )
    return made


async def compare(engine: Engine, settings: str = "") -> int:
    """Compare the view with Python over the table's rows; return the number of candles."""
    rows = await engine.rows(
        "SELECT venue, symbol, toUnixTimestamp64Nano(exchange_time), toUnixTimestamp64Nano(received_time), _offset, "
        "price, size, price_exponent, size_exponent FROM trades"
    )
    compared = 0
    for seconds in INTERVALS:
        candles: dict[tuple[str, str, int], list[tuple[int, int, Decimal, Decimal]]] = {}
        with localcontext(prec=200):
            for venue, symbol, exchange, received, offset, price, size, pe, se in rows:
                time = exchange or received
                step = round(seconds * SECOND)
                key = (venue, symbol, time // step * step)
                exact = Decimal(price).scaleb(pe), Decimal(size).scaleb(se)
                candles.setdefault(key, []).append((time, offset, *exact))
            wanted: list[tuple[Any, ...]] = []
            for key, of in sorted(candles.items()):
                of.sort()
                prices, sizes = [each[2] for each in of], [each[3] for each in of]
                quote = sum(p * s for p, s in zip(prices, sizes, strict=True))
                ends = (of[0][0], of[-1][0])
                wanted.append(
                    (*key, prices[0], max(prices), min(prices), prices[-1], sum(sizes), quote, len(of), *ends)
                )
            found = await engine.rows(
                "SELECT venue, symbol, toUnixTimestamp64Nano(open_time), open, high, low, close, volume, quote_volume, "
                "trades, toUnixTimestamp64Nano(first_trade_time), toUnixTimestamp64Nano(last_trade_time) "
                f"FROM v_ohlcv(seconds = {seconds}) ORDER BY venue, symbol, open_time {settings}"
            )
            assert found == wanted, seconds
        compared += len(found)
    return compared


def target_on(engine: Engine, records: int = 1000) -> ClickHouseTarget:
    settings = ClickHouseSettings(batch_records=records)
    return ClickHouseTarget(settings, LastingEngine(engine), "life-1", asyncio.Event())


async def test_after_deaths_repeats_merges_and_deletions(engine: Engine) -> None:
    records = trades(90)
    log = Log()
    for number, record in enumerate(records):
        log.append(KEYS[number % 2], CODEC.encode(record))
    for at in (2, 3, 2, 3, 4, 5):
        with contextlib.suppress(Killed):
            await live(log, target_on(engine, 13), Fuse(at))
    await live(log, target_on(engine, 13))
    assert await engine.rows("SELECT count(), uniqExact(trade_id) FROM trades") == [(90, 90)]
    assert await compare(engine) > 100
    # Whole batches again, as a successor would write them.
    for _ in range(3):
        target = target_on(engine)
        plan = Commit(0, "v1 0:0-44,1:0-44")
        await target.assign(dict.fromkeys(KEYS, plan))
        for key in KEYS:
            await target.submit(
                BatchChunk(key, Trade, batch(Trade, records[key.partition :: 2], key.partition, range(45)))
            )
        spans = [Span(key, 0, 44) for key in KEYS]
        target.seal(spans)
        await target.write(spans, recovering=True, give_up=asyncio.Event())
    assert await engine.rows("SELECT count(), uniqExact(trade_id) FROM trades") == [(90, 90)]
    await compare(engine)
    await compare(engine, "SETTINGS optimize_use_projections = 0")
    await engine.command("OPTIMIZE TABLE trades FINAL")
    await compare(engine)
    await engine.command("DELETE FROM trades WHERE _offset % 7 = 3")
    await compare(engine)
    await engine.command("ALTER TABLE trades DROP PARTITION ID '202408'")
    assert await compare(engine) > 50


async def test_a_block_of_which_a_part_was_lost_is_counted_once(engine: Engine) -> None:
    """What is there in part is completed row by row; a materialized view would have counted the block before."""
    records = trades(20)
    target = target_on(engine)
    await target.open()
    await target.submit(BatchChunk(KEYS[0], Trade, batch(Trade, records[3:9], 0, range(3, 9))))
    target.seal([Span(KEYS[0], 3, 8)])
    await target.write([Span(KEYS[0], 3, 8)], recovering=False, give_up=asyncio.Event())
    await compare(engine)
    await target.assign({KEYS[0]: Commit(0, "v1 0:0-19")})
    await target.submit(BatchChunk(KEYS[0], Trade, batch(Trade, records, 0, range(20))))
    target.seal([Span(KEYS[0], 0, 19)])
    await target.write([Span(KEYS[0], 0, 19)], recovering=True, give_up=asyncio.Event())
    assert await engine.rows("SELECT count(), uniqExact(_offset) FROM trades") == [(20, 20)]
    await compare(engine)


async def test_rows_from_before_the_migration_count(engine: Engine) -> None:
    """Parts without the projection are read row by row, until ClickHouse has made it."""
    await migrate(engine)
    await engine.command("ALTER TABLE trades DROP PROJECTION ohlcv")
    target = target_on(engine)
    await target.submit(BatchChunk(KEYS[0], Trade, batch(Trade, trades(40), 0, range(40))))
    target.seal([Span(KEYS[0], 0, 39)])
    await target.write([Span(KEYS[0], 0, 39)], recovering=False, give_up=asyncio.Event())
    expected = await compare(engine)
    await engine.command("DELETE FROM migrations WHERE number IN (4, 7)")
    assert await migrate(engine) == 2
    assert await compare(engine) == expected


@pytest.mark.parametrize(("seconds", "reads"), [(60, "ReadFromMergeTree (ohlcv)"), (7, "Name: trade_time")])
async def test_an_instrument_and_range_are_found_without_reading_the_rest(
    engine: Engine, seconds: int, reads: str
) -> None:
    """Whole minutes from the projection, by its key; other intervals from the rows, by the index on their time."""
    await migrate(engine)
    await engine.command(
        "INSERT INTO trades (venue, symbol, price, size, exchange_time, received_time) SELECT 'k', "
        "'S' || toString(number % 3), number, 1, toDateTime64(number * 60, 9, 'UTC') AS t, t FROM numbers(200000)"
    )
    plan = "\n".join(
        row[0]
        for row in await engine.rows(
            f"EXPLAIN indexes = 1 SELECT * FROM v_ohlcv(seconds = {seconds}) WHERE venue = 'k' AND symbol = 'S1' "
            "AND open_time >= '1970-02-01 06:00:00' AND open_time < '1970-02-01 07:00:00'"
        )
    )
    assert reads in plan
    # The instrument alone has nine granules of 25.
    granules = [(int(few), int(all_)) for few, all_ in re.findall(r"Granules: (\d+)/(\d+)", plan)]
    assert granules, plan
    assert min(few for few, _ in granules) <= 3, plan
    # The rows or the sums, not both.
    assert plan.count("ReadFromMergeTree") == 1, plan
