from __future__ import annotations

import asyncio
import random
from dataclasses import replace

import pyarrow as pa
from aiokafka import TopicPartition

from alphapulse import topics
from alphapulse.config import ClickHouseSettings
from schemas.codec import Codec
from schemas.records import Depth
from sinks.clickhouse.engine import Engine
from sinks.clickhouse.sampling import DepthSampling
from sinks.clickhouse.writer import ClickHouseTarget
from sinks.columns import batch
from sinks.contract import BatchChunk, Commit, Span
from tests.fixtures.lasting_engine import LastingEngine
from tests.fixtures.log import Log
from tests.fixtures.records import DEPTH, SECOND, START
from tests.fixtures.sink_life import live

KEY = TopicPartition(topics.DEPTH, 3)
MS = 1_000_000


def depth(number: int, *, time: int, venue: str = "kraken", symbol: str = "BTC-USD", levels: int = 3) -> Depth:
    return replace(
        DEPTH,
        venue=venue,
        symbol=symbol,
        sequence=number,
        received_time=time,
        bid_prices=[100 - n for n in range(levels)],
        bid_sizes=[number] * levels,
        ask_prices=[101 + n for n in range(levels)],
        ask_sizes=[number] * levels,
    )


def random_records(count: int) -> list[Depth]:
    chance = random.Random(5)
    time, records = START, []
    for number in range(count):
        time += chance.randrange(400 * MS)
        venue, symbol = chance.choice(["kraken", "okx"]), chance.choice(["BTC-USD", "ETH-USD"])
        records.append(depth(number, time=time, venue=venue, symbol=symbol))
    return records


def expected(records: list[Depth], interval: int = SECOND) -> list[int]:
    """Offsets of the last record per instrument and interval; offset and number are the same."""
    last = {(r.venue, r.symbol, r.received_time // interval): number for number, r in enumerate(records)}
    return sorted(last.values())


def rows_of(batches: list[pa.RecordBatch]) -> list[int]:
    return [int(value) for each in batches for value in each.column("_offset").to_numpy()]


def test_the_last_record_per_instrument_and_interval_is_kept() -> None:
    records = random_records(500)
    sampling = DepthSampling(ClickHouseSettings())
    # However the rows of the span came: one by one, in batches of any size.
    for size in (1, 7, 500):
        batches = [
            batch(Depth, records[at : at + size], 3, list(range(at, min(at + size, 500)))) for at in range(0, 500, size)
        ]
        kept = sampling.sample(batches)
        assert rows_of(kept) == expected(records)
        assert kept[0].schema == batches[0].schema


def test_only_the_best_levels_are_kept() -> None:
    rows = batch(Depth, [depth(1, time=START), depth(2, time=START, levels=0)], 3, [1, 2])
    assert DepthSampling(ClickHouseSettings()).cut(rows).column("ask_prices").to_pylist() == [[101], []]
    two = DepthSampling(ClickHouseSettings(depth_levels=2)).cut(rows)
    assert two.column("bid_prices").to_pylist() == [[100, 99], []]
    assert two.schema == rows.schema


def test_without_an_interval_every_record_is_kept() -> None:
    sampling = DepthSampling(ClickHouseSettings(depth_interval_ms=0))
    batches = [batch(Depth, random_records(20), 3, list(range(20)))]
    assert rows_of(sampling.sample(batches)) == list(range(20))
    assert DepthSampling(ClickHouseSettings()).sample([]) == []


def target_on(engine: Engine, **settings: int) -> ClickHouseTarget:
    chosen = ClickHouseSettings(**settings)
    return ClickHouseTarget(chosen, LastingEngine(engine), "life-1", asyncio.Event(), sampling=DepthSampling(chosen))


async def test_a_span_that_is_repeated_gives_the_same_rows(engine: Engine) -> None:
    records = random_records(60)
    for _ in range(3):
        target = target_on(engine)
        await target.open()
        await target.assign({KEY: Commit(0, "v1 3:0-59")})
        for at in range(0, 60, 20):
            rows = batch(Depth, records[at : at + 20], 3, list(range(at, at + 20)))
            await target.submit(BatchChunk(KEY, Depth, rows))
        target.seal([Span(KEY, 0, 59)])
        await target.write([Span(KEY, 0, 59)], recovering=True, give_up=asyncio.Event())
        assert await engine.rows("SELECT _offset, length(bid_prices) FROM depth ORDER BY 1") == [
            (offset, 1) for offset in expected(records)
        ]


async def test_sql_sees_a_row_per_instrument_and_second_whatever_the_batches_were(engine: Engine) -> None:
    records = random_records(120)
    log = Log()
    codec = Codec()
    for record in records:
        log.append(KEY, codec.encode(record))
    await live(log, target_on(engine, batch_records=9), slices=[4, 5] * 20)
    last = {(r.venue, r.symbol, r.received_time // SECOND): r for r in records}
    found = await engine.rows(
        "SELECT venue, symbol, toUnixTimestamp(second), toInt64(bid_size * 100000000), "
        "toUnixTimestamp64Nano(received_time) FROM v_top_of_book ORDER BY second, venue, symbol"
    )
    assert found == [
        (r.venue, r.symbol, second, r.sequence, r.received_time)
        for (_, _, second), r in sorted(last.items(), key=lambda item: (item[0][2], item[0][0], item[0][1]))
    ]
    assert (await engine.rows("SELECT count() FROM depth"))[0][0] < len(records)
