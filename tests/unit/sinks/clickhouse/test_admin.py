"""Commands as typed, the first of them in processes as the command line starts them, on the embedded engine."""

from __future__ import annotations

import asyncio
import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer
from aiokafka import TopicPartition

from alphapulse import topics
from alphapulse.config import ClickHouseSettings, Settings
from alphapulse.errors import ServiceError
from schemas.codec import Codec
from sinks.clickhouse.admin import main, set_ttls, state
from sinks.clickhouse.admin import migrate as migrate_command
from sinks.clickhouse.endpoint import SqlEndpoint
from sinks.clickhouse.engine import Engine
from sinks.clickhouse.status import SinkRows, status
from sinks.clickhouse.tables import NewerSchema, applied, migrate, migrations, missing_tables, upgrade
from sinks.clickhouse.writer import ClickHouseTarget
from tests.fixtures.lasting_engine import LastingEngine
from tests.fixtures.log import Log
from tests.fixtures.records import trade
from tests.fixtures.sink_life import live, uncommitted

KEY = TopicPartition(topics.TRADES, 0)


def run(*arguments: str, **variables: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "alphapulse.cli", "clickhouse", *arguments],
        env={**os.environ, **{f"ALPHAPULSE_{name}": value for name, value in variables.items()}},
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )


class Done(NamedTuple):
    """How a command ended."""

    returncode: int
    stdout: str
    stderr: str


def here(capfd: pytest.CaptureFixture[str], *arguments: str, **variables: str) -> Done:
    """Do what :func:`run` does without a process of its own, which takes longer to start than to do its work."""
    with pytest.MonkeyPatch.context() as patch:
        for name, value in variables.items():
            patch.setenv(f"ALPHAPULSE_{name}", value)
        code = main(arguments)
    return Done(code, *capfd.readouterr())


async def command(name: Any, settings: Settings) -> dict[str, Any]:
    fields, _ = await name(settings, 0.0)
    return dict(fields)


