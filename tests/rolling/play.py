"""The rolling restart itself: simulated exchanges, every service as a process, a real broker."""

from __future__ import annotations

import asyncio
import contextlib
import json
import signal
import socket
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import pyarrow as pa
import pyarrow.dataset as ds
from aiokafka import TopicPartition

from alphapulse import topics
from alphapulse.config import (
    ClickHouseSettings,
    FreshnessSettings,
    GatewaySettings,
    KafkaSettings,
    ParquetSettings,
    ProcessorSettings,
    PublisherSettings,
    Settings,
    VenueSettings,
)
from alphapulse.kafka.tail import ends_of
from tests.outage.observed import Plan as Market
from tests.outage.scenario import events_per_second
from tests.rolling.part import ROOT, Part
from tests.rolling.watch import Watch

TABLES: Final = {"trades": topics.TRADES, "l2": topics.L2, "candles": topics.CANDLES, "stats": topics.STATS}
LATE_MS: Final = 20_000
"""Later than this, frames and books are too late."""
FILES: Final = (topics.TRADES, topics.L2, topics.CANDLES)


@dataclass(frozen=True)
class Plan:
    """What is to happen.

    Attributes:
        rate: frames a second, all exchanges together.
        clients: of the gateway.
        rounds: how often every service is restarted.
        warm_up: seconds at that rate before anything is judged: a Java broker compiles its code meanwhile.
        before, between: seconds at that rate before the first restart, and after each.
        patience: seconds for whatever else has to be waited for.
    """

    rate: float = 2_000.0
    clients: int = 200
    rounds: int = 2
    warm_up: float = 180.0
    before: float = 10.0
    between: float = 8.0
    venues: tuple[str, ...] = ("kraken", "binance_us")
    symbols: tuple[str, ...] = Market.symbols
    patience: float = 600.0


@dataclass(frozen=True)
class Restart:
    """A restart: from the start of the new process, or of the stop of the old one, until all is quiet again.

    ``stop``: how long the old process took to end, in seconds. Times are ns since the Unix epoch.
    """

    service: str
    began: int
    ended: int
    stop: float


@dataclass
class Seen:
    """What was seen.

    Attributes:
        quiet: (beginning, end) of the time before the first restart, for comparison; ns since the Unix epoch.
        frames: that the collectors had in that time.
        rows: by sink and topic: records on the topic, rows, different rows.
        clients: what the clients found.
        stopped: when the market was stopped.
    """

    plan: Plan
    quiet: tuple[int, int] = (0, 0)
    frames: float = 0.0
    restarts: list[Restart] = field(default_factory=list)
    rows: dict[tuple[str, str], tuple[int, int, int]] = field(default_factory=dict)
    clients: Mapping[str, Any] = field(default_factory=dict)
    stopped: int = 0


