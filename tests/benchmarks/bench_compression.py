"""Bytes of books in ClickHouse and in Parquet against the frames that they were made of, for each recording.

``python -m tests.benchmarks.bench_compression [--write] [--columns]``: frames as the venues sent them (their text, with
neither the recorder's times nor compression), only those that became records of ``md.l2``; the table after merging
(compressed columns), files as the Parquet sink writes them, and as compaction does. Parts of the table have a file for
each column, as those of more than 10 MB have. ``--write`` puts the table into docs/clickhouse.md, ``--columns`` prints
where the bytes of the table are.
"""

from __future__ import annotations

import argparse
import asyncio
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Final

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from alphapulse.config import LogSettings, Settings
from alphapulse.logs import configure
from schemas.records import L2Update
from sinks.clickhouse.engine import Engine
from sinks.clickhouse.tables import migrate, tune
from sinks.columns import OFFSET, batch
from sinks.parquet.encodings import compacted
from sinks.parquet.encodings import options as encodings
from tests import recordings
from tests.benchmarks.page import write_part
from tests.fixtures.book_frames import book_frames
from tests.recordings import Recording

SIMULATED: Final = "_simulated"


@dataclass(frozen=True, slots=True)
class Sizes:
    """Bytes: of the frames, of the table's columns, of a file, of a compacted file."""

    name: str
    frames: int
    records: int
    raw: int
    table: int
    file: int
    compacted: int


def whole(name: str, found: Sequence[Sizes]) -> Sizes:
    """Return the sums of several recordings."""
    return Sizes(
        name, *(sum(getattr(one, field.name) for one in found) for field in fields(Sizes) if field.name != "name")
    )


async def sizes(engine: Engine, recording: Recording, place: Path, *, columns: bool) -> Sizes | None:
    """Return the sizes of a recording's books; None where it has none. Print those of the table's columns if asked."""
    found = book_frames(recording)
    if not found.records:
        return None
    rows = pa.Table.from_batches([batch(L2Update, found.records, 0, range(len(found.records)))])
    life = pa.DictionaryArray.from_arrays(pa.repeat(pa.scalar(0, pa.int32()), rows.num_rows), pa.array(["life"]))
    await engine.command("TRUNCATE TABLE l2")
    await engine.insert("l2", rows.append_column("_incarnation", life).unify_dictionaries().combine_chunks(), {})
    await engine.command("OPTIMIZE TABLE l2 FINAL")
    ((table,),) = await engine.rows(
        "SELECT sum(data_compressed_bytes) FROM system.parts "
        "WHERE active AND database = currentDatabase() AND table = 'l2'"
    )
    if columns:
        told = await engine.rows(
            "SELECT column, column_data_compressed_bytes FROM system.parts_columns WHERE active "
            "AND database = currentDatabase() AND table = 'l2' ORDER BY column_data_compressed_bytes DESC"
        )
        print(f"{recording}: " + ", ".join(f"{name} {size:,}" for name, size in told))
    path = place / f"{recording}.parquet"
    with pq.ParquetWriter(path, rows.schema, **encodings(L2Update)) as writer:
        writer.write_table(rows)
    joined = place / f"{recording}-compacted.parquet"
    # As compaction reads them: texts, no dictionaries.
    read = pq.read_table(path)
    order = pc.sort_indices(read, [(name, "ascending") for name in ("venue", "symbol", OFFSET)])
    with pq.ParquetWriter(joined, read.schema, **compacted(L2Update, read.schema)) as writer:
        writer.write_table(read.take(order).combine_chunks())
    return Sizes(
        *(str(recording), found.frames, len(found.records), found.size, int(table)),
        *(path.stat().st_size, joined.stat().st_size),
    )


def lines(found: list[Sizes]) -> list[str]:
    """Return the page's table."""
    text = ["| recording | frames | bytes | ClickHouse, bytes | ratio | Parquet, bytes | ratio | compacted | ratio |"]
    text.append("|---|" + "---:|" * 8)
    text += [
        f"| {one.name} | {one.frames:,} | {one.raw:,} | "
        + " | ".join(f"{size:,} | {one.raw / size:.1f}" for size in (one.table, one.file, one.compacted))
        + " |"
        for one in found
    ]
    return text


async def main(*, write: bool, columns: bool) -> None:
    configure(LogSettings(level="ERROR"), service="bench")
    found = []
    with tempfile.TemporaryDirectory() as place:
        engine = Engine(Settings(data_dir=Path(place)))
        await engine.open(asyncio.Event())
        await migrate(engine)
        await tune(engine)
        await engine.command("ALTER TABLE l2 MODIFY SETTING min_bytes_for_wide_part = 0, min_rows_for_wide_part = 0")
        for recording in recordings.found():
            one = await sizes(engine, recording, Path(place), columns=columns)
            if one is not None:
                found.append(one)
                print(lines([one])[-1], flush=True)
        await engine.close()
    simulated = [one for one in found if SIMULATED in one.name]
    real = [one for one in found if SIMULATED not in one.name]
    sums = [whole(name, some) for name, some in (("simulated", simulated), ("real venues", real)) if some]
    print("\n".join(lines(sums)[2:]))
    if write:
        write_part("clickhouse.md", "bench_compression", "\n".join(lines([*found, *sums])))


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--write", action="store_true")
    parser.add_argument("--columns", action="store_true")
    options = parser.parse_args()
    asyncio.run(main(write=options.write, columns=options.columns))
