"""``alphapulse clickhouse`` on a ClickHouse server, as typed; and what a sink says that a server does not let in."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import clickhouse_connect
import pytest
from aiokafka import TopicPartition

from alphapulse.config import ClickHouseSettings, Settings
from schemas.codec import Codec
from sinks.clickhouse.admin import main
from sinks.clickhouse.engine import Engine
from sinks.clickhouse.sampling import DepthSampling
from sinks.clickhouse.tables import migrations
from sinks.clickhouse.writer import ClickHouseTarget
from tests.fixtures.clickhouse_server import ClickHouseServer
from tests.fixtures.containers import IN_CONTAINERS, ClickHouseContainer, free_port
from tests.fixtures.log import Fuse, Killed, Log
from tests.fixtures.records import SECOND, START, trade
from tests.fixtures.sink_life import live, uncommitted

pytestmark = pytest.mark.slow

TRADES = [TopicPartition("md.trades", number) for number in range(3)]


@pytest.fixture
def chdb_server(tmp_path: Path) -> Iterator[ClickHouseServer]:
    made = ClickHouseServer(tmp_path / "server", free_port())
    made.start()
    yield made
    made.kill()


@pytest.fixture(params=["chdb_server", pytest.param("container_clickhouse", marks=IN_CONTAINERS, id="container")])
def dsn(request: pytest.FixtureRequest) -> str:
    running: ClickHouseServer | ClickHouseContainer = request.getfixturevalue(request.param)
    return running.dsn


class Done(NamedTuple):
    """How a command ended."""

    returncode: int
    stdout: str
    stderr: str


def run(dsn: str, *arguments: str, **variables: str) -> subprocess.CompletedProcess[str]:
    own = {f"ALPHAPULSE_{name}": value for name, value in {"CLICKHOUSE__DSN": dsn, **variables}.items()}
    return subprocess.run(
        [sys.executable, "-m", "alphapulse.cli", "clickhouse", *arguments],
        env={**os.environ, **own},
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )


def here(capfd: pytest.CaptureFixture[str], dsn: str, *arguments: str, **variables: str) -> Done:
    """Do what :func:`run` does without a process of its own, which takes longer to start than to do its work."""
    with pytest.MonkeyPatch.context() as patch:
        for name, value in {"CLICKHOUSE__DSN": dsn, **variables}.items():
            patch.setenv(f"ALPHAPULSE_{name}", value)
        code = main(arguments)
    return Done(code, *capfd.readouterr())


def test_migrate_ttl_and_status_as_typed(dsn: str, capfd: pytest.CaptureFixture[str]) -> None:
    before = run(dsn, "status", "--json")
    assert before.returncode == 1, before.stderr
    assert json.loads(before.stdout)["migrations"]["pending"] == [each.name for each in migrations()]
    migrated = run(dsn, "migrate")
    assert migrated.returncode == 0, migrated.stderr
    assert f"{len(migrations())} of {len(migrations())} migrations applied now" in migrated.stdout
    limits = {"CLICKHOUSE__TTL_DAYS": '{"md.l2": 2, "ops.events": 90}'}
    limited = here(capfd, dsn, "ttl", "--json", **limits)
    assert limited.returncode == 0, limited.stderr
    assert [(each["table"], each["ttl_days"]) for each in json.loads(limited.stdout)["changed"]] == [
        ("l2", 2),
        ("events", 90),
        ("books", 2),  # made of l2
    ]
    assert here(capfd, dsn, "status", **limits).returncode == 0
    differs = here(capfd, dsn, "status")
    assert differs.returncode == 1
    assert "TTL of l2: 2 days; configured 7 days" in differs.stdout
    assert "TTL of books: 2 days; configured 7 days" in differs.stdout
    assert "TTL of events: 90 days; configured no limit" in differs.stdout
    assert here(capfd, dsn, "ttl").returncode == 0
    assert here(capfd, dsn, "status").stdout.endswith("everything is as configured\n")
    client = clickhouse_connect.get_client(dsn=dsn, database="alphapulse")
    client.command("INSERT INTO migrations (number, name, sha256) VALUES (900, '900_later.sql', 'x')")
    later = here(capfd, dsn, "migrate")
    assert (later.returncode, later.stdout) == (2, "")
    assert "of a later release than this program: it does not know 900_later.sql" in later.stderr


async def test_candles_and_top_of_book_after_deaths_equal_the_rows(dsn: str) -> None:
    log, codec = Log(), Codec()
    records = [trade(number, received_time=START + number * SECOND // 3) for number in range(60)]
    for number, record in enumerate(records):
        log.append(TRADES[number % 3], codec.encode(record))
    settings = ClickHouseSettings(dsn=dsn, batch_records=9)

    def target() -> ClickHouseTarget:
        engine = Engine(Settings(clickhouse=settings))
        return ClickHouseTarget(settings, engine, "life-1", asyncio.Event(), sampling=DepthSampling(settings))

    for at in (1, 2, 3, 2, 4):
        with contextlib.suppress(Killed):
            await live(log, target(), Fuse(at), [5, 4] * 9)
    await live(log, target(), slices=[5, 4] * 9)
    assert uncommitted(log) == {}
    client = clickhouse_connect.get_client(dsn=dsn, database="alphapulse")
    found = client.query("SELECT sum(trades), min(low), max(high), sum(volume) FROM v_ohlcv(seconds = 5)").result_rows
    rows = client.query("SELECT count(), min(price), max(price), sum(size) FROM v_trades").result_rows
    assert found == rows
    assert rows[0][0] == 60
    assert client.query("SELECT count() FROM v_top_of_book").result_rows == [(0,)]


def test_a_server_that_is_not_there_is_named_and_waited_for(capfd: pytest.CaptureFixture[str]) -> None:
    port = free_port()
    for command in ("migrate", "ttl", "status"):
        began = time.monotonic()
        done = here(capfd, f"clickhouse://me:s3cret@127.0.0.1:{port}/", command, "--wait", "0.5")
        assert (done.returncode, done.stdout) == (2, "")
        expected = f"clickhouse.dsn: clickhouse://127.0.0.1:{port}/ does not answer: connection refused"
        assert f"alphapulse clickhouse {command}: {expected}\n" in done.stderr
        assert "s3cret" not in done.stderr
        assert time.monotonic() - began < 60


async def test_a_wrong_password_is_told_once_and_without_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CLICKHOUSE_USER", "desk")
    monkeypatch.setenv("CLICKHOUSE_PASSWORD", "right")
    server = ClickHouseServer(tmp_path / "server", free_port())
    await asyncio.to_thread(server.start)
    try:
        address = server.dsn.removeprefix("clickhouse://")
        wrong = f"clickhouse://desk:s3cret@{address}"
        refused = f"clickhouse.dsn: ClickHouse at clickhouse://{address} refuses user 'desk': wrong user or password"
        done = await asyncio.to_thread(run, wrong, "status")
        assert (done.returncode, done.stdout, done.stderr) == (2, "", f"alphapulse clickhouse status: {refused}\n")
        # A sink waits until somebody mends it, says why, and has committed nothing.
        log = Log()
        log.append(TRADES[0], Codec().encode(trade(1)))
        settings = ClickHouseSettings(dsn=wrong)
        engine = Engine(Settings(clickhouse=settings))
        told: list[str] = []
        engine.waiting = told.append
        sink = asyncio.create_task(live(log, ClickHouseTarget(settings, engine, "life-1", asyncio.Event())))
        async with asyncio.timeout(60):
            while not told:
                await asyncio.sleep(0.02)
        assert told[0] == refused
        sink.cancel()
        await asyncio.gather(sink, return_exceptions=True)
        assert log.commits == {}
        await engine.close()
        assert (await asyncio.to_thread(run, f"clickhouse://desk:right@{address}", "migrate")).returncode == 0
    finally:
        server.kill()
