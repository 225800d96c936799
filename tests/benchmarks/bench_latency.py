"""How much later than the venue sent it a record is on the broker, at a steady rate of frames.

``python -m tests.benchmarks.bench_latency [--rate 2000] [--seconds 20] [--broker embedded|kafka|both] [--linger MS …]``

A process plays a Coinbase that sends one frame after another at the rate given, each with one record, and notes when
it wrote it. The collector (its own protocol, line, publisher and client, in this process) notes for each frame when
the broker acknowledged its record. The baseline, in the same run: a bare client that sends records of the same size to
the same broker at the same rate, one batch under way at a time, with no venue, no decoding and no bookkeeping.
``added`` is the difference: what AlphaPulse puts on top of the broker's own time.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import sys
import tempfile
import time
from array import array
from collections import deque
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import uvloop
from aiokafka import AIOKafkaProducer
from aiokafka.errors import KafkaError
from websockets.frames import Frame, Opcode
from websockets.sync.server import ServerConnection, serve

from alphapulse import kafka, topics
from alphapulse.brokers.kafka import install as kafka_install
from alphapulse.cli.stack import BrokerKind, Stack
from alphapulse.config import KafkaSettings, PublisherSettings, Settings, VenueSettings
from alphapulse.kafka.native.producer import Placed, Told
from alphapulse.supervisor.supervisor import Supervisor
from alphapulse.tracing import Headers
from producers.collector.collector import Collector
from producers.collector.publisher import CLIENT_LINGER_MS, Publisher
from producers.registry import load
from schemas.codec import Codec
from schemas.records import TOPIC_OF, L2Update, Record, Trade

POLL_SECONDS = 0.0002
WARM_SECONDS = 3.0
SYMBOLS = ("BTC-USD", "ETH-USD", "SOL-USD", "LTC-USD")
LEVELS = 200
RECORD_BYTES = 110


# --- the venue, a process of its own ---


def frames(count: int) -> list[bytes]:
    """Return frames as they go over the wire: updates of a few levels, every fifth one a trade."""
    made = []
    for number in range(count):
        symbol = SYMBOLS[number % len(SYMBOLS)]
        price = 1000 + number % LEVELS
        stamp = f"2026-01-01T00:00:{number % 60:02d}.{number % 1000000:06d}Z"
        if number % 5:
            side, first = ("buy", 1000) if number % 2 else ("sell", 2000)
            changes = ",".join(
                f'["{side}","{first + (price + step) % LEVELS}.50","{number % 97 + 1}.125"]' for step in (0, 7, 19)
            )
            text = f'{{"type":"l2update","product_id":"{symbol}","changes":[{changes}],"time":"{stamp}"}}'
        else:
            trade = number // 5 // len(SYMBOLS) + 1
            text = (
                f'{{"type":"match","trade_id":{trade},"maker_order_id":"00000000-0000-0000-0000-000000000001",'
                f'"taker_order_id":"00000000-0000-0000-0000-000000000002","side":"buy","size":"0.125",'
                f'"price":"{price}.50","product_id":"{symbol}","sequence":{number + 1},"time":"{stamp}"}}'
            )
        made.append(Frame(Opcode.TEXT, text.encode()).serialize(mask=False))
    return made


def snapshot(symbol: str) -> str:
    """Return a book."""
    sides = {
        "bids": [[f"{1000 + step}.50", "1"] for step in range(LEVELS)],
        "asks": [[f"{2000 + step}.50", "1"] for step in range(LEVELS)],
    }
    return json.dumps({"type": "snapshot", "product_id": symbol, **sides, "time": "2026-01-01T00:00:00.000000Z"})


def play(rate: float, seconds: float) -> None:
    """Listen, tell the port; on standard input's line send at ``rate``; tell when each frame was written."""
    made = frames(round(rate * seconds))
    written = array("q")

    def handler(peer: ServerConnection) -> None:
        peer.recv()
        channels = [{"name": name, "product_ids": SYMBOLS} for name in ("level2_batch", "matches", "heartbeat")]
        peer.send(json.dumps({"type": "subscriptions", "channels": channels}))
        for symbol in SYMBOLS:
            peer.send(snapshot(symbol))
        sys.stdin.readline()
        send, clock, step = peer.socket.sendall, time.monotonic_ns, round(1e9 / rate)
        due = clock()
        for frame in made:
            due += step
            if (ahead := due - clock()) > 0:
                time.sleep(ahead / 1e9)
            written.append(clock())
            send(frame)
        time.sleep(1.0)
        sys.stdout.write(json.dumps(written.tolist()) + "\n")
        sys.stdout.flush()
        sys.stdin.readline()

    with serve(handler, "127.0.0.1", 0, compression=None) as server:
        print(server.socket.getsockname()[1], flush=True)
        server.serve_forever()


