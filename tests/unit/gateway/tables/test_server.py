"""Queries to a ClickHouse server: chDB behind ClickHouse's HTTP interface."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from alphapulse.config import ClickHouseSettings, Settings
from gateway.tables import TablesUnavailable, tables_of
from gateway.tables.errors import NotRepresentable
from gateway.tables.server import ServerTables, place_of
from tests.fixtures.clickhouse_server import ClickHouseServer


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as found:
        port: int = found.getsockname()[1]
        return port


@pytest.fixture
def server(tmp_path: Path) -> Iterator[ClickHouseServer]:
    running = ClickHouseServer(tmp_path / "server", free_port())
    running.start()
    yield running
    running.kill()


async def test_a_server_answers_and_is_told_when_it_does_not(server: ClickHouseServer) -> None:
    tables = ServerTables(ClickHouseSettings(dsn=server.dsn, database="default"))
    evil = "x' OR 1=1 --\n\\"
    found = await tables.read("SELECT {text:String} AS text, {n:Int64} AS n", {"text": evil, "n": 2**62})
    assert found.to_pylist() == [{"text": evil, "n": 2**62}]
    with pytest.raises(TablesUnavailable, match=r"UNKNOWN_TABLE$") as refused:
        await tables.read("SELECT a FROM nothing", {})
    assert "nothing" not in str(refused.value), "no SQL"
    with pytest.raises(NotRepresentable):
        await tables.read("SELECT CAST(toDecimal256('1e30', 18) AS Decimal(38, 18)) AS price", {})
    await asyncio.to_thread(server.kill)
    with pytest.raises(TablesUnavailable):
        await tables.read("SELECT 1 AS n", {})
    await tables.close()


@pytest.mark.parametrize(
    "credentials",
    ["desk:secret@", "desk:secr@secret@", "desk:secret/secret@", "desk:secret%2Fsecret@", "desk:12/secret@"],
)
async def test_a_server_that_is_not_there_and_its_password(
    tmp_path: Path, credentials: str, capsys: pytest.CaptureFixture[str]
) -> None:
    for dsn in (f"clickhouse://{credentials}127.0.0.1:1/", "clickhouse://127.0.0.1:1/?password=secret"):
        tables = tables_of(Settings(data_dir=tmp_path, clickhouse=ClickHouseSettings(dsn=dsn)))
        with pytest.raises(TablesUnavailable) as refused:
            await tables.read("SELECT 1", {})
        await tables.close()
        told = str(refused.value)
        assert told.startswith("the stored data cannot be read: ClickHouse")
        for text in ("secret", "secr", "desk", "127.0.0.1", "SELECT", "12"):
            assert text not in told
        assert "secr" not in "".join(capsys.readouterr())


def test_the_place_has_no_credentials() -> None:
    assert place_of("clickhouse://desk:p@ss@host:8123/db") == "host:8123"
    assert place_of("clickhouse://host/?password=x") == "host"
    assert place_of("clickhouse://[::1]:8123/") == "::1:8123"
    for dsn in ("clickhouse://desk:pa/ss@host", "clickhouse://desk:12/34@host:8123", "clickhouse://desk:p?s@host", ""):
        assert place_of(dsn) == "the server of [clickhouse] dsn"
