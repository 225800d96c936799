"""The command in a process of its own, as the command line starts it: chDB wants one engine per process."""

from __future__ import annotations

import asyncio
import io
import json
import os
import signal
import subprocess
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from typing import IO

import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer

from alphapulse.claim import claim
from alphapulse.config import ClickHouseSettings, Settings
from alphapulse.errors import ServiceError
from sinks.clickhouse.engine import Engine
from sinks.clickhouse.library import library, listed
from sinks.clickhouse.query import main, query
from sinks.clickhouse.readonly import QueryRefused
from sinks.clickhouse.tables import migrate


async def fill(data_dir: Path, database: str = "alphapulse", *, trades: bool = False) -> None:
    """Make a database; with ``trades`` the tables as well, and a trade."""
    engine = Engine(Settings(data_dir=data_dir, clickhouse=ClickHouseSettings(database=database)))
    await engine.open(asyncio.Event())
    if trades:
        await migrate(engine)
        await engine.command("INSERT INTO trades (price, size, price_exponent) VALUES (6168599, 1, -2)")
    await engine.close()


def asked(data_dir: Path, text: str, output_format: str = "TSV", database: str = "alphapulse") -> bytes:
    return b"".join(query(data_dir, database, text, output_format))


def held(data_dir: Path) -> IO[str]:
    """Hold the database of ``data_dir``, as a sink does."""
    return claim(data_dir / "clickhouse", "database", beside=True)


def run(data_dir: Path, *arguments: str, typed: str = "") -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "sinks.clickhouse.query", "--data-dir", str(data_dir), *arguments],
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
        input=typed,
    )


async def test_answers_from_the_folder(tmp_path: Path) -> None:
    await fill(tmp_path, trades=True)
    comment = "-- price\n--format=JSON\nSELECT price FROM v_trades -- the only one"
    answer = await asyncio.to_thread(run, tmp_path, "--format", "TSV", "--", comment)
    assert (answer.returncode, answer.stdout, answer.stderr) == (0, "61685.99\n", "")
    refused = await asyncio.to_thread(run, tmp_path, "DROP TABLE trades")
    assert (refused.returncode, refused.stdout) == (2, "")
    assert refused.stderr.startswith("alphapulse sql: only SELECT, ")
    assert asked(tmp_path, "SELECT count() FROM trades") == b"1\n"
    with pytest.raises(QueryRefused, match="UNKNOWN_TABLE"):
        asked(tmp_path, "SELECT * FROM nothing")


@pytest.mark.parametrize(
    ("output_format", "told"), [("table", "no rows\n"), ("PrettySpace", "no rows\n"), ("csv", ""), ("json", "")]
)
async def test_a_table_without_rows_says_so(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], output_format: str, told: str
) -> None:
    await fill(tmp_path)
    arguments = ["--data-dir", str(tmp_path), "--format", output_format, "SELECT 1 AS one WHERE false"]
    assert main(arguments) == 0
    out, err = capsys.readouterr()
    assert err == told
    assert out == ('"one"\n' if output_format == "csv" else "")


async def test_the_database_is_the_configured_one_and_others_are_named(tmp_path: Path) -> None:
    await fill(tmp_path, "market")
    assert asked(tmp_path, "SELECT currentDatabase()", database="market") == b"market\n"
    with pytest.raises(ServiceError, match=r"no database 'alphapulse' in .*clickhouse; databases there: market$"):
        asked(tmp_path, "SELECT 1")


async def test_a_reader_that_goes_away_ends_it_like_any_unix_tool(tmp_path: Path) -> None:
    await fill(tmp_path)
    long = "SELECT number, repeat('x', 200) FROM numbers(100000)"
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "sinks.clickhouse.query", "--data-dir", str(tmp_path), "--format", "TSV", long),
        stdout=(ends := os.pipe())[1],
        stderr=asyncio.subprocess.PIPE,
    )
    os.close(ends[1])
    os.read(ends[0], 10)
    os.close(ends[0])
    _, told = await process.communicate()
    assert (process.returncode, told) == (-signal.SIGPIPE, b"")


def test_no_database_is_one_clear_message(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--data-dir", str(tmp_path), "SELECT 1"]) == 2
    assert "clickhouse: no database there; run 'alphapulse demo'" in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []
    in_the_way = tmp_path / "file"
    in_the_way.write_text("")
    assert main(["--data-dir", str(in_the_way), "SELECT 1"]) == 2
    assert "file/clickhouse: no database there" in capsys.readouterr().err


def test_a_query_that_is_no_text_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--data-dir", str(tmp_path), "--", os.fsdecode(b"SELECT '\xff'")]) == 2
    assert capsys.readouterr().err == "alphapulse sql: the query is not UTF-8 text\n"


def test_a_folder_that_is_no_database_is_one_clear_message(tmp_path: Path) -> None:
    (tmp_path / "clickhouse").mkdir()
    with pytest.raises(ServiceError, match=r"no database 'alphapulse' in .*there is none"):
        asked(tmp_path, "SELECT 1")


def test_a_query_from_a_file_or_standard_input(tmp_path: Path) -> None:
    asyncio.run(fill(tmp_path))
    file = tmp_path / "sum.sql"
    file.write_text("-- parameter x UInt8 = 2: a number\nSELECT {x:UInt8} + {y:Int64}", encoding="utf-8")
    for arguments, typed, told in (
        (["--format=TSV", "--file", str(file), "--param=y=5"], "", "7\n"),
        (["--format=TSV", "--param=x=8"], "SELECT {x:UInt8}", "8\n"),
        (["--format=TSV", "--param=x=a\tb'c"], "SELECT length({x:String})", "5\n"),
    ):
        ended = run(tmp_path, *arguments, typed=typed)
        assert (ended.returncode, ended.stdout, ended.stderr) == (0, told, "")


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["ohlc"], "no query 'ohlc' in the library, did you mean ohlcv? (alphapulse sql --list shows them)"),
        (
            ["ohlcv"],
            "ohlcv: parameter symbol (String, the symbol, BASE-QUOTE or a ticker) has no value: add -p symbol=…",
        ),
        (["ohlcv", "--param=x"], "-p 'x': expected NAME=VALUE"),
        (["ohlcv", "--param=x=1", "--param=x=2"], "-p x: given twice"),
        (["--file=/none.sql"], "/none.sql: No such file or directory"),
        (["--file=/none.sql", "SELECT 1"], "--file /none.sql: there is a query besides: 'SELECT 1'"),
        (["--list", "x"], "no query 'x' in the library (alphapulse sql --list shows them)"),
        ([], "standard input: there is no query"),
    ],
)
def test_what_is_wrong_with_a_query_is_one_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, arguments: list[str], told: str
) -> None:
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(b"")))
    assert main(["--data-dir", str(tmp_path), *arguments]) == 2
    assert capsys.readouterr().err == f"alphapulse sql: {told}\n"


