"""From the frame on the collector's socket to the message on a client's socket, hop by hop.

``python -m tests.benchmarks.bench_end_to_end [--rate 5000] [--seconds 15] [--broker embedded|kafka|both]
[--gather-ms 2]``

A process plays a Coinbase (:mod:`tests.benchmarks.bench_latency`) and notes when it wrote each frame. Collector, broker
and gateway are services of their own; a client here subscribes to the whole books (``l2``) and the trades of all four
symbols without conflation, so that each frame is one message. The n-th message of a symbol's channel comes of the n-th
frame of its kind. The baseline, in the same run: a bare librdkafka consumer of the two topics in this process; what it
adds to the collector's and broker's time is its own fetch. CPU is that of each service.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import sys
import tempfile
import time
from collections import defaultdict
from pathlib import Path
from typing import Any

import orjson
import uvloop
from aiokafka import TopicPartition
from websockets.asyncio.client import connect

from alphapulse import kafka, topics
from alphapulse.brokers.kafka import install as kafka_install
from alphapulse.cli import stack as parts
from alphapulse.cli.stack import BrokerKind, Stack
from alphapulse.config import GatewaySettings, Settings, VenueSettings
from alphapulse.supervisor.supervisor import Supervisor
from schemas.codec import Codec
from schemas.records import L2Update, Trade
from tests.benchmarks.bench_latency import SYMBOLS
from tests.benchmarks.stopwatch import cpu_seconds
from tests.load.figures import quantile

WARM_SECONDS = 3.0
Key = tuple[str, str]
"""Kind of the frame (``l2`` or ``trades``) and symbol."""


def keys(count: int) -> list[Key]:
    """Return what each of the player's frames is, in order."""
    return [("l2" if number % 5 else "trades", SYMBOLS[number % len(SYMBOLS)]) for number in range(count)]


class Arrivals:
    """Times (monotonic ns) at which the messages of each key arrived."""

    def __init__(self) -> None:
        self.at: defaultdict[Key, list[int]] = defaultdict(list)

    def delays(self, written: list[int], skipped: int) -> list[float]:
        """Return each frame's milliseconds from its writing to its arrival, without the first ``skipped`` frames."""
        places: defaultdict[Key, int] = defaultdict(int)
        found = []
        for number, (key, at) in enumerate(zip(keys(len(written)), written, strict=True)):
            place = places[key]
            places[key] = place + 1
            if number >= skipped:
                found.append((self.at[key][place] - at) / 1e6)
        return found


async def listen(url: str, arrivals: Arrivals, ready: asyncio.Event) -> None:
    """Be a client of the stream, until cancelled."""
    async with connect(f"{url.replace('http', 'ws', 1)}/ws/v2", compression=None, max_size=None) as socket:
        for channel in ("l2", "trades"):
            head = {"op": "subscribe", "id": channel, "channel": channel, "venue": "coinbase"}
            await socket.send(json.dumps(head | {"symbol": list(SYMBOLS)}))
        books: set[str] = set()
        async for frame in socket:
            now = time.monotonic_ns()
            for line in str(frame).splitlines():
                message: dict[str, Any] = orjson.loads(line)
                if message["type"] == "snapshot" and message["channel"] == "l2" and message["valid"]:
                    books.add(message["symbol"])
                    if len(books) == len(SYMBOLS):
                        ready.set()
                elif message["type"] == "delta":
                    arrivals.at["l2", message["symbol"]].append(now)
                elif message["type"] == "trades":
                    arrivals.at["trades", message["symbol"]] += [now] * len(message["trades"])
                elif message["type"] == "error":
                    raise RuntimeError(line)