# --- our side ---


class TimedPublisher(Publisher):
    """Notes when the record of each frame was acknowledged. :attr:`collector` is set before anything is published."""

    collector: Collector

    def __init__(self, producer: kafka.NativeProducer, *arguments: Any) -> None:
        super().__init__(self, *arguments)
        self.acknowledged_at: dict[int, int] = {}
        self._client = producer
        # Frames of the records published and not sent yet, by topic: the publisher sends in order.
        self._frames: dict[str, deque[int]] = {topics.TRADES: deque(), topics.L2: deque()}

    def publish(self, record: Record) -> None:
        """Note which frame a record comes from, and publish it."""
        if isinstance(record, Trade | L2Update):
            self._frames[TOPIC_OF[type(record)]].append(self.collector.frames)
        super().publish(record)

    def send(
        self,
        topic: str,
        value: bytes,
        *,
        key: bytes,
        told: Told,
        headers: Headers | None = None,
        placed: Placed | None = None,
    ) -> bool:
        """Hand a record to the client, as the publisher's producer."""
        noted = self._noting(topic, told)
        return self._client.send(topic, value, key=key, told=noted, headers=headers, placed=placed)

    def send_batch(self, topic: str, records: Iterable[tuple[bytes, bytes, Told]]) -> None:
        """Hand records to the client, as the publisher's producer."""
        self._client.send_batch(topic, [(key, value, self._noting(topic, told)) for key, value, told in records])

    def _noting(self, topic: str, told: Told) -> Told:
        """Return a callback that notes the time and calls ``told``."""
        if topic not in self._frames:
            return told
        frame, sent = self._frames[topic].popleft(), time.monotonic_ns()

        def noted(error: KafkaError | None, seconds: float) -> None:
            if error is None:
                self.acknowledged_at[frame] = sent + int(seconds * 1e9)
            told(error, seconds)

        return noted

    def poll(self) -> None:
        """Hear of acknowledgements, as the publisher's producer."""
        self._client.poll()

    async def keep_polling(self) -> None:
        """Poll all the time: an acknowledgement counts from the poll that finds it."""
        while True:
            await asyncio.sleep(POLL_SECONDS)
            self._client.poll()


async def ours(kind: KafkaSettings, rate: float, seconds: float, linger_ms: float) -> list[float]:
    """Return each frame's milliseconds from the venue's write to the broker's acknowledgement."""
    venue = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", __spec__.name, "--play", str(rate), str(seconds)),
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        limit=1 << 24,
    )
    assert venue.stdin is not None and venue.stdout is not None  # noqa: PT018 pipes were asked for
    port = int(await venue.stdout.readline())
    client = kafka.native_producer(kind, client_id="collector", linger_ms=CLIENT_LINGER_MS, give_up=False)
    try:
        async with kafka.running(client, kind):
            publisher = TimedPublisher(client, Codec(), PublisherSettings(linger_ms=linger_ms), "coinbase")
            feed = VenueSettings(symbols=SYMBOLS, websocket_url=f"ws://127.0.0.1:{port}")
            collector = publisher.collector = Collector(load("coinbase"), feed, publisher, "collector")
            stopping = asyncio.Event()
            work = asyncio.create_task(collector.run(stopping, lambda state: None))
            polling = asyncio.create_task(publisher.keep_polling())
            head = 1 + len(SYMBOLS)  # the confirmation and the snapshots
            async with asyncio.timeout(30):
                while collector.frames < head:
                    await asyncio.sleep(0.01)
            venue.stdin.write(b"go\n")
            written: list[int] = json.loads(await venue.stdout.readline())
            await publisher.flush()
            stopping.set()
            await work
            polling.cancel()
    finally:
        venue.kill()
        await venue.communicate()
    skipped = round(rate * WARM_SECONDS)
    done = publisher.acknowledged_at
    return [(done[head + n + 1] - at) / 1e6 for n, at in enumerate(written) if n >= skipped]


