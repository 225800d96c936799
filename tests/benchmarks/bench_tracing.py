"""What traces cost per record in the collector and in the processors: off, at the default ratio, and of every frame.

``python -m tests.benchmarks.bench_tracing [--baseline CHECKOUT] [--rounds N]``. The publisher with a client that
acknowledges at once, and the worker's application of L2 records (each a change of the top, 20 ms apart) with its
publisher; nothing else of the services. Processor time of the process, the exporting thread and the first export
included; the spans go to a receiver in this process. Each round is a process for each contender, in turns.
``--baseline`` is another commit's tree, measured by this program. For the whole stack: ``bench_quiet --traced``.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from alphapulse import topics
from alphapulse.config import PublisherSettings, Settings
from alphapulse.service import Service
from producers.collector.publisher import Publisher
from schemas.codec import Codec
from schemas.records import L2Update
from stream_processors.engine.ownership import OwnedPartition
from stream_processors.engine.worker import INPUTS, Worker, arbitrage_rules_of, rules_of
from stream_processors.processing.partition import Partition
from tests.fixtures.l2_feed import Feed

ROOT = Path(__file__).resolve().parents[2]
RECORDS = 20_000
SLICE = 200
STEP = 20_000_000
VARIABLE = "BENCH_TRACING_URL"


class Prompt:
    """A producer that acknowledges what it is given at the next poll."""

    def __init__(self) -> None:
        self._sent: list[Any] = []

    def send(self, topic: str, value: bytes, *, key: bytes, told: Any, headers: Any = None, placed: Any = None) -> bool:
        """Take a record."""
        self._sent.append((told, placed))
        return True

    def send_batch(self, topic: str, records: Any) -> None:
        """Take records."""
        self._sent += [(told, None) for _, _, told in records]

    def poll(self) -> None:
        """Acknowledge all."""
        sent, self._sent = self._sent, []
        for told, placed in sent:
            if placed is not None:
                placed(None, 3, 17, 0.001)
            told(None, 0.001)


def tracer_of(ratio: float) -> Any:
    """Return a tracer to the receiver, None for 0."""
    if not ratio:
        return None
    from alphapulse import tracing
    from alphapulse.config import TracingSettings

    return tracing.start(TracingSettings(endpoint=os.environ[VARIABLE], sample_ratio=ratio), "bench")


def updates() -> list[L2Update]:
    """Return records of one book."""
    feed = Feed("kraken", "BTC-USD", seed=7, levels=100, step=STEP, trade_every=0)
    return [feed.snapshot(), *(feed.delta(5) for _ in range(RECORDS - 1))]


async def collector(made: list[L2Update], tracer: Any) -> None:
    """Publish the records, one a turn."""
    more = (tracer,) if tracer is not None else ()
    publisher = Publisher(Prompt(), Codec(), PublisherSettings(), "kraken", *more)
    for update in made:
        publisher.publish(update)
        await asyncio.sleep(0)
    await publisher.flush()


async def processors(made: list[L2Update], tracer: Any, folder: Path) -> None:
    """Apply the records; what is made of them is acknowledged at once."""
    settings = Settings(data_dir=folder)
    service = Service("bench", settings)
    if tracer is not None:
        service.tracer = tracer
    worker = Worker(service)
    owned = OwnedPartition(Partition(3, rules_of(settings), arbitrage_rules_of(settings)))
    worker.ownership.partitions[3] = owned
    codec = Codec()
    consumed = []
    for offset, update in enumerate(made):
        headers: Any = ()
        if tracer is not None and tracer.sampled():
            headers = tracer.begin("collect", update.received_time, {}).context.headers
        consumed.append(
            SimpleNamespace(topic=topics.L2, partition=3, offset=offset, value=codec.encode(update), headers=headers)
        )
    _, apply = INPUTS[topics.L2]
    waiting = worker._outputs._waiting
    began = time.process_time()
    for start in range(0, len(consumed), SLICE):
        worker._apply(owned, topics.L2, consumed[start : start + SLICE], apply)
        for record in waiting:
            if len(record) > 4 and (placed := record[5]) is not None:
                placed(None, 3, 17, 0.001)
        waiting.clear()
    if tracer is not None:
        tracer.close(30.0)
    tell("processors", began)


def tell(stage: str, began: float) -> None:
    """Print a stage's processor time per record, µs."""
    print(json.dumps({stage: (time.process_time() - began) / RECORDS * 1e6}))


async def contender(ratio: float) -> None:
    """Be one contender."""
    made = updates()
    tracer = tracer_of(ratio)
    began = time.process_time()
    await collector(made, tracer)
    if tracer is not None:
        tracer.close(30.0)
    tell("collector", began)
    with tempfile.TemporaryDirectory() as folder:
        await processors(made, tracer_of(ratio), Path(folder))


def measured(checkout: Path, ratio: float, url: str) -> dict[str, float]:
    """Return stage → µs of one contender in a process of its own."""
    done = subprocess.run(
        [sys.executable, __file__, "--contender", f"{ratio:g}"],
        cwd=checkout,
        env={**os.environ, "PYTHONPATH": str(checkout), VARIABLE: url},
        capture_output=True,
        text=True,
        check=True,
    )
    found: dict[str, float] = {}
    for line in done.stdout.splitlines():
        if line.startswith("{"):  # the others are logs
            found |= json.loads(line)
    return found


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--baseline", type=Path)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--contender", type=float, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.contender is not None:
        asyncio.run(contender(options.contender))
        return
    from tests.fixtures.otlp import receiving

    contenders = {"off": (ROOT, 0.0), "0.001": (ROOT, 0.001), "1": (ROOT, 1.0)}
    if options.baseline is not None:
        contenders = {"before": (options.baseline.resolve(), 0.0), **contenders}
    found: dict[str, list[dict[str, float]]] = {name: [] for name in contenders}
    with receiving() as receiver:
        for _ in range(options.rounds):
            for name, (checkout, ratio) in contenders.items():
                found[name].append(measured(checkout, ratio, receiver.url))
                receiver.spans.clear()
    print("µs of processor time per record: median (range)")
    for stage in found["off"][0]:
        for name, rounds in found.items():
            values = [one[stage] for one in rounds]
            print(f"  {stage:<12}{name:<8}{statistics.median(values):8.2f} ({min(values):.2f}–{max(values):.2f})")


if __name__ == "__main__":
    main()
