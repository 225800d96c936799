"""The run: a broker with the source's messages, the sinks that read them at full speed, and their deaths."""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

import clickhouse_connect

from alphapulse import topics
from alphapulse.config import KafkaSettings, Settings
from alphapulse.kafka import native_producer, running
from schemas.codec import Codec
from sinks.letters import Wanted, read
from tests.fixtures.clickhouse_server import ClickHouseServer
from tests.fixtures.containers import free_port
from tests.fixtures.sink_process import Process
from tests.kills.files import in_files
from tests.kills.fleet import Fleet
from tests.kills.plan import Plan
from tests.kills.progress import Progress
from tests.kills.queries import Ask, difference, in_tables
from tests.kills.source import Expected, Source

FILES: Final = (topics.TRADES, topics.L2)
TABLES: Final = (*FILES, topics.DEPTH)
TURN_MESSAGES: Final = 500
"""Messages made without letting anything else run."""
IN_FLIGHT: Final = 50_000
WITHHELD: Final = 0.1
"""This part of the messages is published when most of the kills are done, so that all of them find work."""


@dataclass(slots=True)
class Seen:
    """What happened, and how the result differs from the source.

    Attributes:
        seconds: from the first message to the last commit of the slowest sink.
        kills: sink → moment → instances killed.
        moves: sink → how often an instance joined or left in good order.
        traces: sink → what its logs say.
        outages: how often the server was away.
        letters: dead letters, repeated ones too.
        differences: sink → each difference.
    """

    plan: Plan
    messages: int = 0
    damaged: int = 0
    seconds: float = 0.0
    kills: dict[str, Counter[str]] = field(default_factory=dict)
    moves: dict[str, int] = field(default_factory=dict)
    traces: dict[str, Counter[str]] = field(default_factory=dict)
    outages: int = 0
    letters: int = 0
    files: int = 0
    differences: dict[str, list[str]] = field(default_factory=dict)


