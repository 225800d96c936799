"""`alphapulse acls --clickhouse`: init, sink and gateway work with exactly the rights of their users, and not without.

ClickHouse's own code refuses: that of chDB, where each user is a role, and in the suite of containers the server's.
"""

from __future__ import annotations

import asyncio
import re
import time
import urllib.error
import urllib.request
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, Final, TypeAlias

import pytest
from aiokafka import TopicPartition

from alphapulse.config import ClickHouseSettings, Settings
from alphapulse.errors import ServiceError
from gateway.health.monitor import HealthMonitor
from gateway.tables import BoundedTables
from gateway.tables.server import ServerTables
from schemas.records import TOPIC_OF, Record
from sinks.clickhouse import admin
from sinks.clickhouse.books import BookKeeper
from sinks.clickhouse.engine import Engine
from sinks.clickhouse.tables import TABLE_OF, migrations
from sinks.clickhouse.writer import ClickHouseTarget
from sinks.columns import batch
from sinks.contract import BatchChunk, Commit, Span
from tests.fixtures.attempts import CLICKHOUSE, WATCHED_SECONDS, most_attempts
from tests.fixtures.clickhouse_users import (
    PASSWORD,
    ContainerUsers,
    EmbeddedUsers,
    Grant,
    empty,
    grants,
    running,
    settings_of,
)
from tests.fixtures.containers import IN_CONTAINERS, STANDINS, ClickHouseContainer
from tests.fixtures.gateway import Served, serving
from tests.fixtures.records import SECOND, START, TIME, l2, one_of_each
from tests.fixtures.secure_kafka import free_ports

BOUND_SECONDS = 60.0
ACCESS_DENIED = 497

READABLE: Final = frozenset({"columns", "databases", "settings", "tables"})
"""Tables of ``system`` that every user of a server may read (ClickHouse's ContextAccess.cpp)."""

KEPT: Final = {"md.l2": 20_000.0}
"""A TTL, so that one is set, which removes none of the old records here."""

Users: TypeAlias = EmbeddedUsers | ContainerUsers


@pytest.fixture(
    scope="module",
    params=[
        pytest.param("embedded", marks=pytest.mark.xdist_group("clickhouse_users")),
        pytest.param("container", marks=IN_CONTAINERS),
    ],
)
def users(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Users]:
    """Each server in turn, running, with the users."""
    if request.param == "embedded":
        yield from running(tmp_path_factory.mktemp("clickhouse-users"), *free_ports(1))
        return
    if STANDINS:
        pytest.skip("the stand-in is chDB, which knows no users")
    server: ClickHouseContainer = request.getfixturevalue("clickhouse_container")
    server.start()
    made = ContainerUsers(server.dsn, re.sub(r"//[^@]*@", "//", server.dsn))
    yield made
    made.close()


@pytest.fixture(scope="module")
def sent(users: Users) -> list[str]:
    """The tables, made by the migrator, and the statements that made them."""
    statements: list[str] = []
    command, rows = Engine.command, Engine.rows

    async def noted_command(self: Engine, statement: str) -> None:
        statements.append(statement)
        await command(self, statement)

    async def noted_rows(self: Engine, query: str, parameters: Any = None) -> list[tuple[Any, ...]]:
        statements.append(query)
        return await rows(self, query, parameters)

    empty(users)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Engine, "command", noted_command)
        patch.setattr(Engine, "rows", noted_rows)
        settings = Settings(clickhouse=settings_of(users, "migrator", ttl_days=KEPT))
        asyncio.run(admin.init(settings, 0.0))
    _, lines = asyncio.run(admin.state(settings, 0.0))
    assert lines[-1] == "everything is as configured"
    return statements


def code_of(users: Users, user: str, statement: str) -> int | None:
    """Return the code of the error of ``statement`` if ``user`` runs it; None: it is done."""
    headers = {"X-ClickHouse-User": f"alphapulse_{user}", "X-ClickHouse-Key": PASSWORD}
    address = users.dsn.replace("clickhouse://", "http://") + "?database=alphapulse"
    request = urllib.request.Request(address, statement.encode(), headers)  # noqa: S310 loopback
    try:
        with urllib.request.urlopen(request, timeout=BOUND_SECONDS):  # noqa: S310
            return None
    except urllib.error.HTTPError as error:
        with error:
            return int(error.headers["X-ClickHouse-Exception-Code"])


