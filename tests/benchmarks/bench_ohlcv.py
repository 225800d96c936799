"""Candles from trades: what the projection of v_ohlcv costs an insert and a disk, and what it saves a query.

``python -m tests.benchmarks.bench_ohlcv [--rows 20000000]``: generated trades of twelve instruments, on the embedded
engine; the same without the projection, in the same run.
"""

from __future__ import annotations

import argparse
import asyncio
import statistics
import tempfile
import time
from pathlib import Path

import pyarrow as pa

from alphapulse.config import ClickHouseSettings, LogSettings, Settings
from alphapulse.logs import configure
from schemas.records import Trade
from sinks.clickhouse.engine import Engine
from sinks.clickhouse.tables import migrate, tune
from sinks.clickhouse.writer import INSERT_SETTINGS, ONE_THREAD, SMALL_ROWS
from sinks.columns import batch
from tests.fixtures.records import trade

INSERTS = 30
DAYS = 10
START = 1_700_000_000 // 86_400 * 86_400

_FILL = """
INSERT INTO trades SELECT 'v' || toString(number % 3), 'S' || toString(intDiv(number, 3) % 4), toString(number), 'BUY',
    6000000 + cityHash64(number) % 5000, 1 + cityHash64(number, 1) % 1000000, -2, -8, time, time, 'bench', 0, number
FROM
(
    SELECT number, fromUnixTimestamp64Nano(toInt64({start}) * 1000000000 + number * toInt64({step}), 'UTC') AS time
    FROM numbers({rows})
)
"""

_DAY = (
    "SELECT open_time, open, high, low, close, volume FROM v_ohlcv(seconds = {seconds}) WHERE venue = 'v1' AND "
    "symbol = 'S2' AND open_time >= toDateTime({day}, 'UTC') AND open_time < toDateTime({day} + 86400, 'UTC') "
    "ORDER BY open_time {settings}"
)


async def timed(engine: Engine, query: str, times: int = 9) -> tuple[float, int]:
    """Return the median time of a query, ms, and its rows."""
    took, rows = [], 0
    for _ in range(times):
        began = time.perf_counter()
        rows = len(await engine.rows(query))
        took.append((time.perf_counter() - began) * 1000)
    return statistics.median(took), rows


async def inserted(engine: Engine, rows: int, first: int) -> tuple[float, float]:
    """Return the median time and processor time of an insert of ``rows`` trades, ms."""
    took, used = [], []
    for number in range(INSERTS):
        offsets = range(first + number * rows, first + (number + 1) * rows)
        records = [trade(offset, received_time=time.time_ns()) for offset in offsets]
        table = batch(Trade, records, 0, offsets)
        block = pa.Table.from_batches([table])
        settings = {**INSERT_SETTINGS, **(ONE_THREAD if rows <= SMALL_ROWS else {})}
        began, cpu = time.perf_counter(), time.process_time()
        await engine.insert("trades", block, {**settings, "insert_deduplication_token": f"{first}:{number}"})
        took.append((time.perf_counter() - began) * 1000)
        used.append((time.process_time() - cpu) * 1000)
    return statistics.median(took), statistics.median(used)


async def main(rows: int) -> None:
    configure(LogSettings(level="ERROR"), service="bench")
    with tempfile.TemporaryDirectory() as place:
        engine = Engine(Settings(data_dir=Path(place), clickhouse=ClickHouseSettings()))
        await engine.open(asyncio.Event())
        await migrate(engine)
        await tune(engine)
        print(f"insert of trades, median of {INSERTS}: ms, ms of processor time")
        for size in (100, 2_000, 20_000):
            await engine.command("TRUNCATE TABLE trades")
            with_it = await inserted(engine, size, 10**9)
            await engine.command("ALTER TABLE trades DROP PROJECTION ohlcv")
            without = await inserted(engine, size, 2 * 10**9)
            await engine.command("TRUNCATE TABLE trades")
            await engine.command("DELETE FROM migrations WHERE number IN (4, 7)")
            await migrate(engine)
            print(
                f"  {size:>6} rows  with it {with_it[0]:.1f}, {with_it[1]:.1f}; "
                f"without {without[0]:.1f}, {without[1]:.1f}"
            )
        await engine.command(_FILL.format(start=START, rows=rows, step=DAYS * 86_400 * 10**9 // rows))
        await engine.command("OPTIMIZE TABLE trades FINAL")
        ((whole,),) = await engine.rows("SELECT sum(bytes_on_disk) FROM system.parts WHERE active AND table = 'trades'")
        found = await engine.rows("SELECT sum(bytes_on_disk), sum(rows) FROM system.projection_parts WHERE active")
        print(
            f"{rows:,} trades in {DAYS} days: {whole / 1e6:.0f} MB, of which the projection {found[0][0] / 1e6:.0f} MB"
        )
        for seconds in (1, 60, 3600):
            query = {"seconds": seconds, "day": START + 3 * 86_400}
            fast, count = await timed(engine, _DAY.format(**query, settings=""))
            slow, same = await timed(engine, _DAY.format(**query, settings="SETTINGS optimize_use_projections = 0"), 3)
            assert count == same
            print(f"  a day of {seconds:>4} s candles ({count:,}): {fast:.0f} ms, without the projection {slow:.0f} ms")
        await engine.close()


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=20_000_000)
    asyncio.run(main(parser.parse_args().rows))
