"""The stream under load, gateway process against Centrifugo: CPU and latency a delivery, memory a connection.

``python -m tests.benchmarks.bench_stream [--centrifugo PROGRAM] [--case NAME …] [--seconds S] [--path /ws/v2]``

Both servers are processes; the same client program (:mod:`tests.load`) reads the same messages of both: deltas of books
of 20 levels a side, about six changed. The gateway reads its records from the embedded broker, so its figures include
Kafka's protocol, decoding, state and encoding; Centrifugo is handed the ready text by a client that publishes. A
delivery is one message at one client. ``desk``: each client 8 feeds of 50 instruments with 20 updates a second each.
Without ``--centrifugo`` the baseline is missing. Nothing else should run on the machine.
"""

from __future__ import annotations

import argparse
import asyncio
import gc
import json
import os
import random
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from pathlib import Path

import uvloop

from alphapulse import kafka
from alphapulse.brokers.memory.broker import EmbeddedBroker
from alphapulse.config import FreshnessSettings, GatewaySettings, Settings
from gateway import protocol
from gateway.feeds import changed_levels
from schemas.codec import Codec
from schemas.records import TOPIC_OF, Depth, key_of
from tests.benchmarks.peers import centrifugo
from tests.benchmarks.stopwatch import cpu_seconds
from tests.fixtures import market
from tests.load.clients import Counts, Target
from tests.load.crowd import Crowd
from tests.load.figures import quantile

WARM_SECONDS = 2.0
NO_AGE = 3_600_000
Publish = Callable[[Sequence[int]], Awaitable[None]]
"""Publishes the next message of each of these instruments."""


@dataclass(frozen=True, slots=True)
class Case:
    """A load.

    Attributes:
        clients: connections.
        instruments: that messages are published of.
        feeds: instruments per client.
        batch: messages published at once.
        tick: seconds between two batches.
    """

    name: str
    clients: int
    instruments: int
    feeds: int
    batch: int
    tick: float

    @property
    def per_client(self) -> float:
        """Messages a second that each client should receive."""
        return self.batch / self.tick * self.feeds / self.instruments


CASES = (
    Case("200x1", 200, 1, 1, 1, 0.02),
    Case("200x8", 200, 1, 1, 8, 0.04),
    Case("500x1", 500, 1, 1, 1, 0.04),
    Case("500x8", 500, 1, 1, 8, 0.08),
    Case("5000x1", 5000, 1, 1, 1, 0.4),
    Case("5000x8", 5000, 1, 1, 8, 0.8),
    # 50 instruments with 20 updates a second are 1,000 a second: five every 5 ms.
    Case("desk", 200, 50, 8, 5, 0.005),
)


class Books:
    """Books that change, one for each instrument."""

    def __init__(self, instruments: int) -> None:
        self._chance = random.Random(1)
        self.symbols = [f"A{number}-USD" for number in range(instruments)]
        self._sides = [
            (
                {6_168_500 - n: self._chance.randint(1, 10**9) for n in range(20)},
                {6_168_510 + n: self._chance.randint(1, 10**9) for n in range(20)},
            )
            for _ in self.symbols
        ]
        self._sequences = [0] * instruments
        self._last: list[Depth | None] = [None] * instruments

    def step(self, number: int) -> Depth:
        """Change an instrument's book and return it, received now."""
        for side in self._sides[number]:
            for price in self._chance.sample(sorted(side), 3):
                side[price] = self._chance.randint(1, 10**9)
        self._sequences[number] += 1
        bids, asks = self._sides[number]
        made = market.depth(
            sorted(bids.items(), reverse=True), sorted(asks.items()), self._sequences[number], size_exponent=-8
        )
        return replace(made, symbol=self.symbols[number], received_time=time.time_ns())

    def text(self, number: int) -> str:
        """Change an instrument's book and return the delta as the gateway writes it."""
        before, after = self._last[number], self.step(number)
        self._last[number] = after
        if before is None:
            return protocol.book_snapshot(after, None)
        return protocol.book_delta(
            after,
            before.sequence,
            changed_levels(before.bid_prices, before.bid_sizes, after.bid_prices, after.bid_sizes),
            changed_levels(before.ask_prices, before.ask_sizes, after.ask_prices, after.ask_sizes),
        )


@dataclass(frozen=True, slots=True)
class Server:
    """A running server.

    Attributes:
        messages: of a client that wants these instruments.
    """

    pid: int
    target: Target
    publish: Publish
    messages: Callable[[Sequence[int]], list[str]]


@asynccontextmanager
async def gateway(case: Case, path: str, folder: Path) -> AsyncIterator[Server]:
    """Run the gateway on an embedded broker."""
    # Here, since the fixtures import pytest.
    from tests.integration.gateway.conftest import GatewayProcess

    books = Books(case.instruments)
    with EmbeddedBroker() as broker:
        settings = Settings(
            data_dir=folder,
            kafka=broker.settings(),
            freshness=FreshnessSettings(max_book_age_ms=NO_AGE),
            gateway=GatewaySettings(port=0, max_connections=case.clients + 10),
            venues={"kraken": {"symbols": books.symbols}},
        )
        codec = Codec()
        producer = kafka.native_producer(settings.kafka, client_id="load", linger_ms=0)
        async with kafka.running(producer, settings.kafka), GatewayProcess(settings) as process:
            announced = await process.announced()

            async def publish(numbers: Sequence[int]) -> None:
                for number in numbers:
                    record = books.step(number)
                    producer.send(TOPIC_OF[Depth], codec.encode(record), key=key_of(record))
                producer.poll()

            def messages(numbers: Sequence[int]) -> list[str]:
                head = {"op": "subscribe", "channel": "book", "venue": "kraken"}
                return [json.dumps(head | {"id": number, "symbol": books.symbols[number]}) for number in numbers]

            assert process.process is not None
            yield Server(process.process.pid, Target("127.0.0.1", announced["port"], path), publish, messages)


