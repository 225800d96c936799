"""The sinks' whole path on a log in memory, against the bare write of the same rows, and what durability costs.

``python -m tests.benchmarks.bench_sinks``

Each sink runs with columnar decoding and, for comparison, record by record: at full speed, and with batches of the size
that they have at 50 and 500 records a second (one write a second and a minute, respectively). Beside them a naive sink:
each message decoded, its row appended to a list, the list inserted or written; no plan, no commit, no dead letters.
"""

from __future__ import annotations

import asyncio
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
from aiokafka import TopicPartition

from alphapulse import topics
from alphapulse.config import ClickHouseSettings, LogSettings, ParquetSettings, Settings
from alphapulse.logs import configure
from schemas.codec import Codec
from schemas.records import L2Update, Record, Trade
from sinks import decoder
from sinks.clickhouse.engine import Engine
from sinks.clickhouse.tables import INCARNATION, migrate
from sinks.clickhouse.writer import ClickHouseTarget
from sinks.columns import OFFSET, PARTITION, batch, schema
from sinks.consumer import READ_RECORDS
from sinks.contract import SinkTarget
from sinks.parquet.encodings import options
from sinks.parquet.writer import ParquetTarget
from sinks.runner import tame_collector
from tests.fixtures.lasting_engine import LastingEngine
from tests.fixtures.log import Log
from tests.fixtures.records import START, l2, trade
from tests.fixtures.sink_life import live

RECORDS = 100_000
RATES = (50, 500)
QUIET_WRITES = 12
BATCH = 50_000
ROUNDS = 3
MILLISECOND = 1_000_000
CODEC = Codec()


def log_of(topic: str, records: list[Record]) -> Log:
    log = Log()
    for number, record in enumerate(records):
        log.append(TopicPartition(topic, number % 4), CODEC.encode(record))
    return log


async def timed(work: Callable[[], Awaitable[Any]]) -> tuple[float, float]:
    """Return wall and CPU seconds."""
    wall, cpu = time.perf_counter(), time.process_time()
    await work()
    return time.perf_counter() - wall, time.process_time() - cpu


def tell(name: str, seconds: tuple[float, float], rows: int = RECORDS) -> None:
    wall, cpu = seconds
    print(f"  {name:<50} {rows / wall:12,.0f} records/s   {cpu / rows * 1e6:7.2f} µs CPU/record")


@contextmanager
def record_by_record() -> Iterator[None]:
    """Let the sinks decode as they did before there was a columnar decoder."""
    usual = decoder.COLUMNAR_RECORDS
    decoder.COLUMNAR_RECORDS = sys.maxsize  # type: ignore[misc]
    try:
        yield
    finally:
        decoder.COLUMNAR_RECORDS = usual  # type: ignore[misc]


def tell_naive(name: str, naive: tuple[float, float], sink: tuple[float, float]) -> None:
    """Print the figures of a naive sink, and how many times what the sink takes they are."""
    tell(name, naive)
    print(f"  {'':<50} against the sink: CPU × {naive[1] / sink[1]:.2f}, time × {naive[0] / sink[0]:.2f}")


async def compare(
    name: str, sink: Callable[[int, int], Callable[[], Awaitable[Any]]], log: Log, seconds: int
) -> tuple[float, float]:
    """Run ``sink(number, records per batch)`` in both ways on the log, and on its beginning at the usual rates.

    Returns:
        Wall and CPU seconds for the whole log, in columns.
    """
    full = await both(name, lambda number: sink(number, BATCH), RECORDS)
    whole = log.partitions
    for rate in RATES:
        # Each write takes as many from one of four partitions, as they come from this log.
        count = rate * seconds
        number = min(QUIET_WRITES * count, RECORDS) // 4
        log.partitions = {key: messages[:number] for key, messages in whole.items()}
        await both(f"{name}, {rate} a second", lambda at, count=count: sink(at, count), number * 4)  # type: ignore[misc]
    log.partitions = whole
    return full


async def both(name: str, make: Callable[[int], Callable[[], Awaitable[Any]]], rows: int) -> tuple[float, float]:
    """Print the figures of both ways, which take turns; return those in columns."""
    rounds: list[tuple[tuple[float, float], tuple[float, float]]] = []
    for number in range(ROUNDS):
        with record_by_record():
            before = await timed(make(2 * number))
        rounds.append((before, await timed(make(2 * number + 1))))
    before, after = min(one for one, _ in rounds), min(other for _, other in rounds)
    tell(f"{name}, record by record", before, rows)
    tell(name, after, rows)
    print(f"  {'':<50} CPU ÷ {before[1] / after[1]:.2f}, time ÷ {before[0] / after[0]:.2f}")
    return after


async def best(make: Callable[[int], Callable[[], Awaitable[Any]]]) -> tuple[float, float]:
    return min([await timed(make(number)) for number in range(ROUNDS)])


def rows_of(records: list[Record]) -> pa.Table:
    kind = type(records[0])
    made = [
        batch(kind, records[start : start + BATCH], 0, range(start, start + BATCH))
        for start in range(0, RECORDS, BATCH)
    ]
    return pa.Table.from_batches(made, schema(kind)).unify_dictionaries()


async def decode(log: Log) -> None:
    for messages in log.partitions.values():
        for message in messages:
            CODEC.decode(message.value or b"")


