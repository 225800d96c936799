"""Files of the Parquet sink into the real embedded engine."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any

import pytest

from alphapulse.config import Settings
from sinks.clickhouse.engine import Engine
from sinks.clickhouse.writer import ClickHouseTarget
from sinks.contract import Span
from sinks.load.__main__ import main
from tests.fixtures.parquet_files import KEY, L2_KEY, chunk, filled

PLACES = "SELECT count(), uniqExact(_incarnation, _partition, _offset) FROM {}"


@pytest.fixture
def files(tmp_path: Path) -> Path:
    """Trades of three hours in two checkpoints, and books."""
    folder = tmp_path / "parquet"

    async def made() -> None:
        await filled(folder, (60, 40), hours=3)
        await filled(folder, (20,), keys=(L2_KEY,))

    asyncio.run(made())
    return folder


def loaded(capsys: pytest.CaptureFixture[str], *arguments: str) -> dict[str, dict[str, Any]]:
    assert main(["parquet", *arguments, "--json"]) == 0
    return {one["topic"]: one for one in json.loads(capsys.readouterr().out)["topics"]}


def asked(settings: Settings, query: str) -> list[tuple[Any, ...]]:
    async def ask() -> list[tuple[Any, ...]]:
        engine = Engine(settings)
        await engine.open(asyncio.Event())
        try:
            return await engine.rows(query)
        finally:
            await engine.close()

    return asyncio.run(ask())


def test_files_become_the_rows_that_the_sink_stores_each_once(
    files: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    settings = Settings(data_dir=tmp_path / "data")

    async def sink() -> None:
        """Some of the rows are there before."""
        target = ClickHouseTarget(settings.clickhouse, Engine(settings), "life", asyncio.Event())
        await target.open()
        await target.submit(chunk(0, 30, hours=3))
        target.seal([Span(KEY, 0, 29)])
        await target.write([Span(KEY, 0, 29)], recovering=False, give_up=asyncio.Event())
        await target.close()

    asyncio.run(sink())
    before = asked(settings, "SELECT * FROM trades ORDER BY _offset")
    capsys.readouterr()
    there = [str(files), "--data-dir", str(settings.data_dir)]
    assert loaded(capsys, *there, "--dry-run")["md.trades"]["rows"] == 100
    first = loaded(capsys, *there)
    assert (first["md.trades"]["stored"], first["md.trades"]["present"]) == (70, 30)
    assert (first["md.l2"]["stored"], first["md.l2"]["present"]) == (20, 0)
    second = loaded(capsys, *there)
    assert (second["md.trades"]["stored"], second["md.trades"]["present"]) == (0, 100)
    found = asked(settings, "SELECT * FROM trades ORDER BY _offset")
    assert found[:30] == before
    assert {row[-3] for row in found} == {"life"}
    assert asked(settings, PLACES.format("trades")) == [(100, 100)]
    assert asked(settings, PLACES.format("l2")) == [(20, 20)]


def test_topics_and_hours_choose_files(files: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    data = str(tmp_path / "data")
    chosen = ["--topic", "md.trades", "--since", "2024-08-08T07", "--until", "2024-08-08T08", "--dry-run"]
    found = loaded(capsys, str(files), "--data-dir", data, *chosen)
    assert {topic: one["rows"] for topic, one in found.items()} == {"md.trades": 33}


def test_what_cannot_be_loaded_is_told(files: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    data = str(tmp_path / "data")
    assert main(["parquet", str(tmp_path / "nowhere"), "--data-dir", data]) == 2
    assert "no files of the Parquet sink there" in capsys.readouterr().err
    spoilt = next(files.rglob("*.parquet"))
    spoilt.write_bytes(spoilt.read_bytes()[:-20])
    assert main(["parquet", str(files), "--data-dir", data, "--dry-run"]) == 2
    error = capsys.readouterr().err
    assert spoilt.name in error
    assert "cannot be read" in error
