"""What queries cost a ClickHouse sink with the embedded database that answers them while it stores records.

``python -m tests.benchmarks.bench_sql_beside [--rate 500] [--seconds 20] [--rounds 3]``: a sink's process on the
in-memory broker; by turns nobody asks, somebody runs ``alphapulse sql`` again and again (a process for each query, as a
person or a script would), and a client asks as fast as the sink answers. Processor time of the sink's process, the time
that its writes take, and its lag.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import re
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final

from alphapulse.brokers.memory.broker import EmbeddedBroker
from alphapulse.config import KafkaSettings, LogSettings, Settings
from alphapulse.kafka import producer, running
from alphapulse.logs import configure
from schemas.codec import Codec
from schemas.records import TOPIC_OF, Record, key_of
from sinks.clickhouse.database import query
from sinks.clickhouse.library import library
from tests.benchmarks.stopwatch import cpu_seconds
from tests.fixtures.records import l2, trade
from tests.fixtures.sink_process import Process, until

SYMBOLS: Final = 9
ASKED: Final = ("latest_trades", "ohlcv", "busiest_minutes")
VALUES: Final = {"venue": "kraken", "symbol": "BTC-U0"}
WARM_UP_SECONDS: Final = 8.0


@dataclass
class Figures:
    """Of one kind of rounds, added up: seconds, except where the name says otherwise."""

    wall: float = 0.0
    processor: float = 0.0
    records: int = 0
    writes: int = 0
    writing: float = 0.0
    slow_writes: int = 0
    lag: int = 0
    queries: int = 0


@dataclass(frozen=True, slots=True)
class Counts:
    """A sink's counters at a moment."""

    at: float
    processor: float
    records: int
    writes: int
    writing: float
    quick: int


def counts(process: Process, pid: int) -> Counts:
    told, port = process.status(), announced(process)["ops_port"]
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=30) as answer:
        text = answer.read().decode()

    def metric(name: str) -> float:
        found = re.search(rf"^{re.escape(name)} (\S+)$", text, re.MULTILINE)
        return float(found[1]) if found is not None else 0.0

    return Counts(
        time.perf_counter(),
        cpu_seconds(pid),
        int(told["records"]),
        int(metric("alphapulse_sink_write_seconds_count")),
        metric("alphapulse_sink_write_seconds_sum"),
        int(metric('alphapulse_sink_write_seconds_bucket{le="0.25"}')),
    )


def announced(process: Process) -> dict[str, Any]:
    """Return what the sink tells in its run file."""
    path = process.settings.data_dir / "run" / "sink-clickhouse.json"
    found: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    return found


async def publish(settings: Settings, rate: int, ended: asyncio.Event) -> None:
    """Publish trades and updates of books, by halves, at a rate, until told to end."""
    codec = Codec()
    made: list[Callable[[int], Record]] = [
        lambda number: trade(number, symbol=f"BTC-U{number % SYMBOLS}", received_time=time.time_ns()),
        lambda number: replace(l2(number, symbol=f"BTC-U{number % SYMBOLS}"), received_time=time.time_ns()),
    ]
    began, number = time.perf_counter(), 0
    async with running(producer(settings.kafka, client_id="load"), settings.kafka) as sink:
        while not ended.is_set():
            while number < (time.perf_counter() - began) * rate:
                record = made[number % 2](number // 2)
                await sink.send(TOPIC_OF[type(record)], codec.encode(record), key=key_of(record))
                number += 1
            await asyncio.sleep(0.02)


def commands(settings: Settings, until_time: float) -> int:
    """Run the command again and again; return how often."""
    number = 0
    while time.perf_counter() < until_time:
        name = ASKED[number % len(ASKED)]
        given = [f"-p{key}={value}" for key, value in _given(name).items()]
        subprocess.run(
            [sys.executable, "-m", "alphapulse.cli", "sql", "--data-dir", str(settings.data_dir), name, *given],
            stdout=subprocess.DEVNULL,
            check=True,
        )
        number += 1
    return number


def questions(settings: Settings, until_time: float) -> int:
    """Ask again and again without a process of its own for each query; return how often."""
    number = 0
    while time.perf_counter() < until_time:
        one = library()[ASKED[number % len(ASKED)]]
        b"".join(query(settings.data_dir, settings.clickhouse.database, one.text, "TSV", one.values(_given(one.name))))
        number += 1
    return number


def _given(name: str) -> dict[str, str]:
    taken = {one.name for one in library()[name].parameters}
    return {key: value for key, value in VALUES.items() if key in taken}


def idle(settings: Settings, until_time: float) -> int:
    """Ask nothing."""
    time.sleep(max(until_time - time.perf_counter(), 0))
    return 0


async def main(rate: int, seconds: float, rounds: int) -> None:
    configure(LogSettings(level="ERROR"), service="bench")
    found = {"nobody asks": Figures(), "alphapulse sql, again and again": Figures(), "asked without pause": Figures()}
    work = dict(zip(found, (idle, commands, questions), strict=True))
    with tempfile.TemporaryDirectory() as place, EmbeddedBroker() as broker:
        settings = Settings(data_dir=Path(place), kafka=broker.settings(KafkaSettings()))
        process, ended = Process("clickhouse", settings), asyncio.Event()
        process.start()
        try:
            await until(lambda: bool(process.status().get("ready")), "the sink does not come up")
            load = asyncio.create_task(publish(settings, rate, ended))
            await asyncio.sleep(WARM_UP_SECONDS)
            pid = int(announced(process)["pid"])
            for _ in range(rounds):
                for name, figures in found.items():
                    before = await asyncio.to_thread(counts, process, pid)
                    figures.queries += await asyncio.to_thread(work[name], settings, before.at + seconds)
                    after = await asyncio.to_thread(counts, process, pid)
                    figures.wall += after.at - before.at
                    figures.processor += after.processor - before.processor
                    figures.records += after.records - before.records
                    figures.writes += after.writes - before.writes
                    figures.writing += after.writing - before.writing
                    figures.slow_writes += after.writes - before.writes - (after.quick - before.quick)
                    figures.lag = max(figures.lag, int(process.status().get("lag", 0)))
            ended.set()
            await load
        finally:
            process.kill()
            process.log.close()
    tell(found)


def tell(found: dict[str, Figures]) -> None:
    """Print a table."""
    alone = found["nobody asks"]
    for name, one in found.items():
        asked = one.queries / one.wall
        extra = one.processor / one.wall - alone.processor / alone.wall
        each = f", {extra / asked * 1000:.1f} ms of the processor a query" if one.queries else ""
        print(
            f"  {name:<32} {one.records / one.wall:5.0f} records/s  {one.processor / one.wall * 100:5.1f} % of a core"
            f"  {one.processor / one.records * 1e6:6.1f} µs a record  a write {one.writing / one.writes * 1000:.1f} ms,"
            f" {one.slow_writes} of {one.writes} longer than 250 ms  lag ≤ {one.lag}  {asked:.1f} queries/s{each}"
        )


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rate", type=int, default=500)
    parser.add_argument("--seconds", type=float, default=20)
    parser.add_argument("--rounds", type=int, default=3)
    options = parser.parse_args()
    asyncio.run(main(options.rate, options.seconds, options.rounds))