def fresh(log: Log, target: SinkTarget, count: int) -> Callable[[], Awaitable[Any]]:
    log.commits.clear()
    return lambda: live(log, target, slices=[] if count >= READ_RECORDS else [count] * RECORDS)


def naive_rows(log: Log) -> Iterator[list[dict[str, Any]]]:
    """Decode message by message; yield lists of rows."""
    rows: list[dict[str, Any]] = []
    for key, messages in log.partitions.items():
        for message in messages:
            record = CODEC.decode(message.value or b"")
            rows.append({**record.__dict__, PARTITION: key.partition, OFFSET: message.offset})
            if len(rows) == BATCH:
                yield rows
                rows = []
    if rows:
        yield rows


async def clickhouse(table: str, log: Log, rows: pa.Table, place: Path) -> None:
    engine = Engine(Settings(data_dir=place))
    await engine.open(asyncio.Event())
    await migrate(engine)

    def sink(number: int, count: int) -> Callable[[], Awaitable[Any]]:
        bounds = ClickHouseSettings(batch_records=count, batch_seconds=3600)
        name = f"{table}-{number}-{count}"
        return fresh(log, ClickHouseTarget(bounds, LastingEngine(engine), name, asyncio.Event()), count)

    quick = await compare("ClickHouse sink", sink, log, 1)

    async def naive() -> None:
        client = engine.another_client()
        for batch_rows in naive_rows(log):
            names = list(batch_rows[0])
            client.insert(table, [list(row.values()) for row in batch_rows], column_names=names)
        client.close()

    tell_naive("ClickHouse, naive", await best(lambda _: naive), quick)
    name = pa.DictionaryArray.from_arrays(pa.repeat(pa.scalar(0, pa.int32()), rows.num_rows), pa.array(["bare"]))
    whole = rows.append_column(INCARNATION, name)

    def bare(synced: int, number: int) -> Callable[[], Awaitable[Any]]:
        async def insert() -> None:
            for start in range(0, RECORDS, BATCH):
                block = whole.slice(start, BATCH).combine_chunks()
                await engine.insert(table, block, {"insert_deduplication_token": f"{synced}:{number}:{start}"})

        return insert

    for synced in (1, 0):
        await engine.command(
            f"ALTER TABLE {table} MODIFY SETTING fsync_after_insert = {synced}, fsync_part_directory = {synced}"
        )
        tell(f"  bare insert_arrow, fsync {'on' if synced else 'off'}", await best(partial(bare, synced)))
    found = await engine.rows(
        f"SELECT sum(bytes_on_disk) / sum(rows) FROM system.parts WHERE active AND table = '{table}'"
    )
    print(f"  {'':<50} {found[0][0]:12.1f} bytes/row in the table")
    await engine.close()


async def parquet(log: Log, rows: pa.Table, kind: type[Record], place: Path) -> None:
    def sink(number: int, count: int) -> Callable[[], Awaitable[Any]]:
        records = ParquetSettings().batch_records if count == BATCH else count
        bounds = ParquetSettings(path=str(place / f"sink-{number}-{count}"), batch_records=records, batch_seconds=3600)
        return fresh(log, ParquetTarget(Settings(parquet=bounds), "bench"), count)

    quick = await compare("Parquet sink", sink, log, 60)

    async def naive() -> None:
        with pq.ParquetWriter(place / "naive.parquet", rows.schema, compression="zstd") as writer:
            for batch_rows in naive_rows(log):
                writer.write_table(pa.Table.from_pylist(batch_rows, rows.schema))

    tell_naive("Parquet, naive", await best(lambda _: naive), quick)

    async def write() -> None:
        with pq.ParquetWriter(place / "bare.parquet", rows.schema, **options(kind)) as writer:
            writer.write_table(rows, row_group_size=RECORDS)

    tell("  bare pyarrow write", await best(lambda _: write))
    size = (place / "bare.parquet").stat().st_size
    print(f"  {'':<50} {size / RECORDS:12.1f} bytes/row in the file")


async def main() -> None:
    configure(LogSettings(level="ERROR"), service="bench")
    tame_collector()
    kinds: list[tuple[str, str, type[Record], Callable[[int], Record]]] = [
        # A second apart, as the fixture has them, they would be in 28 hours: most of the Parquet sink's time went into
        # files of some hundred rows, which no feed at full speed has.
        (topics.TRADES, "trades", Trade, lambda number: trade(number, received_time=START + number * MILLISECOND)),
        (topics.L2, "l2", L2Update, lambda number: l2(number, levels=5)),
    ]
    for topic, table, kind, make in kinds:
        records = [make(number) for number in range(RECORDS)]
        log, rows = log_of(topic, records), rows_of(records)
        print(f"{topic}: {RECORDS:,} records, batches of {BATCH:,}")
        tell("decode alone", await best(lambda _, log=log: lambda: decode(log)))  # type: ignore[misc]

        async def convert(kind: type[Record] = kind, records: list[Record] = records) -> None:
            batch(kind, records, 0, range(RECORDS))

        tell("to Arrow alone", await best(lambda _, convert=convert: convert))  # type: ignore[misc]
        with tempfile.TemporaryDirectory() as place:
            await clickhouse(table, log, rows, Path(place))
            await parquet(log, rows, kind, Path(place))


if __name__ == "__main__":
    asyncio.run(main())