@asynccontextmanager
async def peer(case: Case, program: Path, folder: Path) -> AsyncIterator[Server]:
    """Run Centrifugo."""
    books = Books(case.instruments)
    async with centrifugo.running(program, folder) as (pid, target, publisher):

        async def publish(numbers: Sequence[int]) -> None:
            await publisher.publish((books.symbols[number], books.text(number)) for number in numbers)

        yield Server(
            pid, target, publish, lambda numbers: centrifugo.messages(books.symbols[number] for number in numbers)
        )


def resident(pid: int) -> int:
    """Return a process's memory in bytes."""
    pages = int(Path(f"/proc/{pid}/statm").read_text(encoding="ascii").split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE")


@dataclass(frozen=True, slots=True)
class Figures:
    """What a server took.

    Attributes:
        cpu: microseconds of its process a delivery.
        busy: share of a core.
        share: deliveries of those that were due.
        memory: bytes a connection.
    """

    cpu: float
    busy: float
    share: float
    p50: float
    p99: float
    memory: float
    joined: float

    def __str__(self) -> str:
        return (
            f"{self.cpu:7.2f} us CPU  {100 * self.busy:5.1f} % busy  {100 * self.share:5.1f} % delivered  "
            f"p50 {self.p50:6.1f}  p99 {self.p99:7.1f} ms  {self.memory / 1024:5.1f} KB a connection  "
            f"{self.joined:4.1f} a frame"
        )


async def measure(case: Case, server: Server, seconds: float) -> Figures:
    """Put the case's load on a server."""
    chance = random.Random(2)
    wanted = [sorted(chance.sample(range(case.instruments), case.feeds)) for _ in range(case.clients)]
    await server.publish(range(case.instruments))
    before = resident(server.pid)
    async with Crowd(server.target, [server.messages(each) for each in wanted], processes=1) as crowd:
        stop = asyncio.Event()
        publishing = asyncio.create_task(_publish(case, server.publish, stop))
        await asyncio.sleep(WARM_SECONDS + case.clients / 2000)
        memory = (resident(server.pid) - before) / case.clients
        await crowd.counts()
        cpu, began = cpu_seconds(server.pid), time.perf_counter()
        await asyncio.sleep(seconds)
        used, lasted = cpu_seconds(server.pid) - cpu, time.perf_counter() - began
        counts: Counts = await crowd.counts()
        stop.set()
        await publishing
    if counts.closed:
        raise RuntimeError(f"{counts.closed} connections were closed")
    return Figures(
        cpu=1e6 * used / max(counts.messages, 1),
        busy=used / lasted,
        share=counts.messages / (case.per_client * case.clients * lasted),
        p50=quantile(counts.ages, 0.5),
        p99=quantile(counts.ages, 0.99),
        memory=memory,
        joined=counts.messages / max(counts.frames, 1),
    )


async def _publish(case: Case, publish: Publish, stop: asyncio.Event) -> None:
    due = time.perf_counter()
    number = 0
    while not stop.is_set():
        await publish([(number + step) % case.instruments for step in range(case.batch)])
        number += case.batch
        due += case.tick
        await asyncio.sleep(max(due - time.perf_counter(), 0))


async def run(options: argparse.Namespace) -> None:
    """Measure the cases one after the other, the contenders in turns."""
    # A turn of the cycle collector over this program's modules would make messages late that are stamped already.
    gc.freeze()
    for case in CASES:
        if options.case and case.name not in options.case:
            continue
        found: dict[str, Figures] = {}
        with tempfile.TemporaryDirectory() as folder:
            if options.centrifugo:
                async with peer(case, options.centrifugo, Path(folder)) as server:
                    found["centrifugo"] = await measure(case, server, options.seconds)
            async with gateway(case, options.path, Path(folder)) as server:
                found["gateway"] = await measure(case, server, options.seconds)
        print(f"{case.name}: {case.clients} clients, {case.per_client:g} messages a second each")
        for name, figures in found.items():
            print(f"  {name:11}{figures}")
        if len(found) > 1:
            print(f"  deliveries per CPU second: x {found['centrifugo'].cpu / found['gateway'].cpu:.2f}")
        sys.stdout.flush()


def main() -> None:
    """Measure what the command line says."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--centrifugo", type=Path, help="its program")
    parser.add_argument("--case", nargs="*", choices=[case.name for case in CASES])
    parser.add_argument("--seconds", type=float, default=8.0)
    parser.add_argument("--path", default="/ws/v1")
    uvloop.run(run(parser.parse_args()))


if __name__ == "__main__":
    main()