async def play(plan: Plan, folder: Path, kafka: KafkaSettings, tell: Callable[[str], None] = lambda text: None) -> Seen:
    """Let it happen on a broker whose topics are empty; ``tell`` is told how it goes.

    Raises:
        AssertionError: a sink ended by itself, or nothing goes on.
        AlphaPulseError: the broker cannot be used.
    """
    seen = Seen(plan)
    patient = {"session_timeout_ms": plan.session_ms, "heartbeat_interval_ms": plan.session_ms // 10}
    base = Settings(kafka=kafka.model_copy(update=patient))
    source = Source(plan.records, plan.damaged, plan.seed)
    async with AsyncExitStack() as stack:
        server = await stack.enter_async_context(_server(folder)) if "server" in plan.sinks else None
        fleets = {name: _fleet(name, base, plan, folder, server) for name in plan.sinks}
        for fleet in fleets.values():
            stack.callback(fleet.end)
        groups = {f"kills-{name}": (_topics(name), source.total_of(*_topics(name))) for name in fleets}
        async with Progress(base.kafka, groups, plan.patience) as progress:
            await _suffer(plan, source, fleets, server, progress, tell, seen)
            expected = source.expected
            tell(f"all of {seen.messages:,} messages committed after {seen.seconds:.0f} s; comparing")
            asks = {name: _ask(fleets[name], server) for name in fleets if name != "parquet"}
            for name, ask in asks.items():
                seen.differences[name] = await asyncio.to_thread(in_tables, ask, expected)
            for fleet in fleets.values():
                await fleet.stop_all(plan.patience)
        if "parquet" in fleets:
            root = Path(fleets["parquet"].settings.parquet.path)
            seen.differences["parquet"] = await asyncio.to_thread(in_files, root, expected, folder / "reader")
            seen.files = await asyncio.to_thread(lambda: sum(1 for _ in root.rglob("*.parquet")))
        for name, fleet in fleets.items():
            seen.kills[name], seen.traces[name] = fleet.kills, fleet.traces()
            seen.moves[name] = fleet.joined + fleet.left
        seen.differences["dead letters"] = await _letters(base.kafka, fleets, expected, seen)
        seen.damaged = len(expected.damaged)
    return seen


async def _suffer(
    plan: Plan,
    source: Source,
    fleets: dict[str, Fleet],
    server: ClickHouseServer | None,
    progress: Progress,
    tell: Callable[[str], None],
    seen: Seen,
) -> None:
    """Publish, and let everything befall the sinks until all is committed."""
    began = time.monotonic()
    for fleet in fleets.values():
        for process in fleet.instances:
            fleet.start(process)
    async with asyncio.TaskGroup() as group:
        group.create_task(_publish(plan, source, fleets, progress))
        for number, (name, fleet) in enumerate(fleets.items()):
            group.create_task(fleet.suffer(plan.kills, progress, plan.seed * 10 + number))
            group.create_task(fleet.visits(progress, plan.patience))
            if name == "server" and server is not None:
                group.create_task(_outages(plan, server, fleet, progress, seen))
        telling = asyncio.create_task(_tell(fleets, progress, tell))
        try:
            for fleet in fleets.values():
                await fleet.stored(progress)
        finally:
            telling.cancel()
    seen.seconds = time.monotonic() - began
    seen.messages = source.expected.messages(*TABLES)


async def _publish(plan: Plan, source: Source, fleets: dict[str, Fleet], progress: Progress) -> None:
    """Publish all messages, the last of them when most of the kills are done."""
    withheld = False
    async with running(native_producer(progress.settings, client_id="source"), progress.settings) as producer:
        for number, message in enumerate(source.messages(), start=1):
            while not producer.send(message.topic, message.value, key=message.key, partition=message.partition):
                await producer.flush()
            if number % TURN_MESSAGES == 0:
                producer.poll()
                await asyncio.sleep(0)
                if len(producer) > IN_FLIGHT:
                    await producer.flush()
            if not withheld and number > (1 - WITHHELD) * source.total:
                withheld = True
                await producer.flush()
                while any(fleet.kills.total() < int(0.8 * plan.kills) for fleet in fleets.values()):
                    await asyncio.sleep(0.1)
        await producer.flush()


async def _outages(plan: Plan, server: ClickHouseServer, fleet: Fleet, progress: Progress, seen: Seen) -> None:
    """Kill the server while it stores, and let it be away for a time."""
    for number in range(plan.outages):
        await progress.reaches(f"kills-{fleet.name}", (number + 1) / (plan.outages + 1))
        await asyncio.to_thread(server.kill)
        await asyncio.sleep(plan.away)
        await asyncio.to_thread(server.start)
        seen.outages += 1


async def _tell(fleets: dict[str, Fleet], progress: Progress, tell: Callable[[str], None]) -> None:
    while True:
        await asyncio.sleep(10.0)
        tell(
            ", ".join(
                f"{name} {progress.share(f'kills-{name}'):.0%} ({fleet.kills.total()} kills)"
                for name, fleet in fleets.items()
            )
        )


def _topics(name: str) -> tuple[str, ...]:
    return FILES if name == "parquet" else TABLES


@asynccontextmanager
async def _server(folder: Path) -> AsyncIterator[ClickHouseServer]:
    server = ClickHouseServer(folder / "server", free_port())
    await asyncio.to_thread(server.start)
    try:
        yield server
    finally:
        server.kill()


def _fleet(name: str, base: Settings, plan: Plan, folder: Path, server: ClickHouseServer | None) -> Fleet:
    quick = {"batch_records": plan.batch_records, "drain_seconds": 2.0, "group": f"kills-{name}"}
    clickhouse = base.clickhouse.model_copy(
        update={
            **quick,
            "topics": TABLES,
            "batch_seconds": 0.5,
            "batch_seconds_max": 1.0,
            "dsn": server.dsn if server is not None and name == "server" else "",
        }
    )
    parquet = base.parquet.model_copy(
        update={**quick, "topics": FILES, "batch_seconds": 1.0, "path": str(folder / "parquet")}
    )
    target = "parquet" if name == "parquet" else "clickhouse"
    # An embedded database belongs to one process.
    count = 1 if name == "embedded" else 3
    processes = [
        Process(
            target,
            base.model_copy(
                update={"data_dir": folder / f"{name}-{number}", "clickhouse": clickhouse, "parquet": parquet}
            ),
        )
        for number in range(count)
    ]
    watched = {
        "server": (folder / "server", ("store/*/*",)),
        "embedded": (folder / "embedded-0" / "clickhouse", ("store/*/*",)),
        "parquet": (folder / "parquet", (".work", "md.*/date=*/hour=*")),
    }[name]
    if count == 1:
        return Fleet(name, processes, None, watched)
    return Fleet(name, processes[:2], processes[2], watched)


def _ask(fleet: Fleet, server: ClickHouseServer | None) -> Ask:
    """Return what asks the tables: the server, or the sink that has the embedded engine."""
    if fleet.name != "server" or server is None:
        return lambda query: fleet.instances[0].text("/sql?format=TabSeparated", query.encode())
    dsn, database = server.dsn, fleet.settings.clickhouse.database

    def ask(query: str) -> bytes:
        client = clickhouse_connect.get_client(dsn=dsn, database=database)
        try:
            answer: bytes = client.raw_query(query, fmt="TabSeparated")
        finally:
            client.close()
        return answer

    return ask


async def _letters(kafka: KafkaSettings, fleets: dict[str, Fleet], expected: Expected, seen: Seen) -> list[str]:
    """Return how the dead letters differ from the damaged messages: each sink has to refuse those, and no others."""
    unreadable: list[str] = []
    letters = await read(kafka, Codec(), Wanted(), lambda place, reason: unreadable.append(f"dlq {place}: {reason}"))
    seen.letters = len(letters)
    found = {(letter.record.service, *(letter.origin or ()), letter.record.value) for letter in letters}
    services = {f"sink-{fleet.instances[0].target}" for fleet in fleets.values()}
    wanted = {(service, *place, value) for service in services for place, value in expected.damaged.items()}
    return unreadable + difference("dead letters", sorted(found), sorted(wanted))
