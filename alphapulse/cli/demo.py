"""``alphapulse demo``: the whole pipeline on one machine, on simulated venues, with a live status line."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import logging
import signal
import socket
import sys
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
from alphapulse.cli.invocation import command
from alphapulse.cli.ledger import Account, Ledger
from alphapulse.cli.stack import BROKER, CLICKHOUSE, GATEWAY, PARQUET, PROCESSORS, BrokerKind, Stack
from alphapulse.config import Settings, VenueSettings
from alphapulse.errors import AlphaPulseError, ArgumentsRefused, BrokerError, ServiceError
from alphapulse.kafka.lag import GroupLag, LagReader
from alphapulse.supervisor.supervisor import Child, Supervisor

SIMULATOR = "simulator"
REFRESH_SECONDS = 1.0
NOTICE_SECONDS = 2.0
SAMPLE_QUERY = "SELECT venue, symbol, count() FROM trades GROUP BY ALL"
LINE_SECONDS = 10.0
"""Interval of status lines where the output is not a terminal, seconds."""

EXIT_INCOMPLETE = 1
"""Some published records are not stored."""
EXIT_AT_ONCE = 130
"""Stopped immediately, by a second Ctrl-C."""

# Taker fees of the simulated accounts, basis points: lower than those of the largest real traders, so that an ordinary
# price difference between two venues is profitable now and then.
TAKER_FEES = {"kraken": Decimal(4), "coinbase": Decimal(4), "binance": Decimal(3), "binance_us": Decimal(3)}
DEFAULT_TAKER_FEE = Decimal(4)


@dataclass(frozen=True)
class DemoFigures:
    """Figures of the status line, summed over all collectors."""

    frames: int
    records: int
    gaps: int
    lag: int | None
    """Lag in records of the processors and the ClickHouse sink (Parquet files close by time); None while the broker is
    unavailable."""
    opportunities: int
    """Currently open."""
    signals: int

    def line(self, before: DemoFigures, seconds: float, uptime: float, restarts: int) -> str:
        """Format the status line with rates since ``before``, ``seconds`` ago."""
        # A collector that was restarted counts from 0: no rate until the next line.
        frames = max(self.frames - before.frames, 0) / seconds
        records = max(self.records - before.records, 0) / seconds
        text = (
            f"{int(uptime) // 60:02d}:{int(uptime) % 60:02d}  {frames:,.0f} frames/s  {records:,.0f} records/s  "
            f"lag {'?' if self.lag is None else format(self.lag, ',')}  gaps {self.gaps:,}  "
            f"opportunities {self.opportunities:,} open, {self.signals:,} signals"
        )
        return f"{text}  restarts {restarts}" if restarts else text


@dataclass
class Demo:
    """A demo with the options of the command line."""

    data_dir: Path
    port: int
    venues: Sequence[str]
    symbols: Sequence[str]
    seed: int
    broker: BrokerKind = "embedded"

    def __post_init__(self) -> None:
        self.console = Console(stderr=True, highlight=False, soft_wrap=True)
        self.stop = asyncio.Event()
        self.at_once = asyncio.Event()
        self.restarts = 0
        self.lost_with_broker = 0
        self._ledger: Ledger | None = None
        self._offsets: LagReader | None = None
        self._latest: DemoFigures | None = None
        self._began = False

    async def run(self) -> int:
        """Run until Ctrl-C or SIGTERM; return the exit code.

        Raises:
            ServiceError: a part cannot start or continue.
        """
        base = config.load()
        loop = asyncio.get_running_loop()
        for number in (signal.SIGINT, signal.SIGTERM):
            loop.add_signal_handler(number, self._asked_to_stop)
        with claim(self.data_dir):
            settings = base.model_copy(
                update={
                    "data_dir": self.data_dir,
                    "venues": {},
                    "log": base.log.model_copy(update={"format": "json"}),
                    "ops": config.OpsSettings(),
                    "registry": config.RegistrySettings(),
                    "gateway": base.gateway.model_copy(update={"port": self.port}),
                    "clickhouse": base.clickhouse.model_copy(update={"dsn": "", "ttl_at_start": True}),
                    "parquet": base.parquet.model_copy(update={"path": "", "batch_seconds": 10.0}),
                }
            )
            _check_port(settings.gateway.host, self.port)
            logs.configure(settings.log.model_copy(update={"level": "ERROR"}), service="demo")
            if self.broker == "kafka":
                # It may be unavailable for a moment; the status line shows that.
                for client in ("aiokafka", "librdkafka"):
                    logging.getLogger(client).setLevel(logging.CRITICAL)
            while True:
                try:
                    return await self._run(settings)
                except _BrokerDied:
                    # An in-memory log is lost with its process: restart everything on an empty one.
                    lag = self._latest.lag if self._latest is not None else None
                    self.lost_with_broker += lag or 0
                    self.console.print(
                        f"[yellow]the broker died; records not yet stored are lost (last known lag {lag or 0:,}); "
                        "restarting the whole stack"
                    )
                    self.restarts += 1

    def _asked_to_stop(self) -> None:
        if self.stop.is_set():
            self.at_once.set()
        self.stop.set()

    async def _run(self, settings: Settings) -> int:
        self._ledger, self._offsets, self._latest = None, None, None
        async with (
            contextlib.AsyncExitStack() as clients,
            Supervisor(settings.data_dir, self._child_died) as supervisor,
        ):
            stack = Stack(supervisor, settings)
            stopped = asyncio.create_task(self.stop.wait())
            work = asyncio.create_task(self._work(stack, clients))
            failed = asyncio.create_task(supervisor.failure())
            tasks = (stopped, work, failed)
            fault: AlphaPulseError | None = None
            try:
                await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
                if not self.stop.is_set():
                    if self.broker == "embedded" and await _ended(supervisor.children.get(BROKER)):
                        # Without it no part could stop gracefully; sinks and processors are built to survive a kill.
                        await supervisor.kill()
                        raise _BrokerDied
                    supervisor.check()
                    await work
            except AlphaPulseError as error:
                if isinstance(error, _BrokerDied):
                    raise
                fault = error
            finally:
                for task in tasks:
                    task.cancel()
                    with contextlib.suppress(asyncio.CancelledError, AlphaPulseError):
                        await task
            # A stack that never started has no records to account for.
            code = await self._end(stack, clients) if fault is None or self._began else 0
        if fault is not None:
            raise fault
        return code

    async def _end(self, stack: Stack, clients: contextlib.AsyncExitStack) -> int:
        """Stop in the order of the data flow and print what is stored; return the exit code."""
        at_once = asyncio.create_task(self.at_once.wait())
        finishing = asyncio.create_task(self._finish(stack, clients))
        try:
            await asyncio.wait({at_once, finishing}, return_when=asyncio.FIRST_COMPLETED)
            if finishing.done():
                return finishing.result()
        finally:
            for task in (at_once, finishing):
                task.cancel()
            await asyncio.gather(at_once, finishing, return_exceptions=True)
        await stack.supervisor.kill()
        self.console.print("stopped immediately after a second signal: records not stored yet are not in the tables")
        if self.broker == "kafka":
            self.console.print("the next run with the same folder stores them")
        return EXIT_AT_ONCE

    async def _finish(self, stack: Stack, clients: contextlib.AsyncExitStack) -> int:
        """Stop gracefully and print the account; return the exit code."""
        began = time.monotonic()
        account: Account | None = None
        self.console.print("stopping; press Ctrl-C again to stop immediately")
        with self.console.status("stopping") if self.console.is_terminal else contextlib.nullcontext() as status:
            tell = status.update if status is not None else self.console.print
            await stack.finish(tell, self._ledger, self._offsets)
            if self._ledger is not None and self._offsets is not None:
                account = await stack.account(self._ledger, self._offsets)
            await clients.aclose()
            await stack.supervisor.stop()
        if account is None:
            self.console.print("stopped before any record was collected")
            return 0
        first, *others = account.lines(str(self.data_dir), kept=self.broker == "kafka")
        self.console.print(f"stopped after {time.monotonic() - began:.1f} s: {first}", markup=False)
        if self.lost_with_broker:
            others.append(f"  about {self.lost_with_broker:,} were lost when the broker died and are not counted above")
        for line in others:
            self.console.print(line, style="yellow", markup=False)
        return 0 if account.complete and not self.lost_with_broker else EXIT_INCOMPLETE

    async def _work(self, stack: Stack, clients: contextlib.AsyncExitStack) -> None:
        began = time.monotonic()
        with self.console.status("starting") as status:
            collectors = await self._start(stack, status, clients)
        self._began = True
        told = await stack.supervisor.announcement(GATEWAY, "url")
        self.console.print(
            f"[green]running[/] after {time.monotonic() - began:.1f} s: [bold]{told['url']}[/]"
            f"  (logs in {stack.settings.data_dir / 'logs'}; press Ctrl-C to stop)"
        )
        self.console.print(
            f"  tables: {command(sys.argv[0])} sql --data-dir {stack.settings.data_dir} {SAMPLE_QUERY!r}", markup=False
        )
        assert self._offsets is not None  # noqa: S101 _start made it
        await self._tell(stack, collectors, self._offsets, began)

    async def _lag_reader(self, stack: Stack, clients: contextlib.AsyncExitStack) -> LagReader:
        """Connect; a real broker that is unavailable now is waited for."""
        while True:
            try:
                return await clients.enter_async_context(stack.lag_reader())
            except BrokerError:
                if self.broker == "embedded":
                    raise
                stack.supervisor.check()
                await asyncio.sleep(REFRESH_SECONDS)

    async def _first_offsets(self, stack: Stack, reader: LagReader) -> dict[str, GroupLag]:
        """Read the topics' ends before anything is published; waits for a real broker that is unavailable."""
        while True:
            try:
                return await reader.read()
            except BrokerError:
                if self.broker == "embedded":
                    raise
                stack.supervisor.check()
                await asyncio.sleep(REFRESH_SECONDS)

    async def _start(self, stack: Stack, status: Status, clients: contextlib.AsyncExitStack) -> list[str]:
        def waiting(name: str, reason: str) -> None:
            status.update(f"{name} waits: {reason}")

        status.update("starting the broker")
        await stack.start_broker(self.broker)
        self._offsets = await self._lag_reader(stack, clients)
        self._ledger = stack.ledger(await self._first_offsets(stack, self._offsets))
        status.update("starting the simulated venues")
        arguments = ("--venues", ",".join(self.venues), "--symbols", ",".join(self.symbols), "--seed", str(self.seed))
        await stack.start_venues(SIMULATOR, "producers.simulator", arguments)
        feeds = self._feeds((await stack.supervisor.announcement(SIMULATOR, "venues"))["venues"])
        # All services get the venues: the processors need the fees.
        stack.settings = stack.settings.model_copy(update={"venues": feeds})
        status.update("starting processors, sinks and gateway")
        await stack.start_services(PROCESSORS, CLICKHOUSE, PARQUET, GATEWAY)
        await stack.supervisor.wait_ready(PROCESSORS, CLICKHOUSE, PARQUET, GATEWAY, waiting=waiting)
        status.update("starting the collectors")
        collectors = []
        for venue, feed in feeds.items():
            collectors.append(f"collector-{venue}")
            await stack.start_collector(collectors[-1], venue, feed, lasting=True)
        await stack.supervisor.wait_ready(*collectors, waiting=waiting)
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
        # Redrawn only on changes: rich's default of 12.5 times a second costs more than reading the figures.
        live = self.console.status("", refresh_per_second=1 / REFRESH_SECONDS)
        with live if self.console.is_terminal else contextlib.nullcontext() as status:
            while True:
                await asyncio.sleep(every)
                figures, now = await self._figures(stack, collectors, lag), time.monotonic()
                self._latest = figures
                line = figures.line(before, now - at, now - began, self.restarts)
                if status is not None:
                    status.update(line)
                else:
                    self.console.print(line, markup=False)
                before, at = figures, now

    async def _figures(self, stack: Stack, collectors: Sequence[str], lag: LagReader) -> DemoFigures:
        told = [await stack.status(name) for name in collectors]
        processors = await stack.status(PROCESSORS)
        return DemoFigures(
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
            return None  # slow, or restarting with its log; the supervisor reports the death of an in-memory broker
        return max(behind[group].total for group in (settings.processors.group, settings.clickhouse.group))

    def _child_died(self, child: Child, code: int) -> None:
        self.restarts += 1
        self.console.print(f"[yellow]{child.spec.name} {'died' if code else 'ended'} (exit code {code}); restarting it")


def _check_port(host: str, port: int) -> None:
    """Refuse a port that is taken, before anything starts; the gateway tells every other reason."""
    try:
        socket.create_server((host, port)).close()
    except OSError as error:
        if error.errno == errno.EADDRINUSE:
            told = f"--port: {host}:{port} is in use by another process; choose another, or 0 for any free one"
            raise ArgumentsRefused([told]) from error


async def _ended(child: Child | None) -> bool:
    """Return whether the child's process has ended; a client of it may notice slightly before us."""
    if child is None or child.process is None:
        return False
    try:
        await asyncio.wait_for(child.process.wait(), NOTICE_SECONDS)
    except TimeoutError:
        return False
    return True


class _BrokerDied(ServiceError):
    """The process of the in-memory broker ended."""
