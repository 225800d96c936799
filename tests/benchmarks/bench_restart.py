"""From ``kill -9`` of a collector under its supervisor to the first new snapshot of every book on the broker.

``python -m tests.benchmarks.bench_restart [--kills N] [--busy] [--case TEXT]``

Every kill strikes a collector that has lived and collected for a while; each gets a supervisor's child of its own. The
clock runs from the signal until a reader of ``md.l2`` has the SNAPSHOT of the last instrument, so the broker's
acknowledgement and a fetch are in it. The baseline, in the same run: an interpreter that does nothing, and one that
imports aiokafka and nothing else. "No spare" is a collector that is killed while none stands by
(:mod:`alphapulse.supervisor.standby`). ``--busy`` keeps one core busy meanwhile. Apache Kafka is left out, saying so,
where Java or Maven is missing.
"""

from __future__ import annotations

import argparse
import asyncio
import logging
import os
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

from aiokafka import AIOKafkaConsumer, TopicPartition

from alphapulse import kafka, logs, topics
from alphapulse.brokers.kafka import install as kafka_install
from alphapulse.cli.stack import BrokerKind, Stack
from alphapulse.config import LogSettings, Settings, VenueSettings
from alphapulse.supervisor.supervisor import ChildSpec, Supervisor
from schemas.codec import Codec
from schemas.records import L2Update

SETTLE_SECONDS = 6.0
"""Between a collector's first snapshots and its kill; the spare is ready by then."""
PATIENCE_SECONDS = 60.0
BYTECODE = Path(__file__).resolve().parents[2] / ".pytest_cache" / "bytecode"
BASELINES = {"python -c pass": "pass", "python -c 'import aiokafka'": "import aiokafka"}
MAJORS = ("BTC-USD", "ETH-USD", "SOL-USD")
FIFTY = tuple(f"{first}{second}X-USD" for first in "ABCDE" for second in "ABCDEFGHIJ")


@dataclass(frozen=True)
class Case:
    """What is killed."""

    venue: str
    symbols: tuple[str, ...]
    rate: float
    broker: BrokerKind = "embedded"
    spare: bool = True

    @property
    def name(self) -> str:
        return f"{self.venue}, {len(self.symbols)} books, {self.broker}{'' if self.spare else ', no spare'}"


CASES = (
    Case("kraken", MAJORS, 30.0),
    Case("kraken", MAJORS, 30.0, spare=False),
    Case("binance", MAJORS, 30.0),
    Case("kraken", FIFTY, 5.0),
    Case("kraken", MAJORS, 30.0, "kafka"),
)


class Books:
    """A reader of ``md.l2`` that notes when the snapshots come."""

    def __init__(self, reader: AIOKafkaConsumer) -> None:
        self._reader = reader
        self._codec = Codec()
        self.snapshots: dict[str, tuple[int, float]] = {}
        """Symbol → (received time, ns since the epoch; when it was read here, on the monotonic clock)."""

    async def read(self) -> None:
        """Read for ever, what comes from now on."""
        partitions = [TopicPartition(topics.L2, number) for number in range(12)]
        self._reader.assign(partitions)
        await self._reader.seek_to_end()
        while True:
            for messages in (await self._reader.getmany(timeout_ms=1000)).values():
                now = time.perf_counter()
                for message in messages:
                    record = self._codec.decode(message.value)
                    if isinstance(record, L2Update) and record.kind == "SNAPSHOT":
                        self.snapshots[record.symbol] = record.received_time, now

    async def since(self, moment_ns: int, symbols: Sequence[str]) -> float:
        """Return when the last of ``symbols`` had a snapshot received after ``moment_ns``, on the monotonic clock."""
        async with asyncio.timeout(PATIENCE_SECONDS):
            while not all(self.snapshots.get(symbol, (0, 0.0))[0] > moment_ns for symbol in symbols):
                await asyncio.sleep(0.002)
        return max(self.snapshots[symbol][1] for symbol in symbols)


