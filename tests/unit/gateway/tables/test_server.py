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
from gateway.tables.server import ServerTables
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
    with pytest.raises(TablesUnavailable, match="UNKNOWN_TABLE"):
        await tables.read("SELECT a FROM nothing", {})
    with pytest.raises(NotRepresentable):
        await tables.read("SELECT CAST(toDecimal256('1e30', 18) AS Decimal(38, 18)) AS price", {})
    await asyncio.to_thread(server.kill)
    with pytest.raises(TablesUnavailable):
        await tables.read("SELECT 1 AS n", {})
    await tables.close()


async def test_a_server_that_is_not_there_and_its_password(tmp_path: Path) -> None:
    dsn = f"clickhouse://desk:secret@127.0.0.1:{free_port()}/"
    tables = tables_of(Settings(data_dir=tmp_path, clickhouse=ClickHouseSettings(dsn=dsn)))
    with pytest.raises(TablesUnavailable) as refused:
        await tables.read("SELECT 1", {})
    assert "secret" not in str(refused.value)
    await tables.close()
