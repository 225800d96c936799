"""``python -m sinks.clickhouse.admin migrate|ttl|status|init``: administration of the configured database.

Exit codes: 0 done, or everything as configured; 1 ``status`` found a difference; 2 refused, with the reason. A server
is reached directly; the embedded database only while no sink holds it, except by ``status``, which asks the sink.
"""

from __future__ import annotations

import asyncio
import json
import sys
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path
from typing import Any, Final, TypeVar

from alphapulse import config, logs, output
from alphapulse.arguments import CommandParser
from alphapulse.claim import InUse
from alphapulse.config import Settings
from alphapulse.errors import AlphaPulseError, ServiceError
from alphapulse.service import EXIT_OK, EXIT_REFUSED
from sinks.clickhouse import retention
from sinks.clickhouse.engine import Engine, database_folder
from sinks.clickhouse.retention import told
from sinks.clickhouse.status import SinkRows, status
from sinks.clickhouse.tables import migrations, missing_tables, tune, upgrade

T = TypeVar("T")

EXIT_DIFFERS: Final = 1


async def migrate(settings: Settings, wait_seconds: float) -> tuple[dict[str, Any], list[str]]:
    """Apply pending migrations, add columns for new fields, create tables that were dropped.

    Args:
        settings: name the database.
        wait_seconds: maximum wait for a server that does not answer.

    Returns:
        What was done, as JSON-able fields and as lines.

    Raises:
        ServiceError: the server does not answer in time, or refuses; the tables are of a later release.
    """

    async def work(engine: Engine) -> tuple[dict[str, Any], list[str]]:
        done = await upgrade(engine)
        if created := await missing_tables(engine):
            await upgrade(engine, again=True)
        if engine.embedded:
            await tune(engine)
        count = f"{len(done.migrations)} of {len(migrations())}"
        lines = [f"tables of {_place(engine)}: {count} migrations applied now, the others before"]
        if done.columns:
            lines.append(f"columns added for new fields: {', '.join(done.columns)}")
        if created:
            lines.append(f"tables that were missing, created anew and empty: {', '.join(created)}")
        return {**_named(engine), "applied": done.migrations, "columns": done.columns, "created": created}, lines

    return await _with(settings, wait_seconds, work, "a sink migrates at its start")


async def set_ttls(settings: Settings, wait_seconds: float) -> tuple[dict[str, Any], list[str]]:
    """Set the tables' TTLs as configured. Arguments, result and errors as of :func:`migrate`."""

    async def work(engine: Engine) -> tuple[dict[str, Any], list[str]]:
        if not await retention.ttls(engine, settings.clickhouse):
            raise ServiceError(f"no tables in {_place(engine)}: run `alphapulse clickhouse migrate` first")
        changed = await retention.apply(engine, settings.clickhouse, by_hand_too=True)
        lines = [f"TTL set; was {told(each)}" for each in changed]
        fields = [
            {"table": each.table.name, "before": each.expression or None, "ttl_days": each.wanted_days}
            for each in changed
        ]
        return {**_named(engine), "changed": fields}, lines or [f"TTLs of {_place(engine)}: as configured before"]

    advice = "stop the sink and repeat this, or restart it with [clickhouse] ttl_at_start = true"
    return await _with(settings, wait_seconds, work, advice)


async def init(settings: Settings, wait_seconds: float) -> tuple[dict[str, Any], list[str]]:
    """Migrate, then set the TTLs. Arguments, result and errors as of :func:`migrate`."""
    migrated, lines = await migrate(settings, wait_seconds)
    limited, more = await set_ttls(settings, wait_seconds)
    return {**migrated, **limited}, lines + more


async def state(settings: Settings, wait_seconds: float) -> tuple[dict[str, Any], list[str]]:
    """Compare the database with program and configuration. Arguments, result and errors as of :func:`migrate`."""
    engine = Engine(settings)
    folder = engine.folder
    if folder is not None and not folder.is_dir():
        raise ServiceError(f"{folder}: no database there; a sink makes it, or `alphapulse clickhouse migrate`")
    try:
        found = await _with(settings, wait_seconds, lambda opened: status(opened, settings.clickhouse))
    except InUse:
        if folder != database_folder(settings.data_dir):
            raise
        found = await status(SinkRows(settings.data_dir, settings.clickhouse.database), settings.clickhouse)
    return {**_named(engine), **found.json()}, [
        f"ClickHouse: {_place(engine)}",
        *found.lines(output.columns(sys.stdout)),
    ]


async def _with(settings: Settings, wait_seconds: float, work: Callable[[Engine], Awaitable[T]], in_use: str = "") -> T:
    """Return the result of ``work`` on the open engine; repeat it while ClickHouse cannot be used now.

    Args:
        settings: name the database.
        wait_seconds: maximum wait.
        work: may be repeated.
        in_use: advice if another process holds the embedded database.
    """
    engine, given_up = Engine(settings), asyncio.Event()
    reasons: list[str] = []
    results: list[T] = []

    async def attempt() -> None:
        results.append(await work(engine))

    engine.waiting = reasons.append
    timer = asyncio.get_running_loop().call_later(wait_seconds, given_up.set)
    try:
        await engine.open(given_up)
        if (reasons and reasons[-1]) or not await engine.retry(attempt, given_up):
            raise ServiceError(reasons[-1])
    except InUse as error:
        raise InUse(f"{error}: {in_use}" if in_use else str(error), error.holder) from error
    finally:
        timer.cancel()
        await engine.close()
    return results[-1]


def _place(engine: Engine) -> str:
    return f"{engine.place}, database {engine.database}"


def _named(engine: Engine) -> dict[str, Any]:
    return {"place": engine.place, "database": engine.database}


COMMANDS: Final = {"migrate": migrate, "ttl": set_ttls, "status": state, "init": init}


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command; return the exit code."""
    parser = CommandParser(prog="alphapulse clickhouse", description="Administer the ClickHouse tables.")
    parser.add_argument("command", choices=sorted(COMMANDS))
    parser.add_argument("--wait", type=float, default=0.0, metavar="SECONDS", help="seconds to wait for the server")
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    parser.add_argument("--data-dir", type=Path, metavar="DIR", help="the embedded database under DIR")
    options = parser.parse_args(arguments)
    name = "alphapulse init" if options.command == "init" else f"alphapulse clickhouse {options.command}"
    try:
        settings = config.load()
        if options.data_dir is not None:
            embedded = settings.clickhouse.model_copy(update={"dsn": ""})
            settings = settings.model_copy(update={"data_dir": options.data_dir, "clickhouse": embedded})
        logs.configure(settings.log, service="clickhouse")
        fields, lines = asyncio.run(COMMANDS[options.command](settings, options.wait))
    except AlphaPulseError as error:
        output.tell(f"{name}: {error}")
        return EXIT_REFUSED
    text = output.wrapped("\n".join(lines), output.columns(sys.stdout))
    print(json.dumps(fields) if options.json else text)  # noqa: T201
    return EXIT_DIFFERS if fields.get("differences") else EXIT_OK


if __name__ == "__main__":
    output.finish(main)
