"""``alphapulse replay``: recordings through the whole pipeline, with a summary of the results."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import stat
import sys
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from rich.console import Console

from alphapulse import config, logs
from alphapulse.claim import claim
from alphapulse.cli import summary
from alphapulse.cli.pacing import Offsets, Pacer
from alphapulse.cli.stack import CLICKHOUSE, PARQUET, PROCESSORS, Stack
from alphapulse.config import Settings, VenueSettings
from alphapulse.errors import ArgumentsRefused, ServiceError
from alphapulse.kafka.lag import GroupLag, LagReader
from alphapulse.supervisor.supervisor import Supervisor

WINDOW_BYTES = 2 * 2**20
"""Maximum frame bytes in flight. A record is smaller than its frame, and a partition of the broker keeps 8 MB."""

POLL_SECONDS = 0.05
STALL_SECONDS = 120.0
"""A replay without any progress for this long has failed."""

EXIT_MISSING = 1

_UNBOUNDED = 1_000
"""Columns where the output is not a terminal."""


def check_speed(text: str) -> float | None:
    """Parse the speed: None for ``max``, else a multiple of the original.

    Raises:
        ArgumentsRefused: it is neither.
    """
    if text == "max":
        return None
    try:
        speed = float(text)
    except ValueError:
        speed = 0.0
    if not 0 < speed < float("inf"):
        raise ArgumentsRefused([f"--speed: 'max' or a positive number, found {text!r}"])
    return speed


@dataclass
class ReplayFeed:
    """A recording with its venue replay and its collector."""

    path: Path
    replay: str
    collector: str
    told: dict[str, Any] = field(default_factory=dict)
    status: dict[str, Any] = field(default_factory=dict)
    collected: dict[str, Any] = field(default_factory=dict)

    @property
    def frames_sent(self) -> int:
        """Recorded lines served, including REST responses."""
        return int(self.status.get("frames_sent", 0))

    @property
    def frames_on_the_wire(self) -> int:
        """Frames as the collector counts them: those of the recording plus the venue's own responses and heartbeats."""
        return int(self.status.get("websocket_frames_sent", 0)) + int(self.status.get("control_frames_sent", 0))

    @property
    def finished(self) -> bool:
        """Whether everything is served and the broker has acknowledged all records of it."""
        return bool(self.status.get("finished")) and self.collected.get("frames_done", -1) >= self.frames_on_the_wire


