"""The query of docs/quickstart.md, as it is typed there, over HTTP to a server with its user."""

from __future__ import annotations

import asyncio
import subprocess
from pathlib import Path

import pytest

from alphapulse.config import ClickHouseSettings, Settings
from sinks.clickhouse.engine import Engine
from sinks.clickhouse.tables import migrate
from tests.documents import ROOT
from tests.documents.blocks import blocks
from tests.fixtures.clickhouse_server import ClickHouseServer

pytestmark = pytest.mark.unmeasured

PUBLISHED = "127.0.0.1:8123"
"""Of the compose file."""


def typed() -> str:
    """Return the command of the document that this test runs."""
    (block,) = (
        block
        for block in blocks(ROOT / "docs" / "quickstart.md")
        if block.marker is not None and "tests/integration/test_quickstart.py" in block.marker.tests
    )
    return block.text


async def test_the_query_counts_the_trades(
    tmp_path: Path, unused_tcp_port: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CLICKHOUSE_USER", "alphapulse")
    monkeypatch.setenv("CLICKHOUSE_PASSWORD", "alphapulse")
    server = ClickHouseServer(tmp_path / "server", unused_tcp_port)
    try:
        await asyncio.to_thread(server.start)
        dsn = server.dsn.replace("//", "//alphapulse:alphapulse@")
        engine = Engine(Settings(clickhouse=ClickHouseSettings(dsn=dsn)))
        await engine.open(asyncio.Event())
        await migrate(engine)
        await engine.command(
            "INSERT INTO trades (venue, symbol, trade_id, side, price, size, price_exponent, size_exponent,"
            " exchange_time, received_time) SELECT 'kraken', 'BTC-USD', toString(number), 'BUY', 1, 1, 0, 0,"
            " now64(9), now64(9) FROM numbers(321)"
        )
        await engine.close()
        command = typed().replace(PUBLISHED, f"127.0.0.1:{unused_tcp_port}")
        assert command != typed()
        done = await asyncio.to_thread(
            subprocess.run, ["sh", "-e", "-c", command], capture_output=True, text=True, check=False, timeout=60
        )
    finally:
        server.kill()
    assert (done.returncode, done.stderr) == (0, "")
    assert "latest" in done.stdout, "names of the columns"
    assert [line for line in done.stdout.splitlines() if "kraken" in line and " 321 " in line], done.stdout