async def bare(kind: KafkaSettings, rate: float, seconds: float) -> list[float]:
    """Return each record's milliseconds from the moment it was due to its acknowledgement, without any of our parts."""
    client: AIOKafkaProducer = kafka.producer(kind, client_id="bare", linger_ms=0)
    took: list[float] = []
    value = os.urandom(RECORD_BYTES)
    lanes: dict[int, list[int]] = {number: [] for number in range(len(SYMBOLS) + 1)}
    busy: set[int] = set()
    tasks: set[asyncio.Task[None]] = set()

    async with kafka.running(client, kind):

        async def send(lane: int) -> None:
            busy.add(lane)
            while lanes[lane]:
                due, lanes[lane] = lanes[lane], []
                batch = client.create_batch()
                for _ in due:
                    batch.append(timestamp=None, key=b"coinbase:BTC-USD", value=value)
                batch.close()
                await (await client.send_batch(batch, topics.L2, partition=lane))
                now = time.monotonic_ns()
                took.extend((now - at) / 1e6 for at in due)
            busy.discard(lane)

        step = 1 / rate
        due = time.monotonic()
        for number in range(round(rate * seconds)):
            due += step
            if (ahead := due - time.monotonic()) > 0:
                await asyncio.sleep(ahead)
            lane = number % len(lanes)
            lanes[lane].append(time.monotonic_ns())
            if lane not in busy:
                busy.add(lane)
                task = asyncio.create_task(send(lane))
                tasks.add(task)
                task.add_done_callback(tasks.discard)
        await asyncio.gather(*tasks)
    return took[round(rate * WARM_SECONDS) :]


def quantiles(took: list[float]) -> list[float]:
    """Return the median, the 99th and the 99.9th percentile."""
    ordered = sorted(took)
    return [ordered[min(len(ordered) - 1, int(len(ordered) * share))] for share in (0.5, 0.99, 0.999)]


def row(name: str, figures: list[float]) -> str:
    """Return a row of the table."""
    return f"  {name:<28}" + "".join(f"{figure:10.3f}" for figure in figures)


async def measure(kind: BrokerKind, options: argparse.Namespace, folder: Path) -> None:
    """Print the quantiles on a broker of this kind."""
    async with Supervisor(folder) as supervisor:
        stack = Stack(supervisor, Settings(data_dir=folder))
        await stack.start_broker(kind)
        settings = stack.settings.kafka
        print(f"{kind} broker, {options.rate:g} frames/s, ms{'p50':>19}{'p99':>10}{'p99.9':>10}")
        base = quantiles(await bare(settings, options.rate, options.seconds))
        print(row("bare client", base))
        for linger in options.linger:
            found = quantiles(await ours(settings, options.rate, options.seconds, linger))
            print(row(f"collector, linger {linger:g} ms", found))
            print(row("  added", [ours - bare for ours, bare in zip(found, base, strict=True)]))


def main() -> None:
    """Run."""
    if sys.argv[1:2] == ["--play"]:
        play(float(sys.argv[2]), float(sys.argv[3]))
        return
    parser = argparse.ArgumentParser()
    parser.add_argument("--rate", type=float, default=2000.0)
    parser.add_argument("--seconds", type=float, default=13.0)
    parser.add_argument("--broker", choices=("embedded", "kafka", "both"), default="both")
    parser.add_argument("--linger", type=float, nargs="*", default=[PublisherSettings().linger_ms])
    options = parser.parse_args()
    kinds: list[BrokerKind] = ["embedded", "kafka"] if options.broker == "both" else [options.broker]
    if "kafka" in kinds and (lacking := kafka_install.missing()) is not None:
        print(lacking)
        kinds.remove("kafka")
    for kind in kinds:
        with tempfile.TemporaryDirectory() as folder:
            uvloop.run(measure(kind, options, Path(folder)))


if __name__ == "__main__":
    main()
