"""Queries of the library on generated rows: how long they take, and what their plans read.

``python -m tests.benchmarks.bench_sql [--rows 10000000] [--folder DIR] [--write]``, on the embedded engine, each query
as the sink answers it on a session that it holds ready (check, query, result). ``--folder`` keeps the tables there, or
uses what it holds; ``--write`` puts times and plans into docs/clickhouse.md.
"""

from __future__ import annotations

import argparse
import asyncio
import statistics
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

from alphapulse.config import LogSettings, Settings
from alphapulse.logs import configure
from sinks.clickhouse.engine import Engine
from sinks.clickhouse.library import library
from sinks.clickhouse.readonly import ask
from sinks.clickhouse.tables import migrate, tune
from tests.benchmarks.page import write_part
from tests.fixtures.generated_rows import Market, generate
from tests.fixtures.query_plans import QUESTIONS, Question, Read, reads, session


@dataclass(frozen=True, slots=True)
class Figures:
    """A question's times, ms: the median, the least, of the processor; and what its plan reads."""

    question: Question
    median: float
    least: float
    processor: float
    plan: list[Read]


def timed(engine: Engine, question: Question, market: Market, rounds: int) -> Figures:
    """Ask a question again and again."""
    text, values = library()[question.name].text, question.bound(market)
    took, used = [], []
    for _ in range(rounds + 2):
        with session(engine) as client:
            began, cpu = time.perf_counter(), time.process_time()
            ask(client, text, "ArrowStream", values)
            took.append((time.perf_counter() - began) * 1000)
            used.append((time.process_time() - cpu) * 1000)
    # The first two read files that are not in the memory of the machine yet.
    took, used = took[2:], used[2:]
    return Figures(
        question, statistics.median(took), min(took), statistics.median(used), reads(engine, question, market)
    )


def table(found: list[Figures], rows: int) -> str:
    """Return the page's table."""
    lines = [
        f"{rows:,} rows:",
        "",
        "| query | | goal, ms | median, ms | processor, ms | granules read |",
        "|---|---|---:|---:|---:|---|",
    ]
    for one in found:
        goal = "" if one.question.goal_ms is None else f"{one.question.goal_ms}"
        plan = "; ".join(map(str, one.plan))
        times = f"{one.median:.0f} | {one.processor:.0f}"
        lines.append(f"| `{one.question.name}` | {one.question.about} | {goal} | {times} | {plan} |")
    return "\n".join(lines) + "\n"


async def main(rows: int, folder: Path, rounds: int, *, write: bool) -> int:
    configure(LogSettings(level="ERROR"), service="bench")
    market = Market(rows)
    engine = Engine(Settings(data_dir=folder))
    await engine.open(asyncio.Event())
    await migrate(engine)
    await tune(engine)
    ((count,),) = await engine.rows("SELECT count() FROM trades")
    if not count:
        began = time.perf_counter()
        await generate(engine, market)
        print(f"generated in {time.perf_counter() - began:.0f} s")
    sizes = await engine.rows(
        "SELECT table, sum(rows), count(), sum(bytes_on_disk), uniqExact(partition) FROM system.parts WHERE active "
        "AND database = currentDatabase() AND table != 'migrations' GROUP BY table ORDER BY table"
    )
    for name, of, parts, size, partitions in sizes:
        print(f"  {name:<10} {of:>12,} rows, {parts} parts in {partitions} partitions, {size / 1e6:,.0f} MB")
    total = sum(int(row[1]) for row in sizes)
    found = []
    for question in QUESTIONS:
        found.append(await asyncio.to_thread(timed, engine, question, market, rounds))
        print(table(found[-1:], total).splitlines()[-1], flush=True)
        print(f"    median {found[-1].median:.1f} ms, least {found[-1].least:.1f} ms", flush=True)
    await engine.close()
    missed = [one for one in found if one.question.goal_ms is not None and one.median > one.question.goal_ms]
    for one in missed:
        print(f"{one.question.name}: {one.median:.1f} ms, the goal is {one.question.goal_ms}", file=sys.stderr)
    if write:
        write_part("clickhouse.md", "bench_sql", table(found, total))
    return 1 if missed else 0


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=10_000_000)
    parser.add_argument("--folder", type=Path, help="default: a temporary one")
    parser.add_argument("--rounds", type=int, default=15, help="of which the median is taken")
    parser.add_argument("--write", action="store_true")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as place:
        sys.exit(asyncio.run(main(options.rows, options.folder or Path(place), options.rounds, write=options.write)))
