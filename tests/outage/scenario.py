"""The outage itself: simulated exchanges, real collectors, a real broker of one node that is killed and comes back."""

from __future__ import annotations

import asyncio
import contextlib
import os
import re
import time
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any, Final

import aiohttp
from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.errors import KafkaError

from alphapulse import topics
from alphapulse.brokers.kafka.cluster import KafkaCluster
from alphapulse.config import KafkaSettings, Settings, VenueSettings
from alphapulse.errors import BrokerError
from alphapulse.kafka import connection, running
from alphapulse.supervisor.supervisor import ChildSpec, Supervisor
from producers.simulator.events import Trades
from producers.simulator.listings import make_listings
from producers.simulator.market import Market
from schemas.codec import Codec
from schemas.records import L2Update, Trade
from tests.outage.log_reader import LogReader
from tests.outage.observed import Observed, Plan, Sample, number_of
from tests.outage.venue import read_diary

SAMPLE_SECONDS: Final = 0.1
_POLL_SECONDS: Final = 0.02
_GAPS: Final = re.compile(r'^alphapulse_gaps_total\{kind="(\w+)",venue="(\w+)"\} ([\d.]+)$', re.MULTILINE)


def events_per_second(plan: Plan) -> float:
    """Return the events a second and instrument that make ``plan.rate`` frames: Binance has one for each trade."""
    frames = 0
    for venue in plan.venues:
        market = Market(make_listings([venue], plan.symbols), seed=plan.seed, rate=100.0, start_ns=0)
        for event in market.advance(10 * 10**9):
            frames += len(event.trades) if isinstance(event, Trades) and venue != "kraken" else 1
    return plan.rate / frames * 1000.0


async def play(
    plan: Plan, folder: Path, cluster: KafkaCluster, tell: Callable[[str], None] = lambda text: None
) -> Observed:
    """Let it happen on a running ``cluster`` of one node with empty topics; ``tell`` is told how it goes.

    Raises:
        BrokerError: the broker does not start again.
        ServiceError: a collector or the simulation ended.
        TimeoutError: nothing comes to begin with, or the broker does not answer within ``plan.patience``.
    """
    seen = Observed(plan)
    async with Supervisor(folder) as supervisor:
        settings = Settings(data_dir=folder, kafka=cluster.settings(), publisher=plan.publisher)
        await _start(plan, supervisor, settings, folder / "diary.jsonl")
        async with LogReader(cluster.settings()) as reader, _sampling(seen, supervisor):
            await _outage(seen, cluster, supervisor, reader, tell)
            seen.last = await supervisor.ask("simulator", "POST", "/stop")
            seen.stopped = time.time_ns()
            await _all_arrived(seen, reader, supervisor)
            for venue in plan.venues:
                seen.gaps[venue] = await _gaps(supervisor, venue)
            status = await supervisor.ask("simulator", "GET", "/status")
            seen.skipped_seconds = status["skipped_seconds"]
        supervisor.check()
        seen.arrived = reader.arrived
        for venue in plan.venues:
            with supervisor.log_path(_name(venue)).open("rb") as log:
                seen.log_lines[venue] = sum(1 for _ in log)
    seen.diary = read_diary(folder / "diary.jsonl")
    return seen


def _name(venue: str) -> str:
    return f"collector-{venue}"


async def _start(plan: Plan, supervisor: Supervisor, settings: Settings, diary: Path) -> None:
    rate = events_per_second(plan)
    names = ("--venues", ",".join(plan.venues), "--symbols", ",".join(plan.symbols))
    market = (*names, "--seed", str(plan.seed), "--rate", str(rate), "--diary", str(diary))
    await supervisor.start(ChildSpec("simulator", "tests.outage.venue", settings, market, restart=False))
    told = (await supervisor.announcement("simulator", "venues"))["venues"]
    for venue in plan.venues:
        feed = VenueSettings(
            symbols=plan.symbols,
            connections=plan.connections,
            websocket_url=told[venue]["websocket_url"],
            rest_url=told[venue]["rest_url"],
        )
        own = settings.model_copy(update={"venues": {venue: feed}})
        await supervisor.start(ChildSpec(_name(venue), "producers", own, (venue,), restart=False))
    await supervisor.wait_ready(*(_name(venue) for venue in plan.venues))


async def _outage(
    seen: Observed, cluster: KafkaCluster, supervisor: Supervisor, reader: LogReader, tell: Callable[[str], None]
) -> None:
    plan = seen.plan
    async with asyncio.timeout(plan.patience):
        while not all((topics.L2, key) in reader.arrived for key in _keys(plan)):
            await _pause(_POLL_SECONDS, supervisor, reader)
    tell(f"{plan.before:g} s at {plan.rate:g} frames/s")
    frames, began = await _frames(seen, supervisor), time.monotonic()
    await _pause(plan.before, supervisor, reader)
    seen.frames_per_second = (await _frames(seen, supervisor) - frames) / (time.monotonic() - began)
    tell(f"{seen.frames_per_second:.0f} frames/s came")
    for deaths_left in reversed(range(plan.times)):
        await _die(seen, cluster, supervisor, reader, tell)
        if deaths_left:
            await _pause(plan.between, supervisor, reader)
    deadline = time.monotonic() + plan.patience
    while not _go_on(seen, reader) and time.monotonic() < deadline:  # if they never do, the verdict says so
        await _pause(_POLL_SECONDS, supervisor, reader)
    await _pause(plan.after, supervisor, reader)