async def consume(settings: Settings, arrivals: Arrivals) -> None:
    """Be a bare consumer of the topics, until cancelled."""
    codec = Codec()
    reader = kafka.native_consumer(settings.kafka, group_id=None, client_id="bare")
    async with kafka.running(reader, settings.kafka):
        partitions = [
            TopicPartition(topic, number)
            for topic in (topics.L2, topics.TRADES)
            for number in await reader.partitions_for(topic)
        ]
        reader.assign(partitions)
        while True:
            for found in (await reader.getmany(timeout_ms=1000)).values():
                now = time.monotonic_ns()
                for each in found:
                    record = codec.decode(each.value or b"")
                    if isinstance(record, Trade):
                        arrivals.at["trades", record.symbol].append(now)
                    elif isinstance(record, L2Update) and record.kind == "DELTA":
                        arrivals.at["l2", record.symbol].append(now)


async def measure(kind: BrokerKind, options: argparse.Namespace, folder: Path) -> None:
    """Run the services on a broker and print the table."""
    player = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "tests.benchmarks.bench_latency", "--play", str(options.rate), str(options.seconds)),
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        limit=1 << 24,
    )
    assert player.stdin is not None and player.stdout is not None  # noqa: PT018 pipes were asked for
    port = int(await player.stdout.readline())
    settings = Settings(data_dir=folder, gateway=GatewaySettings(port=0, gather_ms=options.gather_ms))
    arrivals, bare, ready = Arrivals(), Arrivals(), asyncio.Event()
    try:
        async with Supervisor(folder) as supervisor:
            stack = Stack(supervisor, settings)
            await stack.start_broker(kind)
            await stack.start_services(parts.PROCESSORS, parts.GATEWAY)
            await supervisor.wait_ready(parts.PROCESSORS, parts.GATEWAY)
            feed = VenueSettings(symbols=SYMBOLS, websocket_url=f"ws://127.0.0.1:{port}")
            await stack.start_collector("collector", "coinbase", feed)
            await supervisor.wait_ready("collector")
            url = (await supervisor.announcement(parts.GATEWAY, "url"))["url"]
            tasks = [
                asyncio.create_task(listen(url, arrivals, ready)),
                asyncio.create_task(consume(stack.settings, bare)),
            ]
            async with asyncio.timeout(60):
                await ready.wait()
            pids = {name: child.pid for name, child in supervisor.children.items() if child.pid is not None}
            before = {name: cpu_seconds(pid) for name, pid in pids.items()}
            player.stdin.write(b"go\n")
            written: list[int] = json.loads(await player.stdout.readline())
            after = {name: cpu_seconds(pid) for name, pid in pids.items()}
            failed = [task for task in tasks if task.done()]
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
            for task in failed:
                task.result()
    finally:
        if player.returncode is None:
            player.kill()
        await player.communicate()
    lasted = (written[-1] - written[0]) / 1e9
    print(f"{kind} broker, {len(written) / lasted:,.0f} frames/s, gather_ms {options.gather_ms:g}; ms  p50  p99  p99.9")
    skipped = round(options.rate * WARM_SECONDS)
    for name, found in (("bare consumer", bare), ("client of the stream", arrivals)):
        delays = found.delays(written, skipped)
        print(f"  {name:22}" + "".join(f"{quantile(delays, share):9.2f}" for share in (0.5, 0.99, 0.999)))
    print("  % of a core: " + ", ".join(f"{name} {100 * (after[name] - before[name]) / lasted:.0f}" for name in pids))


def main() -> None:
    """Measure what the command line says."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--rate", type=float, default=5000)
    parser.add_argument("--seconds", type=float, default=15.0)
    parser.add_argument("--gather-ms", type=float, default=2.0)
    parser.add_argument("--broker", choices=("embedded", "kafka", "both"), default="both")
    options = parser.parse_args()
    kinds: list[BrokerKind] = ["embedded", "kafka"] if options.broker == "both" else [options.broker]
    if "kafka" in kinds:
        kafka_install.install()
    for kind in kinds:
        with tempfile.TemporaryDirectory() as folder:
            uvloop.run(measure(kind, options, Path(folder)))


if __name__ == "__main__":
    main()