class Stage:
    """Everything that runs.

    Args:
        plan: what is to happen.
        folder: for logs and data.
        kafka: the broker.
        tell: is told how it goes.

    Attributes:
        port: of the first gateway.
        clients_port: to which the clients connect.
        parts: those that stand now, by service.
    """

    def __init__(self, plan: Plan, folder: Path, kafka: KafkaSettings, tell: Callable[[str], None]) -> None:
        self.plan = plan
        self.folder = folder
        self.tell = tell
        self.seen = Seen(plan)
        self.parts: dict[str, Part] = {}
        self._kafka = kafka
        self.port = free_port()
        self.clients_port = self.port
        self._lives: list[Part] = []
        self._venues: dict[str, VenueSettings] = {}
        self._clients: asyncio.subprocess.Process | None = None
        self._simulator: Part | None = None

    # --- parts ---

    def _settings(self, name: str, port: int) -> Settings:
        """Return settings of a new life; sinks keep their folder, since it holds what they have stored."""
        life = name if name.startswith("sink") else f"{name}-{len(self._lives)}"
        return Settings(
            data_dir=self.folder / life,
            kafka=self._kafka,
            clickhouse=ClickHouseSettings(topics=(*TABLES.values(), topics.EVENTS)),
            parquet=ParquetSettings(topics=FILES, batch_seconds=5.0),
            publisher=PublisherSettings(linger_ms=25.0),
            # On a small machine that is at its limit, being late is no consequence of a restart; the pauses tell it.
            freshness=FreshnessSettings(max_feed_delay_ms=LATE_MS, max_book_age_ms=LATE_MS),
            processors=ProcessorSettings(depth_interval_ms=100),
            gateway=GatewaySettings(port=port, max_connections=self.plan.clients + 100),
            venues=self._venues,
        )

    def part(self, name: str, port: int | None = None) -> Part:
        """Return the next life of a service, not started; ``port``: of a gateway, by default the clients'."""
        arguments = {
            "processors": ("stream_processors",),
            "sink-clickhouse": ("sinks", "clickhouse"),
            "sink-parquet": ("sinks", "parquet"),
            "gateway": ("gateway",),
        }.get(name, ("producers", name.removeprefix("collector-")))
        made = Part(name, arguments, self._settings(name, port or self.port), self.folder / f"{name}.log")
        self._lives.append(made)
        return made

    @property
    def services(self) -> list[str]:
        """The names of all services, in the order of the restart (docs/upgrade.md)."""
        collectors = [f"collector-{venue}" for venue in self.plan.venues]
        return ["sink-clickhouse", "sink-parquet", "gateway", "processors", *collectors]

    async def _start_market(self) -> None:
        plan = self.plan
        market = Market(rate=plan.rate, venues=plan.venues, symbols=plan.symbols)
        names = ("--venues", ",".join(plan.venues), "--symbols", ",".join(plan.symbols))
        rate = ("--seed", "1", "--rate", str(events_per_second(market)), "--diary", str(self.folder / "diary.jsonl"))
        settings = Settings(data_dir=self.folder / "market", kafka=self._kafka)
        self._simulator = Part(
            "simulator", ("tests.outage.venue", *names, *rate), settings, self.folder / "simulator.log"
        )
        await self._simulator.start()
        announced = settings.data_dir / "run" / "simulator.json"
        async with asyncio.timeout(plan.patience):
            while not (announced.exists() and "venues" in (told := json.loads(announced.read_text()))):
                self._simulator.check()
                await asyncio.sleep(0.1)
        self._venues = {
            venue: VenueSettings(
                symbols=plan.symbols,
                websocket_url=told["venues"][venue]["websocket_url"],
                rest_url=told["venues"][venue]["rest_url"],
            )
            for venue in plan.venues
        }

    async def _start_clients(self) -> None:
        books = [f"{venue}|{symbol}" for venue in self.plan.venues for symbol in self.plan.symbols]
        url = f"ws://127.0.0.1:{self.clients_port}/ws/v2"
        with (self.folder / "clients.log").open("ab") as log:
            self._clients = await asyncio.create_subprocess_exec(
                *(sys.executable, "-m", "tests.rolling.clients", url, str(self.plan.clients), *books),
                cwd=ROOT,
                stdin=asyncio.subprocess.DEVNULL,
                stdout=asyncio.subprocess.PIPE,
                stderr=log,
                start_new_session=True,  # as of a Part
            )

    # --- what happens ---

    async def run(self) -> tuple[Seen, Watch]:
        """Let it happen.

        Raises:
            RuntimeError: a process ended.
            TimeoutError: something takes too long.
        """
        plan, seen = self.plan, self.seen
        try:
            await self._start_market()
            async with Watch(self._kafka) as watch:
                for name in self.services:
                    self.parts[name] = self.part(name)
                    await self.parts[name].start()
                for part in self.parts.values():
                    await part.until_ready(plan.patience)
                await self.pause(plan.warm_up, watch)
                watch.forget()
                await self._start_clients()
                await self._until_clients_follow()
                began, frames = time.time_ns(), await self._frames()
                await self.pause(plan.before, watch)
                seen.quiet = began, time.time_ns()
                seen.frames = (await self._frames() - frames) / ((seen.quiet[1] - began) / 1e9)
                self.tell(f"{seen.frames:,.0f} frames/s")
                await self.restarts(watch)
                await self._end(watch)
            await self._count_rows()
            return seen, watch
        finally:
            for part in (*self._lives, *([self._simulator] if self._simulator else [])):
                await part.kill()
            if self._clients is not None and self._clients.returncode is None:
                self._clients.kill()
                await self._clients.wait()

    async def restarts(self, watch: Watch) -> None:
        """Restart every service, one after the other."""
        for _ in range(self.plan.rounds):
            for name in self.services:
                await self._restart(name, watch)

    async def _restart(self, name: str, watch: Watch) -> None:
        old, began = self.parts[name], time.time_ns()
        new = self.parts[name] = self.part(name)
        beside = name == "processors" or name.startswith("collector")
        if beside:  # it is ready before the old one goes
            await new.start()
            await new.until_ready(self.plan.patience)
        stopped = await old.stop(self.plan.patience)
        if not beside:  # the folder or the port belongs to one process
            await new.start()
            await new.until_ready(self.plan.patience)
        ready = time.time_ns()
        await self.pause(self.plan.between, watch)
        self.seen.restarts.append(Restart(name, began, time.time_ns(), stopped))
        self.tell(f"{name}: replaced in {(ready - began) / 1e9:.1f} s, the old process ended in {stopped:.1f} s")

    async def _end(self, watch: Watch) -> None:
        """Stop the market, then every service, in the order of a stop."""
        assert self._simulator is not None
        assert self._clients is not None
        await self._simulator.ask("/stop", "POST")
        self.seen.stopped = time.time_ns()
        self._clients.send_signal(signal.SIGTERM)
        out, _ = await asyncio.wait_for(self._clients.communicate(), self.plan.patience)
        self.seen.clients = json.loads(out)
        # Before the collectors end their books: what was restarted must not have ended one.
        async with asyncio.timeout(self.plan.patience):
            while watch.l2 < sum((await self._ends(topics.L2)).values()):
                await asyncio.sleep(0.2)
        self.seen.stopped = time.time_ns()
        self.tell("stopping")

    async def _stop_services(self) -> None:
        for stage in (self.services[4:], ["processors", "gateway"], ["sink-clickhouse", "sink-parquet"]):
            await asyncio.gather(*(self.parts[name].stop(self.plan.patience) for name in stage))

    async def _count_rows(self) -> None:
        await self._stop_services()
        for table, topic in TABLES.items():
            query = f"SELECT count(), uniqExact(_partition, _offset) FROM {table}"
            count, different = await self._sql(query)
            self.seen.rows["clickhouse", topic] = sum((await self._ends(topic)).values()), count, different
        for topic in FILES:
            place = self.parts["sink-parquet"].settings.data_dir / "parquet" / topic
            rows: pa.Table = ds.dataset(place, format="parquet").to_table(columns=["_partition", "_offset"])
            different = rows.group_by(["_partition", "_offset"]).aggregate([]).num_rows
            self.seen.rows["parquet", topic] = sum((await self._ends(topic)).values()), rows.num_rows, different

    async def _sql(self, query: str) -> tuple[int, int]:
        folder = self.parts["sink-clickhouse"].settings.data_dir
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "alphapulse.cli", "sql", query, "--data-dir", str(folder)),
            *("--format", "JSONCompact"),
            cwd=ROOT,
            stdout=asyncio.subprocess.PIPE,
        )
        out, _ = await asyncio.wait_for(process.communicate(), self.plan.patience)
        ((count, different),) = json.loads(out)["data"]
        return int(count), int(different)

    async def _ends(self, topic: str) -> dict[TopicPartition, int]:
        partitions = [TopicPartition(topic, number) for number in range(topics.PARTITIONS)]
        return await ends_of(self._kafka, partitions, client_id="rolling")

    async def _frames(self) -> int:
        told = [await self.parts[f"collector-{venue}"].ask("/status") for venue in self.plan.venues]
        return sum(int(status["frames"]) for status in told)

    async def _until_clients_follow(self) -> None:
        async with asyncio.timeout(self.plan.patience):
            while (await self.parts["gateway"].ask("/status")).get("subscriptions", 0) < self.plan.clients:
                await asyncio.sleep(0.2)

    async def pause(self, seconds: float, watch: Watch) -> None:
        until = time.monotonic() + seconds
        while (left := until - time.monotonic()) > 0:
            watch.check()
            for part in self.parts.values():
                part.check()
            await asyncio.sleep(min(left, 0.5))


def free_port() -> int:
    with contextlib.closing(socket.create_server(("127.0.0.1", 0))) as listening:
        port: int = listening.getsockname()[1]
        return port
