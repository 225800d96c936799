"""Bytes of books in ClickHouse and in Parquet against the frames that they were made of, for each recording.

``python -m tests.benchmarks.bench_compression [--write]``: frames as the venues sent them, only those that became
records of ``md.l2``; the table after merging (compressed columns), files as the Parquet sink writes them.
``--write`` puts the table into docs/clickhouse.md.
"""

from __future__ import annotations

import argparse
import asyncio
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import pyarrow as pa
import pyarrow.parquet as pq

from alphapulse.config import LogSettings, Settings
from alphapulse.logs import configure
from schemas.records import L2Update
from sinks.clickhouse.engine import Engine
from sinks.clickhouse.tables import migrate, tune
from sinks.columns import batch
from sinks.parquet.encodings import options as encodings
from tests import recordings
from tests.fixtures.book_frames import book_frames
from tests.recordings import Recording

PAGE: Final = Path(__file__).resolve().parents[2] / "docs" / "clickhouse.md"
BEGIN: Final = "<!-- made by tests/benchmarks/bench_compression.py: begin -->\n"
END: Final = "<!-- end -->\n"


@dataclass(frozen=True, slots=True)
class Sizes:
    """Bytes: of the frames, of the table's columns, of a file."""

    name: str
    frames: int
    records: int
    raw: int
    table: int
    file: int


async def sizes(engine: Engine, recording: Recording, place: Path) -> Sizes | None:
    """Return the sizes of a recording's books; None where it has none."""
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
    path = place / f"{recording}.parquet"
    with pq.ParquetWriter(path, rows.schema, **encodings(L2Update)) as writer:
        writer.write_table(rows)
    return Sizes(str(recording), found.frames, len(found.records), found.size, int(table), path.stat().st_size)


def lines(found: list[Sizes]) -> list[str]:
    """Return the page's table."""
    text = ["| recording | frames | bytes | ClickHouse, bytes | ratio | Parquet, bytes | ratio |"]
    text.append("|---|" + "---:|" * 6)
    text += [
        f"| {one.name} | {one.frames:,} | {one.raw:,} | {one.table:,} | {one.raw / one.table:.1f} | {one.file:,} | "
        f"{one.raw / one.file:.1f} |"
        for one in found
    ]
    return text


async def main(*, write: bool) -> None:
    configure(LogSettings(level="ERROR"), service="bench")
    found = []
    with tempfile.TemporaryDirectory() as place:
        engine = Engine(Settings(data_dir=Path(place)))
        await engine.open(asyncio.Event())
        await migrate(engine)
        await tune(engine)
        for recording in recordings.found():
            one = await sizes(engine, recording, Path(place))
            if one is not None:
                found.append(one)
                print(lines([one])[-1], flush=True)
        await engine.close()
    if write:
        text = PAGE.read_text(encoding="utf-8")
        before, _, rest = text.partition(BEGIN)
        _, _, after = rest.partition(END)
        made = "\n".join(lines(found))
        PAGE.write_text(f"{before}{BEGIN}\n{made}\n\n{END}{after}", encoding="utf-8")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--write", action="store_true")
    asyncio.run(main(write=parser.parse_args().write))
