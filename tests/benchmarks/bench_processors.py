"""What the Faust app costs per record: against a bare consumer that only decodes, in the same run.

``python -m tests.benchmarks.bench_processors [RECORDS]``. Each contender is a process of its own that reads the same L2
records (10 level changes each, books of 3,400 levels, as in the BTC recording) from an embedded broker, and tells
the CPU seconds it took from the first record to the last commit.

* ``bare``: an aiokafka ``getmany`` loop with decoding, nothing else.
* ``no-op``: the Faust app's transport, agents and commits with decoding, nothing else.
* ``books``: the whole processors, records 0.5 ms apart: 20 changes become one Depth (10 ms).
* ``depth``: the whole processors, records 100 ms apart, as Binance sends them: each change of the top is a Depth, which
  is read again for arbitrage.
"""

from __future__ import annotations

import asyncio
import json
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import uvloop

from alphapulse import kafka, topics
from alphapulse.brokers.memory.broker import EmbeddedBroker
from alphapulse.config import Settings, environment
from alphapulse.service import Service
from schemas.codec import Codec
from schemas.records import L2Update, key_of
from stream_processors.engine.worker import INPUTS, Worker
from tests.fixtures.l2_feed import Feed

LEVELS = 1_700
CHANGES = 5
"""A side."""
INSTRUMENTS = ("BTC-USD", "ETH-USD", "SOL-USD", "ADA-USD")
STEPS = {"bare": 500_000, "no-op": 500_000, "books": 500_000, "depth": 100_000_000}


async def fill(settings: Settings, records: int, step: int) -> None:
    """Produce ``records`` in all."""
    codec = Codec()
    async with kafka.running(kafka.producer(settings.kafka, client_id="bench"), settings.kafka) as producer:
        for number, symbol in enumerate(INSTRUMENTS):
            feed = Feed("kraken", symbol, seed=number, levels=LEVELS, step=step, trade_every=0)
            update = feed.snapshot()
            for _ in range(records // len(INSTRUMENTS)):
                await producer.send(topics.L2, codec.encode(update), key=key_of(update))
                update = feed.delta(CHANGES)
                feed.records.clear()
        await producer.flush()


async def bare(settings: Settings, records: int) -> dict[str, Any]:
    """Decode everything in a getmany loop."""
    codec = Codec()
    reader = kafka.consumer(settings.kafka, topics.L2, group_id="bare", client_id="bare")
    async with kafka.running(reader, settings.kafka):
        seen, begun, cpu = 0, 0.0, 0.0
        while seen < records:
            batches = await reader.getmany(timeout_ms=200)
            if batches and not begun:
                begun, cpu = time.monotonic(), time.process_time()
            for batch in batches.values():
                for record in batch:
                    codec.decode_as(L2Update, record.value)
                seen += len(batch)
            if batches:
                await reader.commit()
        return {"seconds": time.monotonic() - begun, "cpu": time.process_time() - cpu}


async def processors(settings: Settings, records: int, *, no_op: bool) -> dict[str, Any]:
    """Run the worker until it has committed everything."""
    if no_op:
        INPUTS[topics.L2] = (L2Update, lambda *_: None)
    service = Service("bench", settings)
    worker = Worker(service)
    running = asyncio.create_task(worker.run())
    begun, cpu = 0.0, 0.0
    while True:
        await asyncio.sleep(0.002)
        if running.done():
            running.result()
        if worker.records and not begun:
            begun, cpu = time.monotonic(), time.process_time()
        if begun and sum(worker.app.committed(topics.L2).values()) >= records:
            break
    told = {"seconds": time.monotonic() - begun, "cpu": time.process_time() - cpu, "published": worker.published}
    service.stopping.set()
    await running
    return told


async def contender(name: str, records: int) -> None:
    """Be one contender; the broker's address is in the environment."""
    from alphapulse import config

    settings = config.load()
    told = (
        await bare(settings, records) if name == "bare" else await processors(settings, records, no_op=name == "no-op")
    )
    print(json.dumps(told))


async def run(records: int) -> list[dict[str, Any]]:
    """Return the figures of all contenders."""
    import os

    figures: list[dict[str, Any]] = []
    for name, step in STEPS.items():
        with EmbeddedBroker() as broker, tempfile.TemporaryDirectory() as folder:
            settings = Settings(data_dir=Path(folder), kafka=broker.settings())
            await fill(settings, records, step)
            child = await asyncio.create_subprocess_exec(
                sys.executable,
                "-m",
                __spec__.name if __spec__ else "tests.benchmarks.bench_processors",
                "--contender",
                name,
                str(records),
                env=os.environ | environment(settings),
                stdout=asyncio.subprocess.PIPE,
            )
            out, _ = await child.communicate()
            figures.append({"contender": name, **json.loads(out.splitlines()[-1])})
    return figures


def main(arguments: list[str]) -> None:
    """Print records per second and CPU second of each contender, and the ratio to ``bare``."""
    if arguments[:1] == ["--contender"]:
        uvloop.run(contender(arguments[1], int(arguments[2])))
        return
    # The embedded broker keeps 5 MB a partition.
    records = int(arguments[0]) if arguments else 60_000
    figures = uvloop.run(run(records))
    base = figures[0]["cpu"]
    for one in figures:
        print(
            f"{one['contender']:6} {records / one['cpu']:9,.0f} records per CPU second  "
            f"{records / one['seconds']:9,.0f} per second  {base / one['cpu']:5.2f} of bare  {one.get('published', '')}"
        )


if __name__ == "__main__":
    main(sys.argv[1:])
