from __future__ import annotations

import asyncio
import os
import socket
from pathlib import Path

import pyarrow as pa
import pytest
from clickhouse_connect.driver.exceptions import DatabaseError

from alphapulse.config import ClickHouseSettings, Settings
from alphapulse.errors import ServiceError
from sinks.clickhouse.engine import Engine, Unreachable, message


async def test_commands_inserts_and_rows(engine: Engine) -> None:
    assert engine.embedded
    await engine.command("CREATE TABLE t (a Int64, b Array(Int64)) ENGINE = MergeTree ORDER BY a")
    await engine.insert("t", pa.table({"a": [1, 2], "b": [[1], [2**62]]}), {"async_insert": 0})
    assert await engine.rows("SELECT * FROM t WHERE a >= {least:Int64} ORDER BY a", {"least": 2}) == [(2, [2**62])]


async def test_what_clickhouse_refuses_is_told_with_its_words(engine: Engine) -> None:
    with pytest.raises(ServiceError, match=r"refuses: .*UNKNOWN_TABLE"):
        await engine.rows("SELECT * FROM nothing")


async def test_a_query_that_fails_midway_leaves_nothing_to_the_next(engine: Engine) -> None:
    failing = "SELECT throwIf(number = 2500000) FROM numbers(3000000)"
    client = engine.another_client()
    with pytest.raises(DatabaseError):
        client.raw_query(failing, fmt="TSV")
    assert client.raw_query("SELECT 7", fmt="TSV") != b"7\n", "chDB has been mended: Engine._renew is no longer needed"
    client.close()
    with pytest.raises(ServiceError, match="throwIf"):
        await engine.rows(failing)
    assert await engine.rows("SELECT 7") == [(7,)]


async def test_data_outlive_the_engine(settings: Settings) -> None:
    for expected in (0, 1):
        engine = Engine(settings)
        await engine.open(asyncio.Event())
        await engine.command("CREATE TABLE IF NOT EXISTS t (a Int64) ENGINE = MergeTree ORDER BY a")
        assert await engine.rows("SELECT count() FROM t") == [(expected,)]
        await engine.command("INSERT INTO t VALUES (1)")
        await engine.close()


async def test_one_process_at_a_time(engine: Engine, settings: Settings) -> None:
    other = Engine(settings)
    with pytest.raises(ServiceError, match=rf"clickhouse is in use by process {os.getpid()}"):
        await other.open(asyncio.Event())
    await other.close()


async def test_a_folder_that_cannot_be_made_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    engine = Engine(Settings(data_dir=tmp_path / "file"))
    with pytest.raises(ServiceError, match=r"data_dir: cannot write .*file/clickhouse: Not a directory"):
        await engine.open(asyncio.Event())
    await engine.close()


def test_places_have_no_passwords() -> None:
    engine = Engine(Settings(clickhouse=ClickHouseSettings(dsn="clickhouse://me:secret@host:8123/")))
    assert engine.place == "clickhouse://host:8123/"
    assert not engine.embedded
    with pytest.raises(RuntimeError, match="only available for the embedded engine"):
        engine.another_client()


def test_a_dsn_may_name_the_folder(tmp_path: Path) -> None:
    engine = Engine(Settings(clickhouse=ClickHouseSettings(dsn=f"chdb://{tmp_path}")))
    assert (engine.embedded, engine.place) == (True, str(tmp_path))


async def test_an_engine_that_is_not_open_says_so() -> None:
    engine = Engine(Settings())
    with pytest.raises(RuntimeError, match="not open"):
        await engine.command("SELECT 1")
    await engine.close()


async def test_a_server_that_is_not_there_is_tried_again_until_asked_to_stop(
    monkeypatch: pytest.MonkeyPatch, unused_tcp_port: int
) -> None:
    monkeypatch.setattr("sinks.clickhouse.engine.RETRY_SECONDS", (0.01,))
    engine = Engine(Settings(clickhouse=ClickHouseSettings(dsn=f"clickhouse://127.0.0.1:{unused_tcp_port}/")))
    stopping = asyncio.Event()
    opening = asyncio.create_task(engine.open(stopping))
    await asyncio.wait({opening}, timeout=0.3)
    assert not opening.done()
    stopping.set()
    await asyncio.wait_for(opening, 10)
    await engine.close()


async def test_retry_goes_on_until_it_works(monkeypatch: pytest.MonkeyPatch, unused_tcp_port: int) -> None:
    monkeypatch.setattr("sinks.clickhouse.engine.RETRY_SECONDS", (0.0, 0.001))
    dsn = f"clickhouse://user:secret@127.0.0.1:{unused_tcp_port}/"
    engine = Engine(Settings(clickhouse=ClickHouseSettings(dsn=dsn)))
    told: list[str] = []
    engine.waiting = told.append
    outcomes: list[Unreachable | None] = [Unreachable("no"), Unreachable("no"), Unreachable("no"), None]

    async def attempt() -> None:
        outcome = outcomes.pop(0)
        if outcome is not None:
            raise outcome

    assert await engine.retry(attempt, asyncio.Event())
    assert outcomes == []
    away = f"clickhouse.dsn: clickhouse://127.0.0.1:{unused_tcp_port}/ does not answer: connection refused"
    assert told == [away, away, away, ""]
    # Somebody is there and has no time for us.
    outcomes += [Unreachable("too many parts"), None]
    with socket.create_server(("127.0.0.1", unused_tcp_port)):
        assert await engine.retry(attempt, asyncio.Event())
    assert told[-2:] == [away.replace("does not answer: connection refused", "cannot be used now: too many parts"), ""]
    await engine.close()


def test_messages_are_one_bounded_line() -> None:
    assert message(ValueError("a\n  b")) == "a b"
    assert len(message(ValueError("x" * 10_000))) == 500