def refused(users: Users, user: str, *statements: str) -> bool:
    return all(code_of(users, user, statement) == ACCESS_DENIED for statement in statements)


# --- the migrator ---


_VERB = re.compile(r"\s*(?:--[^\n]*\n\s*)*((?:ALTER TABLE \S+\s+)?\w+(?: (?:OR REPLACE )?\w+)?)")


def shapes(statements: list[str]) -> dict[str, str]:
    """Return one statement of each kind: CREATE TABLE, ALTER TABLE … ADD COLUMN, …"""
    found: dict[str, str] = {}
    for statement in statements:
        verb = _VERB.match(statement)
        assert verb is not None, statement
        found.setdefault(re.sub(r"TABLE \S+\s+", "TABLE … ", verb[1]), statement)
    return found


@pytest.mark.parametrize("grant", [grant for grant in grants()["migrator"] if grant.on == "alphapulse.*"], ids=str)
def test_every_right_of_the_migrator_is_needed(users: Users, sent: list[str], grant: Grant) -> None:
    """With all of them the statements have been done: ``sent``."""
    about = grant.right.split()[-1].rstrip("S")
    likely_first = sorted(shapes(sent).items(), key=lambda one: about not in one[0])
    users.give("migrator", without=[grant])
    try:
        assert any(code_of(users, "migrator", statement) == ACCESS_DENIED for _, statement in likely_first), (
            f"it does without {grant}"
        )
    finally:
        users.give("migrator")


def test_the_engines_of_the_tables_are_granted() -> None:
    """Where ``table_engines_require_grant`` is on; the embedded engine cannot show it."""
    text = "\n".join(migration.text for migration in migrations())
    assert {grant.on for grant in grants()["migrator"] if grant.right == "TABLE ENGINE"} == {
        re.sub(r"\(.*", "", engine) for engine in re.findall(r"ENGINE = (\w+)", text)
    }


def test_the_migrator_cannot_remove(users: Users, sent: list[str]) -> None:
    assert refused(
        users,
        "migrator",
        "DROP TABLE trades",
        "TRUNCATE TABLE trades",
        "ALTER TABLE trades DROP COLUMN price",
        "ALTER TABLE trades DELETE WHERE 1",
        "ALTER TABLE trades UPDATE price = 0 WHERE 1",
        "DROP DATABASE alphapulse",
        "CREATE TABLE default.other (a Int8) ENGINE = MergeTree ORDER BY a",
        "CREATE USER other IDENTIFIED BY 'x'",
    )


async def test_init_names_the_user_without_a_right(users: Users, sent: list[str]) -> None:
    settings = settings_of(users, "migrator", ttl_days=KEPT | {"md.trades": 2.0})
    users.give("migrator", without=[grant for grant in grants()["migrator"] if grant.right == "ALTER TTL"])
    try:
        with pytest.raises(ServiceError) as told:
            await admin.init(Settings(clickhouse=settings), 0.0)
    finally:
        users.give("migrator")
    assert str(told.value).startswith(
        f"clickhouse.username: {users.dsn} does not grant user 'alphapulse_migrator' what "
    )
    assert "(alphapulse acls --clickhouse): " in str(told.value)
    assert "ALTER TTL" in str(told.value) or "ALTER MODIFY TTL" in str(told.value)


# --- the sink ---