@dataclass
class Replay:
    """A replay with the options of the command line; ``speed`` None: as fast as the consumers can."""

    recordings: tuple[Path, ...]
    data_dir: Path | None
    speed: float | None
    json: bool
    venue: str | None = None
    symbols: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        self.console = Console(stderr=True, highlight=False, soft_wrap=True)
        self.feeds: list[ReplayFeed] = []
        self.peak_memory = 0

    async def run(self) -> int:
        """Replay all recordings, print the summary and return the exit code (1: something is missing).

        Raises:
            ArgumentsRefused, ConfigError, ServiceError: it cannot start or continue.
        """
        base = config.load()
        folder = self.data_dir or Path("data/replay") / time.strftime("%Y%m%dT%H%M%S")
        if _holds_something(folder):
            raise ServiceError(f"--data-dir: {folder} is not an empty folder; choose a new or empty one")
        if faults := [fault for fault in map(_fault_of, self.recordings) if fault]:
            raise ArgumentsRefused(faults)
        with claim(folder):
            settings = self._settings(base, folder)
            logs.configure(settings.log, service="replay")
            work = asyncio.create_task(self._run(settings))
            loop = asyncio.get_running_loop()
            for number in (signal.SIGINT, signal.SIGTERM):
                loop.add_signal_handler(number, work.cancel)
            try:
                return await work
            except asyncio.CancelledError:
                self.console.print("interrupted")
                return 130

    def _settings(self, base: Settings, folder: Path) -> Settings:
        sections = {
            "data_dir": folder,
            "venues": {},
            "log": base.log.model_copy(update={"format": "json"}),
            "ops": config.OpsSettings(),
            "registry": config.RegistrySettings(),
            # A recording's times do not say when its frames arrived here, and the pace is that of the consumers.
            "freshness": base.freshness.model_copy(update={"max_feed_delay_ms": 0}),
            # Small batches: the pace depends on the sinks' commits. No TTL: it counts from the recording's times.
            "clickhouse": base.clickhouse.model_copy(
                update={
                    "dsn": "",
                    "batch_seconds": 0.2,
                    "batch_seconds_max": 0.2,
                    "ttl_days": dict.fromkeys(config.TTL_DAYS, 0.0),
                    "ttl_at_start": False,
                }
            ),
            "parquet": base.parquet.model_copy(update={"path": "", "batch_seconds": 0.3}),
        }
        return base.model_copy(update=sections)

    async def _run(self, settings: Settings) -> int:
        async with Supervisor(settings.data_dir) as supervisor:
            stack = Stack(supervisor, settings)
            self.console.print("starting the embedded stack")
            await stack.start_broker()
            await stack.start_services(PROCESSORS, CLICKHOUSE, PARQUET)
            await self._start_replays(stack)
            await supervisor.wait_ready(PROCESSORS, CLICKHOUSE, PARQUET)
            started = time.monotonic()
            await self._start_collectors(stack)
            async with stack.lag_reader() as lag:
                await self._play(stack, lag)
                seconds = time.monotonic() - started
                processed = (await supervisor.ask(PROCESSORS, "GET", "/books"))["instruments"]
                # Collectors and processors publish at their end; the sinks must read that, too.
                await supervisor.stop(*(feed.collector for feed in self.feeds))
                await supervisor.stop(PROCESSORS)
                await self._drain(stack, lag, (settings.clickhouse.group, settings.parquet.group))
            result, faults = await self._result(stack, processed, seconds)
            await supervisor.stop(CLICKHOUSE, PARQUET)
        self._print(result, faults)
        return EXIT_MISSING if faults else 0

    async def _start_replays(self, stack: Stack) -> None:
        pace = ("--speed", "max", "--paced") if self.speed is None else ("--speed", f"{self.speed:g}")
        venue = ("--venue", self.venue) if self.venue is not None else ()
        symbols = ("--symbols", ",".join(self.symbols)) if self.symbols else ()
        for number, path in enumerate(self.recordings, start=1):
            feed = ReplayFeed(path, f"replay-{number}", f"collector-{number}")
            self.feeds.append(feed)
            arguments = (str(path), *pace, *venue, *symbols, "--name", feed.replay)
            await stack.start_venues(feed.replay, "producers.replay", arguments)
        played: dict[tuple[str, str], Path] = {}
        for feed in self.feeds:
            # The file is scanned before the announcement, and it may be large.
            feed.told = await stack.supervisor.announcement(feed.replay, "symbols", timeout=3600)
            for symbol in feed.told["symbols"]:
                other = played.setdefault((feed.told["venue"], symbol), feed.path)
                if other is not feed.path:
                    raise ArgumentsRefused(
                        [f"{feed.path}: {feed.told['venue']} {symbol} is also in {other}; replay them separately"]
                    )

    async def _start_collectors(self, stack: Stack) -> None:
        for feed in self.feeds:
            told = feed.told
            self.console.print(
                f"{feed.path.name}: {told['venue']}, {told['frames']:,} frames, {', '.join(told['symbols'])}"
            )
            venue = VenueSettings(
                symbols=tuple(told["symbols"]),
                depth=told["depth"],
                websocket_url=told["websocket_url"],
                rest_url=told["rest_url"],
                key=told["key"],
                secret=told["secret"],
            )
            await stack.start_collector(feed.collector, told["venue"], venue)

    async def _play(self, stack: Stack, lag: LagReader) -> None:
        """Grant credit as the consumers commit, until everything sent is committed."""
        pacer = Pacer(WINDOW_BYTES)
        moved, progress = time.monotonic(), (-1, -1)
        granted = 0
        with self.console.status("replaying") as line:
            while True:
                for feed in self.feeds:
                    feed.status = await stack.status(feed.replay)
                sent = sum(int(feed.status.get("bytes_sent", 0)) for feed in self.feeds)
                pacer.sent({feed.collector: feed.frames_on_the_wire for feed in self.feeds}, sent)
                for feed in self.feeds:
                    feed.collected = await stack.status(feed.collector)
                done = {feed.collector: int(feed.collected.get("frames_done", 0)) for feed in self.feeds}
                figures = await lag.read()
                pacer.published(done, _ends(figures))
                pacer.committed({name: _commits(group) for name, group in figures.items()})
                if self.speed is None and pacer.credit > granted:
                    granted = pacer.credit
                    await self._grant(stack, granted - sent)
                self.peak_memory = max(self.peak_memory, stack.supervisor.memory_bytes())
                if all(feed.finished for feed in self.feeds) and pacer.settled_bytes == sent:
                    return
                line.update(self._progress())
                if (now := (sum(done.values()), pacer.settled_bytes)) != progress:
                    moved, progress = time.monotonic(), now
                elif self._should_move() and time.monotonic() - moved > STALL_SECONDS:
                    raise ServiceError(self._stalled(stack, done))
                await asyncio.sleep(POLL_SECONDS)

    async def _grant(self, stack: Stack, ahead: int) -> None:
        """Share the credit among the recordings that have not ended."""
        playing = [feed for feed in self.feeds if not feed.status.get("finished")]
        for feed in playing:
            allowed = int(feed.status.get("bytes_sent", 0)) + max(ahead // len(playing), 1)
            await stack.supervisor.ask(feed.replay, "POST", "/credit", body={"bytes": allowed}, default={})

    def _should_move(self) -> bool:
        """Whether progress is expected: at the original speed a quiet hour stays quiet until all frames are sent."""
        return self.speed is None or all(feed.status.get("finished") for feed in self.feeds)

    def _progress(self) -> str:
        total = sum(int(feed.told["frames"]) for feed in self.feeds)
        done = sum(int(feed.collected.get("frames_done", 0)) for feed in self.feeds)
        return f"replaying: {done:,} of {total:,} frames"

    def _stalled(self, stack: Stack, done: Mapping[str, int]) -> str:
        where = "; ".join(
            f"{feed.path.name}: {feed.frames_sent} frames sent, {done[feed.collector]} published" for feed in self.feeds
        )
        return f"no progress for {STALL_SECONDS:g} s ({where}); see the logs in {stack.settings.data_dir / 'logs'}"

    async def _drain(self, stack: Stack, lag: LagReader, groups: tuple[str, ...]) -> None:
        deadline = time.monotonic() + STALL_SECONDS
        while (behind := await _behind(lag, groups)) > 0:
            stack.supervisor.check()
            if time.monotonic() > deadline:
                raise ServiceError(f"the sinks are {behind} records behind, without progress for {STALL_SECONDS:g} s")
            await asyncio.sleep(POLL_SECONDS)

    async def _result(
        self, stack: Stack, processed: list[dict[str, Any]], seconds: float
    ) -> tuple[dict[str, Any], list[str]]:
        database = stack.settings.clickhouse.database
        answers = {
            name: await stack.supervisor.ask(
                CLICKHOUSE, "POST", "/sql?format=JSONCompact", body=query.format(database=database)
            )
            for name, query in summary.COUNT_QUERIES.items()
        }
        clickhouse = summary.clickhouse_counts(answers)
        parquet = await asyncio.to_thread(summary.parquet_counts, stack.settings.data_dir / "parquet")
        books = {(book["venue"], book["symbol"]): book for book in processed}
        rows, faults = [], []
        for feed in self.feeds:
            faults += [str(fault) for key in ("incomplete", "unnamed") for fault in feed.status.get(key, [])]
            faults += summary.doubts(feed.told["venue"], feed.told["books"], feed.collected["instruments"])[0]
            for symbol, collected in sorted(feed.collected["instruments"].items()):
                key = (feed.told["venue"], symbol)
                processor = books.get(key, {})
                row = summary.instrument_row(key, collected, processor, clickhouse, parquet)
                rows.append(row)
                faults += summary.missing(row, collected, processor)
        frames = sum(feed.frames_sent for feed in self.feeds)
        run = {
            "seconds": round(seconds, 3),
            "frames": frames,
            "records": sum(int(feed.collected["records"]) for feed in self.feeds),
            "frames_per_second": round(frames / seconds, 1),
            "peak_memory_bytes": self.peak_memory,
            "dead_letters": sum(int(feed.collected["dead_letters"]) for feed in self.feeds),
        }
        return {"instruments": rows, "run": run}, faults

    def _print(self, result: Mapping[str, Any], faults: list[str]) -> None:
        if self.json:
            json.dump(result, sys.stdout, indent=1)
            sys.stdout.write("\n")
        else:
            # A pipe has no width at which to cut lines off.
            bounded = sys.stdout.isatty() or "COLUMNS" in os.environ
            console = Console(highlight=False, width=None if bounded else _UNBOUNDED)
            for table in summary.tables(result, console):
                console.print(table, width=max(summary.natural_width(table, console), 1), no_wrap=True, crop=False)
        for feed in self.feeds:
            for warning in map(str, feed.status.get("faults", [])):
                if warning not in faults:  # reported below
                    self.console.print(warning, style="yellow", markup=False)
            for text in summary.doubts(feed.told["venue"], feed.told["books"], feed.collected["instruments"])[1]:
                self.console.print(text, style="yellow", markup=False)
        if result["run"]["dead_letters"]:
            self.console.print(f"{result['run']['dead_letters']} frames were refused and kept in dlq", style="yellow")
        for fault in faults:
            self.console.print(fault, style="red", markup=False)


def _holds_something(folder: Path) -> bool:
    """Whether ``folder`` exists and is not empty, or is not a folder.

    Raises:
        ServiceError: it cannot be read.
    """
    try:
        return any(folder.iterdir())
    except FileNotFoundError:
        return False
    except NotADirectoryError:
        return folder.exists()
    except OSError as error:
        raise ServiceError(f"--data-dir: {folder}: {error.strerror or error}") from error


def _fault_of(path: Path) -> str:
    """Return why ``path`` cannot be read as a recording; empty: it can."""
    try:
        mode = path.stat().st_mode
        if stat.S_ISDIR(mode):
            return f"{path}: is a folder; name the recordings in it, such as {path / '*.rec.gz'}"
        if not stat.S_ISREG(mode):
            return f"{path}: is not a regular file; a recording is read twice"
        with path.open("rb"):
            return ""
    except FileNotFoundError:
        return f"{path}: no such file"
    except OSError as error:
        return f"{path}: cannot be read: {error.strerror or error}"


def _ends(figures: Mapping[str, GroupLag]) -> Offsets:
    return {(p.topic, p.partition): lag.end for group in figures.values() for p, lag in group.partitions.items()}


def _commits(group: GroupLag) -> Offsets:
    return {(p.topic, p.partition): lag.committed or 0 for p, lag in group.partitions.items()}


async def _behind(lag: LagReader, groups: tuple[str, ...]) -> int:
    figures = await lag.read()
    return sum(figures[name].total for name in groups)
