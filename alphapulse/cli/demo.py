"""``alphapulse demo``: the whole pipeline on one machine, on simulated venues, with a live line of figures."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import signal
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.status import Status

from alphapulse import config, logs, topics
from alphapulse.claim import claim
from alphapulse.cli.stack import BROKER, CLICKHOUSE, GATEWAY, PARQUET, PROCESSORS, BrokerKind, Stack
from alphapulse.config import Settings, VenueSettings
from alphapulse.errors import AlphaPulseError, BrokerError, ServiceError
from alphapulse.kafka.lag import LagReader
from alphapulse.supervisor import Child, ChildSpec, Supervisor

SIMULATOR = "simulator"
REFRESH_SECONDS = 1.0
NOTICE_SECONDS = 2.0
SAMPLE_QUERY = "SELECT venue, symbol, count() FROM trades GROUP BY ALL"
LINE_SECONDS = 10.0
"""How often a line is printed where the output is no terminal."""

# Taker fees of the simulated accounts, basis points: lower than those of the largest traders in life, so that an
# ordinary difference between two venues pays now and then.
TAKER_FEES = {"kraken": Decimal(4), "coinbase": Decimal(4), "binance": Decimal(3), "binance_us": Decimal(3)}
DEFAULT_TAKER_FEE = Decimal(4)


@dataclass(frozen=True)
class Figures:
    """What the live line tells, sums over all collectors."""

    frames: int
    records: int
    gaps: int
    lag: int | None
    """Records that the processors or the ClickHouse sink have still to read (Parquet files close by time); None while
    the broker is away."""
    opportunities: int
    """Open ones."""
    signals: int

    def line(self, before: Figures, seconds: float, uptime: float, restarts: int) -> str:
        """Return the line: rates since ``before``, ``seconds`` ago."""
        frames = (self.frames - before.frames) / seconds
        records = (self.records - before.records) / seconds
        text = (
            f"{int(uptime) // 60:02d}:{int(uptime) % 60:02d}  {frames:,.0f} frames/s  {records:,.0f} records/s  "
            f"lag {'?' if self.lag is None else format(self.lag, ',')}  gaps {self.gaps:,}  "
            f"opportunities {self.opportunities:,} open, {self.signals:,} signals"
        )
        return f"{text}  restarts {restarts}" if restarts else text


@dataclass
class Demo:
    """A demo as the command line asks for it."""

    data_dir: Path
    port: int
    venues: Sequence[str]
    symbols: Sequence[str]
    seed: int
    broker: BrokerKind = "embedded"

    def __post_init__(self) -> None:
        self.console = Console(stderr=True, highlight=False, soft_wrap=True)
        self.stop = asyncio.Event()
        self.restarts = 0

    async def run(self) -> int:
        """Run until Ctrl-C or SIGTERM; return the exit code.

        Raises:
            ServiceError: a part cannot start or go on.
        """
        base = config.load()
        loop = asyncio.get_running_loop()
        for number in (signal.SIGINT, signal.SIGTERM):
            loop.add_signal_handler(number, self.stop.set)
        with claim(self.data_dir):
            settings = base.model_copy(
                update={
                    "data_dir": self.data_dir,
                    "venues": {},
                    "log": base.log.model_copy(update={"format": "json"}),
                    "ops": config.OpsSettings(),
                    "registry": config.RegistrySettings(),
                    "gateway": base.gateway.model_copy(update={"port": self.port}),
                    "clickhouse": base.clickhouse.model_copy(update={"dsn": ""}),
                    "parquet": base.parquet.model_copy(update={"path": "", "batch_seconds": 10.0}),
                }
            )
            logs.configure(settings.log.model_copy(update={"level": "ERROR"}), service="demo")
            if self.broker == "kafka":
                # It may be away for a moment; the line of figures tells.
                logging.getLogger("aiokafka").setLevel(logging.CRITICAL)
            while not self.stop.is_set():
                try:
                    await self._run(settings)
                except _BrokerDied:
                    # An in-memory log is gone with its process; everything begins anew on an empty one.
                    self.console.print("[yellow]the broker died; starting the whole stack again")
                    self.restarts += 1
        self.console.print("stopped; the data is in " + str(self.data_dir))
        return 0

    async def _run(self, settings: Settings) -> None:
        async with Supervisor(settings.data_dir, self._child_died) as supervisor:
            stack = Stack(supervisor, settings)
            stopped = asyncio.create_task(self.stop.wait())
            work = asyncio.create_task(self._work(stack))
            failed = asyncio.create_task(supervisor.failure())
            try:
                await asyncio.wait({stopped, work, failed}, return_when=asyncio.FIRST_COMPLETED)
                if self.stop.is_set():
                    self.console.print("stopping")
                    return
                if self.broker == "embedded" and await _ended(supervisor.children.get(BROKER)):
                    # Without it nobody could end in good order; sinks and processors survive the worst by design.
                    await supervisor.kill()
                    raise _BrokerDied
                supervisor.check()
                await work
            finally:
                for task in (stopped, work, failed):
                    task.cancel()
                    with contextlib.suppress(asyncio.CancelledError, AlphaPulseError):
                        await task

    async def _work(self, stack: Stack) -> None:
        began = time.monotonic()
        with self.console.status("starting") as status:
            collectors = await self._start(stack, status)
        told = await stack.supervisor.announcement(GATEWAY, "url")
        self.console.print(
            f"[green]running[/] after {time.monotonic() - began:.1f} s: [bold]{told['url']}[/]"
            f"  (logs in {stack.settings.data_dir / 'logs'}; Ctrl-C stops)"
        )
        self.console.print(
            f"  tables: alphapulse sql --data-dir {stack.settings.data_dir} {SAMPLE_QUERY!r}", markup=False
        )
        async with contextlib.AsyncExitStack() as clients:
            lag = await self._lag_reader(stack, clients)
            await self._tell(stack, collectors, lag, began)

    async def _lag_reader(self, stack: Stack, clients: contextlib.AsyncExitStack) -> LagReader:
        """Connect; a real broker that is away at this moment comes back."""
        while True:
            try:
                return await clients.enter_async_context(stack.lag_reader())
            except BrokerError:
                if self.broker == "embedded":
                    raise
                stack.supervisor.check()
                await asyncio.sleep(REFRESH_SECONDS)

    async def _start(self, stack: Stack, status: Status) -> list[str]:
        status.update("starting the broker")
        await stack.start_broker(self.broker)
        status.update("starting the simulated venues")
        arguments = ("--venues", ",".join(self.venues), "--symbols", ",".join(self.symbols), "--seed", str(self.seed))
        await stack.supervisor.start(
            ChildSpec(SIMULATOR, "producers.simulator", stack.settings, arguments, restart=False)
        )
        feeds = self._feeds((await stack.supervisor.announcement(SIMULATOR, "venues"))["venues"])
        # Every service knows the venues: the processors take the fees from them.
        stack.settings = stack.settings.model_copy(update={"venues": feeds})
        status.update("starting processors, sinks and gateway")
        await stack.start_services(PROCESSORS, CLICKHOUSE, PARQUET, GATEWAY)
        await stack.supervisor.wait_ready(PROCESSORS, CLICKHOUSE, PARQUET, GATEWAY)
        status.update("starting the collectors")
        collectors = []
        for venue, feed in feeds.items():
            collectors.append(f"collector-{venue}")
            await stack.start_collector(collectors[-1], venue, feed, lasting=True)
        await stack.supervisor.wait_ready(*collectors)
        return collectors

    def _feeds(self, told: Mapping[str, Mapping[str, Any]]) -> dict[str, VenueSettings]:
        return {
            venue: VenueSettings(
                symbols=tuple(feed["symbols"]),
                websocket_url=feed["websocket_url"],
                rest_url=feed["rest_url"],
                key=feed["key"],
                secret=feed["secret"],
                taker_fee_basis_points=TAKER_FEES.get(venue, DEFAULT_TAKER_FEE),
            )
            for venue, feed in told.items()
        }

    async def _tell(self, stack: Stack, collectors: Sequence[str], lag: LagReader, began: float) -> None:
        before, at = await self._figures(stack, collectors, lag), time.monotonic()
        every = REFRESH_SECONDS if self.console.is_terminal else LINE_SECONDS
        with self.console.status("") if self.console.is_terminal else contextlib.nullcontext() as status:
            while True:
                await asyncio.sleep(every)
                figures, now = await self._figures(stack, collectors, lag), time.monotonic()
                line = figures.line(before, now - at, now - began, self.restarts)
                if status is not None:
                    status.update(line)
                else:
                    self.console.print(line, markup=False)
                before, at = figures, now

    async def _figures(self, stack: Stack, collectors: Sequence[str], lag: LagReader) -> Figures:
        told = [await stack.status(name) for name in collectors]
        processors = await stack.status(PROCESSORS)
        return Figures(
            frames=sum(int(status.get("frames", 0)) for status in told),
            records=sum(int(status.get("records", 0)) for status in told),
            gaps=sum(
                int(instrument["gaps"]) for status in told for instrument in status.get("instruments", {}).values()
            ),
            lag=await self._lag(stack.settings, lag),
            opportunities=int(processors.get("opportunities", 0)),
            signals=int(processors.get("published", {}).get(topics.ARBITRAGE, 0)),
        )

    async def _lag(self, settings: Settings, lag: LagReader) -> int | None:
        try:
            behind = await lag.read()
        except BrokerError:
            if self.broker == "embedded":
                raise
            return None  # it comes back, with its log
        return max(behind[group].total for group in (settings.processors.group, settings.clickhouse.group))

    def _child_died(self, child: Child, code: int) -> None:
        self.restarts += 1
        self.console.print(f"[yellow]{child.spec.name} died (exit code {code}); starting it again")


async def _ended(child: Child | None) -> bool:
    """Return whether the child's process is gone; who talked to it may have noticed a moment before we do."""
    if child is None or child.process is None:
        return False
    try:
        await asyncio.wait_for(child.process.wait(), NOTICE_SECONDS)
    except TimeoutError:
        return False
    return True


class _BrokerDied(ServiceError):
    """The in-memory broker's process ended."""