async def _die(
    seen: Observed, cluster: KafkaCluster, supervisor: Supervisor, reader: LogReader, tell: Callable[[str], None]
) -> None:
    """Kill the node, wait, start it again, wait for its answer."""
    plan, (node,) = seen.plan, cluster.nodes
    tell(f"killing the broker; away for {plan.away:g} s")
    seen.killed = seen.killed or time.time_ns()
    node.kill()
    try:
        await _pause(plan.away, supervisor, reader)
        async with asyncio.timeout(plan.patience):
            while plan.until_closed and not all(_closed(samples) for samples in seen.samples.values()):
                await _pause(_POLL_SECONDS, supervisor, reader)
    finally:
        seen.started = time.time_ns()
        await cluster.start_node(node)
    async with asyncio.timeout(plan.patience):
        while not await _answers(cluster.settings()):
            await _pause(_POLL_SECONDS, supervisor, reader)
    seen.returned = time.time_ns()
    tell(f"started again, it answers after {(seen.returned - seen.started) / 1e9:.2f} s")


def _closed(samples: list[Sample]) -> bool:
    return not any(connection["connected"] for connection in samples[-1].status["connections"])


def _go_on(seen: Observed, reader: LogReader) -> bool:
    """Return whether each book's last record is a delta of what came after the return."""
    codec = Codec()
    updates = [_last(codec, reader, topics.L2, key) for key in _keys(seen.plan)]
    return all(update.kind == "DELTA" and update.received_time > seen.returned for update in updates)


def _keys(plan: Plan) -> list[str]:
    return [f"{venue}|{symbol}" for venue in plan.venues for symbol in plan.symbols]


async def _pause(seconds: float, supervisor: Supervisor, reader: LogReader) -> None:
    """Let ``seconds`` pass, in which nobody may end."""
    until = time.monotonic() + seconds
    while True:
        supervisor.check()
        reader.check()
        left = until - time.monotonic()
        if left <= 0:
            return
        await asyncio.sleep(min(left, 0.5))


async def _answers(settings: KafkaSettings) -> bool:
    """Return whether the broker takes a connection and answers a request for metadata."""
    quick = settings.model_copy(update={"request_timeout_ms": 1_000})
    try:
        async with running(AIOKafkaAdminClient(**connection(quick)), quick):  # its start asks for metadata
            return True
    except (BrokerError, KafkaError, OSError):
        return False


async def _frames(seen: Observed, supervisor: Supervisor) -> int:
    found = [await supervisor.ask(_name(venue), "GET", "/status") for venue in seen.plan.venues]
    return sum(status["frames"] for status in found)


async def _gaps(supervisor: Supervisor, venue: str) -> dict[str, int]:
    port = (await supervisor.announcement(_name(venue), "ops_port"))["ops_port"]
    async with aiohttp.ClientSession() as http, http.get(f"http://127.0.0.1:{port}/metrics") as answer:
        text = await answer.text()
    return {kind: int(float(count)) for kind, of, count in _GAPS.findall(text) if of == venue}


@contextlib.asynccontextmanager
async def _sampling(seen: Observed, supervisor: Supervisor) -> AsyncIterator[None]:
    """Note again and again what each collector takes and holds."""

    async def watch(venue: str) -> None:
        while True:
            pid = supervisor.children[_name(venue)].pid
            status = await supervisor.ask(_name(venue), "GET", "/status", default={})
            if pid is not None and status:
                seen.samples[venue].append(Sample(time.time_ns(), resident_bytes(pid), status))
            await asyncio.sleep(SAMPLE_SECONDS)

    watching = [asyncio.create_task(watch(venue)) for venue in seen.plan.venues]
    try:
        yield
    finally:
        for task in watching:
            task.cancel()
        for ended in await asyncio.gather(*watching, return_exceptions=True):
            if isinstance(ended, Exception):
                raise ended


def resident_bytes(pid: int) -> int:
    """Return the resident memory of a process; 0 if it just ended."""
    try:
        return int(Path(f"/proc/{pid}/statm").read_text(encoding="ascii").split()[1]) * os.sysconf("SC_PAGE_SIZE")
    except (OSError, IndexError):
        return 0


async def _all_arrived(seen: Observed, reader: LogReader, supervisor: Supervisor) -> None:
    """Wait until each instrument's last change and last trade have come, and all events, or for long enough."""
    codec = Codec()

    def arrived(key: str, last: dict[str, int]) -> bool:
        update, trade = _last(codec, reader, topics.L2, key), _last(codec, reader, topics.TRADES, key)
        return (
            isinstance(update, L2Update)
            and number_of(update) == last.get("change")
            and isinstance(trade, Trade)
            and int(trade.trade_id) == last.get("trade")
        )

    async def all_told() -> bool:
        """Whether what the collectors had to tell is acknowledged, and has been read."""
        told = [await supervisor.ask(_name(venue), "GET", "/status") for venue in seen.plan.venues]
        read = sum(len(found) for (topic, _), found in reader.arrived.items() if topic == topics.EVENTS)
        unread = sum(status["published"].get(topics.EVENTS, 0) for status in told) - read
        return unread <= 0 and not any(status["in_flight"] for status in told)

    deadline = time.monotonic() + seen.plan.patience
    while time.monotonic() < deadline:
        reader.check()
        if all(arrived(key, last) for key, last in seen.last.items()) and await all_told():
            return
        await asyncio.sleep(_POLL_SECONDS)


def _last(codec: Codec, reader: LogReader, topic: str, key: str) -> Any:
    """Return the last record of ``key`` that tells of a change; None: there is none."""
    for _, value in reversed(reader.arrived.get((topic, key), [])):
        record = codec.decode(value)
        if not (isinstance(record, L2Update) and record.kind == "HEARTBEAT"):
            return record
    return None
