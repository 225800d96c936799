"""Parquet files compared with the source, by three readers: each must open every file and find the same rows."""

from __future__ import annotations

from collections.abc import Mapping
from decimal import localcontext
from pathlib import Path
from typing import Any, Final

import clickhouse_connect
import duckdb
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from alphapulse import topics
from sinks.parquet.local import WORK, LocalStore
from sinks.parquet.verification import verify
from tests.kills.queries import difference, of_rows, parsed, rows_wanted
from tests.kills.source import Expected, RowSums

TOPICS: Final = (topics.TRADES, topics.L2)
_LOCKS: Final = {"swap.lock", "compact.lock"}
_SUMMED: Final = {
    topics.TRADES: ("price", "size"),
    topics.L2: ("sequence", "bid_prices", "bid_sizes", "ask_prices", "ask_sizes"),
}


def in_files(root: Path, expected: Expected, scratch: Path) -> list[str]:
    """Return how the files under ``root`` differ from the source, and what else is wrong with them.

    Args:
        scratch: folder for chDB's own files.
    """
    found = left_over(root)
    store = LocalStore(root)
    found += [f"folder {name}: not a topic of the sink" for name in store.topics() if name not in TOPICS]
    for topic in TOPICS:
        faults = verify(store, topic, deep=True).faults
        found += [f"verify: {fault.kind}: {fault.path}: {fault.text}" for fault in faults]
        places = sorted((root / topic).glob("date=*/hour=*/*.parquet"))
        wanted = expected.rows[topic]
        found += difference(f"{topic} in pyarrow", _in_pyarrow(topic, places), _sums_wanted(wanted))
        found += difference(f"{topic} in DuckDB", _in_duckdb(topic, root), [(len(places),), *_sums_wanted(wanted)])
    client = clickhouse_connect.get_client(dsn=f"chdb://{scratch}")
    try:
        for topic in TOPICS:
            files = len(list((root / topic).glob("date=*/hour=*/*.parquet")))
            place = f"file('{root}/{topic}/*/*/*.parquet', Parquet)"
            with localcontext(prec=100):
                rows = parsed(client.raw_query(of_rows(topic, place), fmt="TabSeparated"))
                found += difference(f"{topic} in chDB", rows, rows_wanted(expected.rows[topic]))
                opened = parsed(client.raw_query(f"SELECT uniqExact(_path) FROM {place}", fmt="TabSeparated"))
                found += difference(f"files of {topic} opened by chDB", opened, [(files,)])
    finally:
        client.close()
    return found


def left_over(root: Path) -> list[str]:
    """Return what lies under ``root`` and is neither a finished file nor a lock."""
    odd = [path for path in root.rglob("*") if path.is_file() and path.suffix != ".parquet"]
    odd += [path for path in (root / WORK).rglob("*") if path.is_dir()]
    return [
        f"left over: {path.relative_to(root)}"
        for path in sorted(odd)
        if not (path.parent == root / WORK and path.name in _LOCKS)
    ]


def _sums_wanted(rows: Mapping[int, RowSums]) -> list[tuple[Any, ...]]:
    return [(partition, of.rows, of.first, of.last, of.offsets, *of.sums) for partition, of in sorted(rows.items())]


def _in_pyarrow(topic: str, places: list[Path]) -> list[tuple[Any, ...]]:
    """Sum up the rows of each partition, file by file."""
    sums: dict[int, list[int]] = {}
    for place in places:
        table: Any = pq.read_table(place, columns=["_partition", "_offset", *_SUMMED[topic]], partitioning=None)
        (partition,) = pc.unique(table.column("_partition")).to_pylist()
        ends: Any = pc.min_max(table.column("_offset")).as_py()
        figures = [_sum(table.column(name)) for name in ("_offset", *_SUMMED[topic])]
        there = sums.setdefault(partition, [0, ends["min"], ends["max"], *[0] * len(figures)])
        there[0] += table.num_rows
        there[1] = min(there[1], ends["min"])
        there[2] = max(there[2], ends["max"])
        for at, figure in enumerate(figures, start=3):
            there[at] += figure
    return [(partition, *of) for partition, of in sorted(sums.items())]


def _sum(column: Any) -> int:
    if pa.types.is_list(column.type):
        column = pc.list_flatten(column)
    return int(pc.sum(column).as_py() or 0)


def _in_duckdb(topic: str, root: Path) -> list[tuple[Any, ...]]:
    """Return the number of files that have rows, then the sums of each partition."""
    place = f"read_parquet('{root}/{topic}/*/*/*.parquet', filename = true)"
    columns = [
        f"sum(coalesce(list_sum({name}), 0)::HUGEINT)" if name[:3] in ("bid", "ask") else f"sum({name}::HUGEINT)"
        for name in _SUMMED[topic]
    ]
    sums = ", ".join(["sum(_offset::HUGEINT)", *columns])
    with duckdb.connect() as connection:
        rows = connection.execute(f"SELECT count(DISTINCT filename) FROM {place}").fetchall()
        rows += connection.execute(
            f"SELECT _partition, count(*), min(_offset), max(_offset), {sums} FROM {place} GROUP BY 1 ORDER BY 1"
        ).fetchall()
    return [tuple(map(int, row)) for row in rows]