def test_as_typed(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    there = ("--data-dir", str(tmp_path))
    nothing = run("status", *there)
    assert (nothing.returncode, nothing.stdout) == (2, "")
    assert nothing.stderr == (
        f"alphapulse clickhouse status: {tmp_path}/clickhouse: no database there; a sink makes it, or "
        "`alphapulse clickhouse migrate`\n"
    )
    migrated = run("migrate", "--json", *there)
    assert migrated.returncode == 0, migrated.stderr
    assert json.loads(migrated.stdout)["applied"] == [each.name for each in migrations()]
    differs = here(capfd, "status", *there, CLICKHOUSE__TTL_DAYS='{"md.trades": 30}')
    assert (differs.returncode, differs.stderr) == (1, "")
    assert "TTL of trades: no limit; configured 30 days (alphapulse clickhouse ttl)" in differs.stdout
    limited = here(capfd, "ttl", *there)
    told = "".join(f"TTL set; was {table}: no limit; configured 7 days\n" for table in ("l2", "books"))
    assert (limited.returncode, limited.stdout) == (0, told)
    same = here(capfd, "status", *there)
    assert (same.returncode, same.stdout.splitlines()[-1]) == (0, "everything is as configured")


async def test_commands_may_be_repeated(settings: Settings) -> None:
    assert (await command(migrate_command, settings))["applied"] == [each.name for each in migrations()]
    again = await command(migrate_command, settings)
    assert (again["applied"], again["columns"], again["created"]) == ([], [], [])
    assert [each["table"] for each in (await command(set_ttls, settings))["changed"]] == ["l2", "books"]
    assert (await command(set_ttls, settings))["changed"] == []
    told = await command(state, settings)
    assert told["differences"] == []
    assert told["migrations"] == {"known": len(migrations()), "pending": [], "changed": [], "newer": []}
    (l2,) = [each for each in told["tables"] if each["table"] == "l2"]
    assert l2 == {
        "table": "l2",
        "topic": "md.l2",
        "rows": 0,
        "bytes": 0,
        "parts": 0,
        "first": None,
        "last": None,
        "ttl": "received_time + toIntervalSecond(604800)",
        "ttl_days": 7,
        "ttl_days_configured": 7,
        "ttl_as_configured": True,
        "parts_to_change": 0,
    }


async def test_ttls_need_tables(settings: Settings) -> None:
    with pytest.raises(ServiceError, match=r"no tables in .*: run `alphapulse clickhouse migrate` first"):
        await set_ttls(settings, 0.0)


async def test_a_database_without_migrations_has_all_of_them_to_come(engine: Engine, settings: Settings) -> None:
    found = await status(engine, settings.clickhouse)
    assert [each.name for each in found.migrations.pending] == [each.name for each in migrations()]
    assert found.differences[0].startswith("migrations to apply: 001_tables.sql, ")


async def test_tables_of_a_later_release_are_not_touched_and_a_sink_goes_on(engine: Engine, settings: Settings) -> None:
    await migrate(engine)
    await engine.command("INSERT INTO migrations (number, name, sha256) VALUES (900, '900_later.sql', 'x')")
    last = migrations()[-1].name
    expected = f"of a later release than this program: it does not know 900_later.sql (its last migration is {last})"
    with pytest.raises(NewerSchema, match=re.escape(expected)):
        await upgrade(engine)
    told = (await status(engine, settings.clickhouse)).differences
    assert told[0] == "of a later release than this program: 900_later.sql"
    log = Log()
    log.append(KEY, Codec().encode(trade(1)))
    await live(log, ClickHouseTarget(settings.clickhouse, LastingEngine(engine), "life-1", asyncio.Event()))
    assert await engine.rows("SELECT count() FROM trades") == [(1,)]


async def test_a_migration_changed_afterwards_is_told(engine: Engine, settings: Settings) -> None:
    await migrate(engine)
    await engine.command("INSERT INTO migrations (number, name, sha256) VALUES (2, '002_views.sql', 'x')")
    await engine.command("OPTIMIZE TABLE migrations FINAL")
    assert (await applied(engine)).changed == ["002_views.sql"]
    assert (
        "changed after they had been applied: 002_views.sql" in (await status(engine, settings.clickhouse)).differences
    )


async def test_a_dropped_table_ends_the_sink_and_loses_nothing(engine: Engine, settings: Settings) -> None:
    """The commit stays where it was; once the table is created anew the sink goes on from there."""
    log = Log()
    for number in range(3):
        log.append(KEY, Codec().encode(trade(number)))

    def target() -> ClickHouseTarget:
        return ClickHouseTarget(settings.clickhouse, LastingEngine(engine), "life-1", asyncio.Event())

    await live(log, target())
    for number in range(3, 6):
        log.append(KEY, Codec().encode(trade(number)))

    class DroppedLater(ClickHouseTarget):
        async def submit(self, chunk: Any) -> None:
            await engine.command("DROP TABLE IF EXISTS trades SYNC")
            await super().submit(chunk)

    message = (
        r"table trades is missing in .*, database test_\d+ \(dropped\?\); records not yet stored are still on the "
    )
    advice = r"broker: create what is missing with `alphapulse clickhouse migrate`, then start the sink again$"
    with pytest.raises(ServiceError, match=message + advice):
        await live(log, DroppedLater(settings.clickhouse, LastingEngine(engine), "life-1", asyncio.Event()))
    with pytest.raises(ServiceError, match=message):
        await live(log, target())
    assert log.commits[KEY].offset == 3
    assert await missing_tables(engine) == ["trades"]
    assert "tables that are missing: trades" in "".join((await status(engine, settings.clickhouse)).differences)
    await upgrade(engine, again=True)
    assert await missing_tables(engine) == []
    await live(log, target())
    assert uncommitted(log) == {}
    assert await engine.rows("SELECT _offset FROM trades ORDER BY 1") == [(3,), (4,), (5,)]
    assert await engine.rows("SELECT sum(trades) FROM v_ohlcv(seconds = 60)") == [(3,)]


async def test_a_dropped_column_is_told(engine: Engine, settings: Settings) -> None:
    log = Log()
    log.append(KEY, Codec().encode(trade(1)))

    class DroppedLater(ClickHouseTarget):
        async def submit(self, chunk: Any) -> None:
            await engine.command("ALTER TABLE trades DROP COLUMN side")
            await super().submit(chunk)

    with pytest.raises(ServiceError, match="lacks a column of this release: `alphapulse clickhouse migrate` adds it"):
        await live(log, DroppedLater(settings.clickhouse, LastingEngine(engine), "life-1", asyncio.Event()))
    assert log.commits[KEY].offset == 0


async def test_while_a_sink_runs_status_asks_it_and_the_others_say_so(tmp_path: Path) -> None:
    settings = Settings(data_dir=tmp_path)
    engine = Engine(settings)
    await engine.open(asyncio.Event())
    await migrate(engine)
    await engine.command("INSERT INTO trades (symbol, received_time) VALUES ('BTC-USD', 5)")
    sql = SqlEndpoint(engine)
    app = web.Application()
    app.router.add_post("/sql", sql.answer)
    try:
        async with TestServer(app, host="127.0.0.1") as server:
            (tmp_path / "run").mkdir()
            announced = {"pid": os.getpid(), "ops_port": server.port, "sql": True}
            (tmp_path / "run" / "sink-clickhouse.json").write_text(json.dumps(announced))
            told = await command(state, settings)
            with pytest.raises(ServiceError, match=rf"in use by process {os.getpid()}: a sink migrates at its start"):
                await migrate_command(settings, 0.0)
            with pytest.raises(ServiceError, match=r"in use by .*: stop the sink and repeat this, or restart it with"):
                await set_ttls(settings, 0.0)
            with pytest.raises(ValueError, match="parameters"):
                await SinkRows(tmp_path, "alphapulse").rows("SELECT 1", {"a": 1})
    finally:
        await sql.close()
        await engine.close()
    (trades,) = [each for each in told["tables"] if each["table"] == "trades"]
    assert (trades["rows"], trades["parts"], trades["first"]) == (1, 1, "1970-01-01 00:00:05.000000000")
    assert told["differences"] == [
        f"TTL of {table}: no limit; configured 7 days (alphapulse clickhouse ttl)" for table in ("l2", "books")
    ]


async def test_another_folder_in_use_is_told(tmp_path: Path) -> None:
    settings = Settings(data_dir=tmp_path, clickhouse=ClickHouseSettings(dsn=f"chdb://{tmp_path}/elsewhere"))
    engine = Engine(settings)
    await engine.open(asyncio.Event())
    with pytest.raises(ServiceError, match=r"elsewhere is in use by process \d+$"):
        await state(settings, 0.0)
    await engine.close()