async def measure(case: Case, kills: int, folder: Path) -> list[float]:
    """Return the seconds each kill took."""
    async with Supervisor(folder) as supervisor:
        stack = Stack(supervisor, Settings(data_dir=folder))
        await stack.start_broker(case.broker)
        arguments = ("--venues", case.venue, "--symbols", ",".join(case.symbols), "--rate", str(case.rate))
        await supervisor.start(ChildSpec("simulator", "producers.simulator", stack.settings, arguments))
        told = (await supervisor.announcement("simulator", "venues"))["venues"][case.venue]
        feed = VenueSettings(symbols=case.symbols, websocket_url=told["websocket_url"], rest_url=told["rest_url"])
        reader = kafka.consumer(stack.settings.kafka, group_id=None, client_id="bench")
        async with kafka.running(reader, stack.settings.kafka):
            books = Books(reader)
            reading = asyncio.create_task(books.read())
            try:
                return [await kill(stack, books, case, feed) for _ in range(kills)]
            finally:
                reading.cancel()
                await asyncio.gather(reading, return_exceptions=True)


async def kill(stack: Stack, books: Books, case: Case, feed: VenueSettings) -> float:
    """Start a collector, kill it, and return after how many seconds every book was there again."""
    began = time.time_ns()
    await stack.start_collector("collector", case.venue, feed, lasting=case.spare)
    await books.since(began, case.symbols)
    await asyncio.sleep(SETTLE_SECONDS)
    pid = stack.supervisor.children["collector"].pid
    if pid is None:
        raise RuntimeError("the collector ended")
    moment, at = time.time_ns(), time.perf_counter()
    os.kill(pid, signal.SIGKILL)
    seconds = await books.since(moment, case.symbols) - at
    await stack.supervisor.stop("collector")
    return seconds


def baseline(program: str, runs: int = 5) -> float:
    """Return the median seconds of an interpreter that runs ``program``."""
    found = []
    for _ in range(runs):
        began = time.perf_counter()
        subprocess.run([sys.executable, "-c", program], check=True)
        found.append(time.perf_counter() - began)
    return statistics.median(found)


def main() -> int:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kills", type=int, default=5, help="of each case (default 5)")
    parser.add_argument("--busy", action="store_true", help="keep one core busy meanwhile")
    parser.add_argument("--case", default="", help="only the cases whose name holds this text")
    options = parser.parse_args()
    if os.environ.pop("PYTHONDONTWRITEBYTECODE", None) is not None:
        # Each process would compile every module again, which no installation does.
        os.environ["PYTHONPYCACHEPREFIX"] = str(BYTECODE)
    logs.configure(LogSettings(level="ERROR"), service="bench")  # the deaths are meant
    logging.getLogger("aiokafka").setLevel(logging.CRITICAL)  # topics that were made a moment ago
    bases = {name: baseline(program) for name, program in BASELINES.items()}
    for name, seconds in bases.items():
        print(f"{name:38} {seconds:8.3f} s")
    unit = bases["python -c 'import aiokafka'"]
    print(f"{'kill to a new snapshot of every book':38} {'median':>8}   {'worst':>8}   x import aiokafka", flush=True)
    with ExitStack() as after:
        if options.busy:
            spinner = subprocess.Popen([sys.executable, "-c", "while True: pass"])
            after.callback(spinner.wait)
            after.callback(spinner.kill)
        for case in CASES:
            if options.case not in case.name:
                continue
            if case.broker == "kafka" and (lacking := kafka_install.missing()) is not None:
                print(f"{case.name:38} left out: {lacking}")
                continue
            with tempfile.TemporaryDirectory() as folder:
                took = asyncio.run(measure(case, options.kills, Path(folder)))
            median = statistics.median(took)
            load = f"load {os.getloadavg()[0]:.1f}"
            print(f"{case.name:38} {median:8.3f} s {max(took):8.3f} s {median / unit:8.1f}   {load}", flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