@pytest.mark.parametrize("data", [b"SELECT '\xff'", b"-- parameter x\nSELECT 1"])
def test_a_file_that_is_no_query_is_named(tmp_path: Path, capsys: pytest.CaptureFixture[str], data: bytes) -> None:
    file = tmp_path / "q.sql"
    file.write_bytes(data)
    assert main(["--data-dir", str(tmp_path), "--file", str(file)]) == 2
    told = capsys.readouterr().err
    assert told.startswith(f"alphapulse sql: {file}: not ")
    assert len(told.splitlines()) == 1


def test_the_library_is_listed(tmp_path: Path, capsysbinary: pytest.CaptureFixture[bytes]) -> None:
    assert main(["--data-dir", str(tmp_path), "--list"]) == 0
    told = capsysbinary.readouterr().out.decode()
    assert all(f"{name}\n    " in told for name in library())
    assert max(map(len, told.splitlines())) <= 100


@pytest.mark.parametrize(("columns", "most"), [(80, 80), (60, 60), (200, 100), (None, 100)])
def test_its_list_fits_a_terminal(columns: int | None, most: int) -> None:
    shown = listed(list(library().values()), columns)
    assert most - 20 < max(map(len, shown.splitlines())) <= most
    assert shown.split() == listed(list(library().values())).split()


@pytest.fixture
async def sink(tmp_path: Path) -> AsyncIterator[TestServer]:
    """What answers as a sink does, and says what it was asked; the database is locked by this process."""

    async def answer(request: web.Request) -> web.Response:
        text = await request.text()
        if text == "refuse":
            return web.Response(status=400, text="refused")
        return web.Response(text=f"{request.query['format']}: {text}")

    app = web.Application()
    app.router.add_post("/sql", answer)
    (tmp_path / "clickhouse").mkdir()
    (tmp_path / "run").mkdir()
    with held(tmp_path):
        server = TestServer(app)
        async with server:
            yield server


def announce(data_dir: Path, text: str) -> None:
    (data_dir / "run" / "sink-clickhouse.json").write_text(text, encoding="utf-8")


async def test_a_sink_that_holds_the_database_is_asked(tmp_path: Path, sink: TestServer) -> None:
    announce(tmp_path, json.dumps({"pid": os.getpid(), "ops_port": sink.port, "sql": True}))
    text = "-- comment\nSELECT 1"
    assert await asyncio.to_thread(asked, tmp_path, text) == b"TSV: -- comment\nSELECT 1"
    with pytest.raises(QueryRefused, match=r"^refused$"):
        await asyncio.to_thread(asked, tmp_path, "refuse")


@pytest.mark.parametrize(
    ("told", "reason"),
    [
        ("", "is incomplete or not a run file"),
        ('{"pid": 1', "is incomplete or not a run file"),
        ("[]", "is incomplete or not a run file"),
        ('{"pid": "x", "ops_port": 1, "sql": true}', "is incomplete or not a run file"),
        ('{"pid": 1, "ops_port": 1, "sql": true}', "belongs to another process, 1"),
        ('{"pid": OWN, "ops_port": 1}', "it is still starting"),
    ],
)
def test_a_run_file_that_is_not_the_holders_is_told(tmp_path: Path, told: str, reason: str) -> None:
    (tmp_path / "clickhouse").mkdir()
    (tmp_path / "run").mkdir()
    announce(tmp_path, told.replace("OWN", str(os.getpid())))
    with held(tmp_path), pytest.raises(ServiceError, match=reason) as caught:
        asked(tmp_path, "SELECT 1")
    assert f"clickhouse is in use by process {os.getpid()}" in str(caught.value)


@pytest.mark.parametrize("told", ["", '{"pid"', '{"pid": OWN, "ops_port": 1, "sql": true}'])
async def test_a_stale_run_file_is_nothing_where_nobody_holds_the_database(tmp_path: Path, told: str) -> None:
    await fill(tmp_path)
    (tmp_path / "run").mkdir()
    announce(tmp_path, told.replace("OWN", str(os.getpid())))
    assert asked(tmp_path, "SELECT 1") == b"1\n"


def test_a_sink_that_does_not_answer_is_told(tmp_path: Path) -> None:
    (tmp_path / "clickhouse").mkdir()
    (tmp_path / "run").mkdir()
    announce(tmp_path, json.dumps({"pid": os.getpid(), "ops_port": 1, "sql": True}))
    with held(tmp_path), pytest.raises(ServiceError, match=r"port 1 does not answer: .*refused"):
        asked(tmp_path, "SELECT 1")
