"""The command in a process of its own, as the command line starts it: chDB wants one engine per process."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from pathlib import Path

import pytest

from alphapulse.config import Settings
from alphapulse.errors import ServiceError
from sinks.clickhouse.engine import Engine, claim
from sinks.clickhouse.query import main, query
from sinks.clickhouse.readonly import QueryRefused
from sinks.clickhouse.tables import migrate


async def fill(data_dir: Path) -> None:
    engine = Engine(Settings(data_dir=data_dir))
    await engine.open(asyncio.Event())
    await migrate(engine)
    await engine.command("INSERT INTO trades (price, size, price_exponent) VALUES (6168599, 1, -2)")
    await engine.close()


def run(data_dir: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "sinks.clickhouse.query", "--data-dir", str(data_dir), *arguments],
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )


async def test_answers_from_the_folder(tmp_path: Path) -> None:
    await fill(tmp_path)
    answer = await asyncio.to_thread(run, tmp_path, "--format", "TSV", "SELECT price FROM v_trades")
    assert (answer.returncode, answer.stdout, answer.stderr) == (0, "61685.99\n", "")
    refused = await asyncio.to_thread(run, tmp_path, "DROP TABLE trades")
    assert (refused.returncode, refused.stdout) == (2, "")
    assert refused.stderr.startswith("alphapulse sql: only SELECT, ")
    assert query(tmp_path, "alphapulse", "SELECT count() FROM trades", "TSV") == b"1\n"
    with pytest.raises(QueryRefused, match="UNKNOWN_TABLE"):
        query(tmp_path, "alphapulse", "SELECT * FROM nothing", "TSV")


def test_no_database_is_one_clear_message(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--data-dir", str(tmp_path), "SELECT 1"]) == 2
    assert "clickhouse: no database there; run 'alphapulse demo'" in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []


def test_a_folder_in_use_is_one_clear_message(tmp_path: Path) -> None:
    (tmp_path / "clickhouse").mkdir()
    with claim(tmp_path / "clickhouse"), pytest.raises(ServiceError, match="in use by another process"):
        query(tmp_path, "alphapulse", "SELECT 1", "TSV")


def test_a_folder_that_is_no_database_is_one_clear_message(tmp_path: Path) -> None:
    (tmp_path / "clickhouse").mkdir()
    with pytest.raises(ServiceError, match="cannot be opened"):
        query(tmp_path, "alphapulse", "SELECT 1", "TSV")