class Sink:
    """The sink's target, with a record of each class from offset 0 of partition 0 on."""

    def __init__(self, settings: ClickHouseSettings, incarnation: str) -> None:
        self.engine = Engine(Settings(clickhouse=settings))
        self.waiting = ""
        self.engine.waiting = self._told
        self.target = ClickHouseTarget(settings, self.engine, incarnation, asyncio.Event())
        self.records: list[Record] = [l2(0), *one_of_each()]

    def _told(self, reason: str) -> None:
        self.waiting = reason

    async def store(self, plans: dict[TopicPartition, str] | None = None) -> dict[TopicPartition, str]:
        """Store the records, anew or (with ``plans``) as after a crash; return the plans."""
        by_topic: dict[TopicPartition, list[Record]] = {}
        for record in self.records:
            by_topic.setdefault(TopicPartition(TOPIC_OF[type(record)], 0), []).append(record)
        await self.target.open()
        await self.target.assign({key: Commit(0, plans[key]) if plans else None for key in by_topic})
        for key, records in by_topic.items():
            rows = batch(type(records[0]), records, 0, range(len(records)))
            await self.target.submit(BatchChunk(key, type(records[0]), rows))
        spans = [Span(key, 0, len(records) - 1) for key, records in by_topic.items()]
        made = self.target.seal(spans)
        await self.target.write(spans, recovering=bool(plans), give_up=asyncio.Event())
        return made

    async def until_told(self, part: str) -> str:
        async with asyncio.timeout(BOUND_SECONDS):
            while part not in self.waiting:
                await asyncio.sleep(0.01)
        return self.waiting

    async def count(self, incarnation: str) -> dict[str, int]:
        """Return the number of rows of each table."""
        return {
            table.name: (
                await self.engine.rows(
                    f"SELECT count() FROM {table.name} WHERE _incarnation = {{life:String}}", {"life": incarnation}
                )
            )[0][0]
            for table in TABLE_OF.values()
        }


@asynccontextmanager
async def sink(users: Users, incarnation: str) -> AsyncIterator[Sink]:
    made = Sink(settings_of(users, "writer", ttl_days=KEPT), incarnation)
    try:
        yield made
    finally:
        await made.engine.close()


EACH_ONCE = {table.name: 2 if table.name == "l2" else 1 for table in TABLE_OF.values()}


async def test_the_sink_works_as_the_writer(users: Users, sent: list[str]) -> None:
    async with sink(users, "life-1") as first:
        plans = await first.store()
        await BookKeeper(first.engine, first.target._settings.model_copy(update={"book_records": 1})).keep()
        assert await first.engine.rows("SELECT count() FROM books") == [(1,)]
    async with sink(users, "life-1") as again:
        await again.store(plans)
        assert await again.count("life-1") == EACH_ONCE
    assert refused(
        users,
        "writer",
        "CREATE TABLE other (a Int8) ENGINE = MergeTree ORDER BY a",
        "CREATE VIEW other AS SELECT 1",
        "ALTER TABLE trades ADD COLUMN other Int8",
        "ALTER TABLE trades MODIFY TTL received_time + toIntervalSecond(1)",
        "ALTER TABLE trades DELETE WHERE 1",
        "DELETE FROM trades WHERE 1",
        "TRUNCATE TABLE trades",
        "DROP VIEW v_trades",
        "INSERT INTO default.other VALUES (1)",
    )


@pytest.mark.parametrize("grant", grants()["writer"], ids=str)
async def test_the_sink_waits_for_a_right(users: Users, sent: list[str], grant: Grant) -> None:
    incarnation = f"waited for {grant}"
    users.give("writer", without=[grant])
    before = len(users.sent("writer")) if isinstance(users, EmbeddedUsers) else 0
    async with sink(users, incarnation) as made:
        began = time.monotonic()
        storing = asyncio.create_task(made.store())
        try:
            told = await made.until_told("alphapulse acls --clickhouse")
            assert told.startswith(f"clickhouse.username: {users.dsn} does not grant user 'alphapulse_writer' what it ")
            assert grant.right in told
            if isinstance(users, EmbeddedUsers):
                kind = "INSERT INTO" if grant.right == "INSERT" else "FROM migrations"

                def attempts() -> int:
                    return sum(kind in statement for statement in users.sent("writer")[before:])

                await asyncio.sleep(WATCHED_SECONDS)
                assert not storing.done()
                assert 2 <= attempts() <= most_attempts(CLICKHOUSE, time.monotonic() - began), "a storm"
            users.give("writer")
            await asyncio.wait_for(storing, BOUND_SECONDS)
        finally:
            users.give("writer")
            storing.cancel()
            await asyncio.gather(storing, return_exceptions=True)
        assert made.waiting == ""
        assert await made.count(incarnation) == EACH_ONCE


