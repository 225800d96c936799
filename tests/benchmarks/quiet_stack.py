"""One contender of ``bench_quiet``: what the stack of a checkout costs at one rate, and how old a page's data is.

Run by its path with a checkout's own Python, so that an older commit can be measured by the same program: it uses only
what both have. Prints one JSON object.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import math
import os
import tempfile
import time
from pathlib import Path
from typing import Any

from websockets.asyncio.client import connect

from alphapulse import config
from alphapulse.cli import stack as parts
from alphapulse.cli.stack import Stack
from alphapulse.config import VenueSettings

try:
    from alphapulse.supervisor.supervisor import ChildSpec, Supervisor
except ImportError:  # a checkout of before the supervisor was a package
    from alphapulse.supervisor import ChildSpec, Supervisor  # type: ignore[attr-defined, no-redef]

VENUES = ("kraken", "coinbase", "binance_us")
SYMBOLS = ("BTC-USD", "ETH-USD", "SOL-USD")
DEMO_RATE, DEMO_RECORDS = 30.0, 430.0
"""Frames a second and instrument of the demo, and the records a second that come of them."""
LEAST_RATE = 1e-4
WARM_UP_SECONDS = 8.0
TICKS = os.sysconf("SC_CLK_TCK")


def cpu_seconds(pid: int) -> float:
    """Return the processor time that a process and its ended children have taken."""
    fields = Path(f"/proc/{pid}/stat").read_text(encoding="ascii").rpartition(")")[2].split()
    return sum(map(int, fields[11:15])) / TICKS


def tree(pid: int) -> list[int]:
    """Return a process and all below it (Apache Kafka is a child of its service)."""
    found = [pid]
    for task in Path(f"/proc/{pid}/task").iterdir():
        for child in (task / "children").read_text(encoding="ascii").split():
            found += tree(int(child))
    return found


class Page:
    """A client that listens to what the page of one symbol does; ages in milliseconds."""

    def __init__(self, url: str) -> None:
        self._url = url.replace("http", "ws", 1) + "/ws/v1"
        self.counting = False
        self.messages = 0
        self.trade_ages: list[float] = []
        self.book_ages: list[float] = []

    async def listen(self) -> None:
        """Subscribe and read until cancelled."""
        async with connect(self._url, compression=None, max_size=None) as socket:
            wanted: list[dict[str, str]] = [{"channel": "arbitrage", "symbol": "*"}]
            for venue in VENUES:
                wanted += [{"channel": c, "venue": venue, "symbol": SYMBOLS[0]} for c in ("book", "trades", "stats")]
            for each in wanted:
                await socket.send(json.dumps({"op": "subscribe", **each}))
            async for frame in socket:
                now = time.time() * 1e6
                if self.counting:
                    for line in str(frame).splitlines():
                        self._take(json.loads(line), now)

    def _take(self, message: dict[str, Any], now: float) -> None:
        self.messages += 1
        if message["type"] == "trades":
            self.trade_ages += [(now - trade["time"]) / 1000 for trade in message["trades"]]
        elif message["type"] == "delta":
            self.book_ages.append((now - message["time"]) / 1000)


def quantiles(values: list[float]) -> list[float]:
    """Return p50 and p99."""
    ordered = sorted(values)
    return [ordered[min(int(len(ordered) * q), len(ordered) - 1)] if ordered else math.nan for q in (0.5, 0.99)]


async def measure(broker: str, records: float, seconds: float, *, pages: int, fresh: Path) -> dict[str, Any]:
    """Start the stack, let it run, and return the figures."""
    settings = config.Settings(data_dir=fresh, gateway=config.GatewaySettings(port=0))
    async with Supervisor(fresh) as supervisor:
        stack = Stack(supervisor, settings)
        await stack.start_broker(broker)  # type: ignore[arg-type]
        rate = max(records / DEMO_RECORDS * DEMO_RATE, LEAST_RATE)
        arguments = ("--venues", ",".join(VENUES), "--symbols", ",".join(SYMBOLS), "--seed", "7", "--rate", f"{rate:g}")
        await supervisor.start(ChildSpec("simulator", "producers.simulator", stack.settings, arguments, restart=False))
        told = (await supervisor.announcement("simulator", "venues"))["venues"]
        feeds = {
            venue: VenueSettings(
                symbols=tuple(feed["symbols"]),
                websocket_url=feed["websocket_url"],
                rest_url=feed["rest_url"],
                key=feed["key"],
                secret=feed["secret"],
            )
            for venue, feed in told.items()
        }
        stack.settings = stack.settings.model_copy(update={"venues": feeds})
        services = (parts.PROCESSORS, parts.CLICKHOUSE, parts.PARQUET, parts.GATEWAY)
        await stack.start_services(*services)
        await supervisor.wait_ready(*services)
        collectors = [f"collector-{venue}" for venue in feeds]
        for name, (venue, feed) in zip(collectors, feeds.items(), strict=True):
            await stack.start_collector(name, venue, feed)
        await supervisor.wait_ready(*collectors)
        url = (await supervisor.announcement(parts.GATEWAY, "url"))["url"]
        watchers = [Page(url) for _ in range(max(pages, 1))]
        watcher = watchers[0]
        listening = [asyncio.create_task(each.listen()) for each in watchers[:pages]]
        await asyncio.sleep(WARM_UP_SECONDS)

        async def count() -> int:
            return sum([int((await stack.status(name)).get("records", 0)) for name in collectors])

        pids = {name: tree(child.pid) for name, child in supervisor.children.items() if child.pid is not None}
        before = {name: sum(map(cpu_seconds, of)) for name, of in pids.items()}
        counted, began = await count(), time.monotonic()
        watcher.counting = True
        await asyncio.sleep(seconds)
        lasted = time.monotonic() - began
        after = {name: sum(map(cpu_seconds, of)) for name, of in pids.items()}
        made = await count() - counted
        async with stack.lag_reader() as lag:
            behind = {group: found.total for group, found in (await lag.read()).items()}
        for each in listening:
            each.cancel()
        await asyncio.gather(*listening, return_exceptions=True)
        return {
            "cpu": {name: 100 * (after[name] - before[name]) / lasted for name in pids},
            "records_per_second": made / lasted,
            "lag": behind,
            "trades_ms": quantiles(watcher.trade_ages),
            "books_ms": quantiles(watcher.book_ages),
            "messages_per_second": watcher.messages / lasted,
        }


def main() -> None:
    """Measure what the command line says."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--broker", choices=("embedded", "kafka"), required=True)
    parser.add_argument("--records", type=float, required=True)
    parser.add_argument("--seconds", type=float, required=True)
    parser.add_argument("--pages", type=int, default=0)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="quiet-") as folder:
        figures = measure(options.broker, options.records, options.seconds, pages=options.pages, fresh=Path(folder))
        print(json.dumps(asyncio.run(figures)))


if __name__ == "__main__":
    main()
