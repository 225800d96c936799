"""Compression levels, row groups and orders of Parquet files, on the rows of a replay.

``python -m tests.benchmarks.bench_parquet FOLDER [REPEATS]``: ``FOLDER`` is the folder ``parquet`` of a replay, whose
rows are repeated with other times, prices, sizes and ids.
"""

from __future__ import annotations

import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import duckdb
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.dataset as ds
import pyarrow.parquet as pq

from schemas.records import L2Update, Record, Trade
from sinks.columns import OFFSET
from sinks.parquet import decimals
from sinks.parquet.encodings import options

LEVELS = (1, 3, 6, 9, 19)
GROUPS = (4_096, 8_192, 16_384, 32_768, 65_536, 131_072, 262_144, 1_048_576)
SORTED_ROWS = 131_072
ROUNDS = 5
RECORDING_NS = 32 * 10**9


def changed(column: pa.ChunkedArray[Any], name: str, repeat: int, chance: np.random.Generator) -> Any:
    """Return a column as another half minute would have it."""
    count = len(column)
    if name in ("received_time", "exchange_time"):
        times = column.cast(pa.int64()).to_numpy()
        return pa.array(times + repeat * RECORDING_NS + chance.integers(0, 10**6, count)).cast(column.type)
    if name in (OFFSET, "sequence"):
        return pa.array(column.to_numpy() + repeat * count)
    if name == "trade_id":
        return pa.array([f"{text}{repeat:03}" for text in column.to_pylist()])
    if name in ("price", "size"):
        return pa.array(other(column.to_numpy(), name, chance))
    if name in ("bid_prices", "ask_prices", "bid_sizes", "ask_sizes"):
        whole: Any = column.combine_chunks()
        ends = pc.subtract(whole.offsets, whole.offsets[0])
        return pa.ListArray.from_arrays(ends, pa.array(other(whole.flatten().to_numpy(), name, chance)))
    return column


def other(values: Any, name: str, chance: np.random.Generator) -> Any:
    if name.startswith("size") or name.endswith("sizes"):
        # A size of 0 removes a level; huge ones stay what they are.
        factor = np.where(np.abs(values) < 2**60, chance.uniform(0.2, 3.0, len(values)), 1.0)
        return np.where(np.abs(values) < 2**60, (values * factor).astype("int64", casting="unsafe"), values)
    return values + chance.integers(-50, 50)


def repeated(folder: Path, repeats: int) -> pa.Table:
    """Return the rows of a topic, repeated, in the order of their receipt."""
    chance = np.random.default_rng(1)
    rows = ds.dataset(folder, format="parquet", partitioning=None).to_table().combine_chunks()
    made = [
        pa.table(
            [changed(rows.column(name), name, repeat, chance) for name in rows.column_names], names=rows.column_names
        )
        for repeat in range(repeats)
    ]
    return pa.concat_tables(made).sort_by("received_time").combine_chunks()


def write(rows: pa.Table, kind: type[Record], level: int, group: int, path: Path) -> tuple[float, float]:
    """Return bytes and microseconds of CPU a row."""
    chosen = {**options(kind, rows.schema), "compression_level": level, "sorting_columns": None}
    begin = time.process_time()
    with pq.ParquetWriter(path, rows.schema, **chosen) as writer:
        writer.write_table(rows, row_group_size=group)
    return path.stat().st_size / rows.num_rows, (time.process_time() - begin) / rows.num_rows * 1e6


def with_decimals(rows: pa.Table, kind: type[Record]) -> pa.Table:
    return pa.Table.from_batches([decimals.with_decimals(kind, part) for part in rows.to_batches()])


def query(path: Path, column: str, condition: str = "") -> float:
    """Return the milliseconds of CPU of a sum."""
    with duckdb.connect() as connection:
        connection.execute("SET threads = 1")
        best = float("inf")
        for _ in range(ROUNDS):
            begin = time.process_time()
            connection.execute(f"SELECT count(*), sum({column}) FROM '{path}' {condition}").fetchall()
            best = min(best, time.process_time() - begin)
    return best * 1e3


def topic(folder: Path, kind: type[Record], column: str, repeats: int, place: Path) -> None:
    by_time = repeated(folder, repeats)
    order = pc.sort_indices(by_time, [(name, "ascending") for name in ("_partition", "venue", "symbol", OFFSET)])
    by_instrument = by_time.take(order).combine_chunks()
    print(f"{folder.name}: {by_time.num_rows:,} rows, {by_time.nbytes // by_time.num_rows} bytes of Arrow a row")
    path = place / "x.parquet"
    for level in LEVELS:
        told = [write(rows, kind, level, SORTED_ROWS, path) for rows in (by_instrument, by_time)]
        (size, cpu), (size_by_time, cpu_by_time) = told
        print(
            f"  zstd {level:2}   by instrument {size:6.2f} bytes, {cpu:6.2f} µs a row"
            f"   by time {size_by_time:6.2f} bytes, {cpu_by_time:6.2f} µs"
        )
    size, cpu = write(with_decimals(by_instrument, kind), kind, 3, SORTED_ROWS, path)
    print(f"  zstd  3   by instrument {size:6.2f} bytes, {cpu:6.2f} µs a row with decimals")
    venue, symbol = (by_instrument.column(name)[by_instrument.num_rows // 2].as_py() for name in ("venue", "symbol"))
    condition = f"WHERE venue = '{venue}' AND symbol = '{symbol}'"
    for group in GROUPS:
        size, cpu = write(by_instrument, kind, 3, group, path)
        whole, one = query(path, column), query(path, column, condition)
        print(
            f"  row groups of {group:9,}: {size:6.2f} bytes, {cpu:5.2f} µs a row;"
            f" all rows {whole:6.1f} ms, {venue} {symbol} {one:6.1f} ms"
        )


def main() -> None:
    root, repeats = Path(sys.argv[1]), int(sys.argv[2]) if len(sys.argv) > 2 else 60
    with tempfile.TemporaryDirectory() as place:
        topic(root / "md.trades", Trade, "price", repeats, Path(place))
        topic(root / "md.l2", L2Update, "list_sum(bid_sizes)", repeats, Path(place))


if __name__ == "__main__":
    main()