# --- the gateway ---


@asynccontextmanager
async def gateway(users: Users, folder: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Served]:
    """A gateway long after the records, which its memory does not have."""
    monkeypatch.setattr(HealthMonitor, "stored_lag_seconds", lambda _: 0.0)
    tables = BoundedTables(ServerTables(settings_of(users, "reader")))
    async with serving(folder, tables=tables, now=START + 86_400 * SECOND) as served:
        served.hub.live_since = served.now
        yield served


def paths() -> list[str]:
    """Return a request of each resource that reads the tables."""
    window = f"from={(TIME - SECOND) // 1000}&to={(START + 3_600 * SECOND) // 1000}"
    lists = ("trades", "candles", "events", "arbitrage/opportunities", "delta-stats/kraken/BTC-USD")
    return [
        *(f"/api/v1/{path}?{window}{'&interval=1' if path == 'candles' else ''}" for path in lists),
        f"/api/v1/delta-stats/summary?{window}",
        f"/api/v1/books/kraken/BTC-USD?at={(START + SECOND // 5) // 1000}",
    ]


async def test_the_gateway_works_as_the_reader(
    users: Users, sent: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with sink(users, "for the gateway") as writer:
        await writer.store()
    async with gateway(users, tmp_path, monkeypatch) as served:
        answers = [await served.get(path) for path in paths()]
    assert [name for name in ("trades", "events", "summary") if not any(answer.get(name) for answer in answers)] == []
    assert answers[-1]["sequence"] == 1
    assert refused(
        users,
        "reader",
        "INSERT INTO trades (trade_id) VALUES ('1')",
        "CREATE TABLE other (a Int8) ENGINE = MergeTree ORDER BY a",
        "CREATE VIEW other AS SELECT 1",
        "ALTER TABLE trades ADD COLUMN other Int8",
        "TRUNCATE TABLE trades",
        "DROP VIEW v_trades",
        "SELECT * FROM default.other",
    )


async def test_the_gateway_waits_for_its_right(
    users: Users, sent: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    path = paths()[2]
    async with gateway(users, tmp_path, monkeypatch) as served:
        await served.get(path)
        capsys.readouterr()
        users.give("reader", without=grants()["reader"])
        before = len(users.sent("reader")) if isinstance(users, EmbeddedUsers) else 0
        try:
            began, asked = time.monotonic(), 0
            while time.monotonic() < began + WATCHED_SECONDS or asked < 20:
                fault = await served.get(path, 503)
                assert fault["detail"] == (
                    "the stored data cannot be read: ClickHouse refuses the gateway's access "
                    "(the gateway's log names the setting)"
                )
                asked += 1
                await asyncio.sleep(0.02)
            if isinstance(users, EmbeddedUsers):
                attempts = len(users.sent("reader")) - before
                assert 2 <= attempts <= most_attempts(CLICKHOUSE, time.monotonic() - began), "a storm"
        finally:
            users.give("reader")
        logged = "".join(capsys.readouterr())
        assert "clickhouse.username: " in logged
        assert "does not grant user 'alphapulse_reader' what it needs (alphapulse acls --clickhouse): " in logged
        assert logged.count("alphapulse acls") == 1, "said once"
        async with asyncio.timeout(BOUND_SECONDS):
            while True:
                try:
                    await served.get(path)
                except AssertionError:  # not yet
                    await asyncio.sleep(0.05)
                else:
                    break


def test_what_they_read_of_the_system_is_granted(users: Users, sent: list[str]) -> None:
    """After the tests above."""
    if isinstance(users, ContainerUsers):
        pytest.skip("a server refuses what is not")
    for user, of in grants().items():
        statements = users.sent(user)
        assert statements, "run with the tests above"
        read = {name for statement in statements for name in re.findall(r"\bsystem\.(\w+)", statement)}
        granted = {grant.on.removeprefix("system.") for grant in of if grant.on.startswith("system.")}
        assert read - READABLE == granted, user
