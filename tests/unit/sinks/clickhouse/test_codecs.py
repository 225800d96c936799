"""Codecs of the table of books: exact for every value, and small for those of real venues."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pyarrow as pa
import pytest

from schemas.records import L2Update
from sinks.clickhouse.engine import Engine
from sinks.clickhouse.tables import INCARNATION, migrate
from sinks.columns import batch
from tests.fixtures.records import START, l2

LEAST, MOST = -(2**63), 2**63 - 1
EXTREMES = [LEAST, MOST, 0, -1, 1, MOST, LEAST]
WIDE = "ALTER TABLE l2 MODIFY SETTING min_bytes_for_wide_part = 0, min_rows_for_wide_part = 0"


async def insert(engine: Engine, records: list[L2Update]) -> None:
    rows = pa.Table.from_batches([batch(L2Update, records, 0, range(len(records)))])
    life = pa.array(["life"] * len(records)).dictionary_encode()
    await engine.insert("l2", rows.append_column(INCARNATION, life), {})
    await engine.command("OPTIMIZE TABLE l2 FINAL")


def levels(prices: list[int], sizes: list[int], number: int = 0) -> L2Update:
    return replace(
        l2(number), received_time=START + number, bid_prices=prices, bid_sizes=sizes, ask_prices=prices, ask_sizes=sizes
    )


@pytest.mark.parametrize(
    "values",
    [EXTREMES, [0, 0, 0], [], [MOST] * 3, [LEAST] * 3, [10**6, 3 * 10**6, 7 * 10**6], [10**6, LEAST, MOST]],
    ids=str,
)
async def test_levels_of_any_size_come_back_exactly(engine: Engine, values: list[int]) -> None:
    await migrate(engine)
    records = [levels(values, values[::-1]), levels(values[::-1], values, 1)]
    await insert(engine, records)
    found = await engine.rows("SELECT bid_prices, bid_sizes, ask_prices, ask_sizes FROM l2 ORDER BY received_time")
    assert found == [(one.bid_prices, one.bid_sizes, one.ask_prices, one.ask_sizes) for one in records]


@pytest.mark.parametrize("value", [LEAST, MOST, 0, -1, 10**15])
async def test_counters_and_times_of_any_size_come_back_exactly(engine: Engine, value: int) -> None:
    await migrate(engine)
    names = ("epoch", "sequence", "exchange_sequence", "checksum")
    await insert(
        engine,
        [
            replace(l2(number), epoch=value, sequence=value, exchange_sequence=value, checksum=value)
            for number in range(3)
        ],
    )
    found = await engine.rows(f"SELECT {', '.join(names)}, toUnixTimestamp64Nano(exchange_time) FROM l2 LIMIT 1")
    assert found == [(value,) * 4 + (l2(0).exchange_time,)]


async def test_decimals_that_a_venue_does_not_use_take_no_space(engine: Engine) -> None:
    """An epoch has eight decimals at least, a venue's tick and lot hardly ever."""
    await migrate(engine)
    await engine.command(WIDE)
    taken = []
    for tick, lot in ((1, 1), (10**6, 10**3)):
        await engine.command("TRUNCATE TABLE l2")
        walk = np.random.default_rng(2)
        middle = 6_000_000 + np.cumsum(walk.integers(-3, 4, 2_000))
        prices = [(at + walk.integers(-40, 40, 10)) * tick for at in middle]
        sizes = [walk.integers(0, 50_000, 10) * lot for _ in middle]
        records = [
            levels(some.tolist(), many.tolist(), n) for n, (some, many) in enumerate(zip(prices, sizes, strict=True))
        ]
        await insert(engine, records)
        ((size,),) = await engine.rows(
            "SELECT sum(column_data_compressed_bytes) FROM system.parts_columns WHERE active AND "
            "database = currentDatabase() AND table = 'l2' AND (column LIKE '%_prices' OR column LIKE '%_sizes')"
        )
        taken.append(int(size))
    assert taken[1] < taken[0] * 1.01
