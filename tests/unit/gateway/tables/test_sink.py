"""Queries to a sink's port: the real endpoint over a real embedded engine."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from pathlib import Path

import pyarrow as pa
import pytest
from aiohttp import web

from alphapulse.config import Settings
from alphapulse.errors import UnknownInstrument
from gateway.rest.names import Names
from gateway.state import MarketState
from gateway.tables import BoundedTables, TablesUnavailable
from gateway.tables.errors import NotRepresentable
from gateway.tables.sink import SinkTables
from sinks.clickhouse.endpoint import SqlEndpoint
from sinks.clickhouse.engine import Engine
from sinks.clickhouse.tables import migrate

LONG = "SELECT count() AS n FROM numbers(30000000000) WHERE sipHash64(number) % 7 = 1"


@pytest.fixture
async def engine(tmp_path: Path) -> AsyncIterator[Engine]:
    made = Engine(Settings(data_dir=tmp_path))
    await made.open(asyncio.Event())
    yield made
    await made.close()


@pytest.fixture
async def settings(tmp_path: Path, engine: Engine) -> AsyncIterator[Settings]:
    """Those of a data directory whose sink answers queries."""
    settings = Settings(data_dir=tmp_path)
    sql = SqlEndpoint(engine)
    app = web.Application()
    app.router.add_post("/sql", sql.answer)
    runner = web.AppRunner(app)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    announce(tmp_path, sql=True, ops_port=runner.addresses[0][1])
    try:
        yield settings
    finally:
        await runner.cleanup()
        await sql.close()


def announce(folder: Path, **fields: object) -> None:
    (folder / "run").mkdir(exist_ok=True)
    (folder / "run" / "sink-clickhouse.json").write_text(json.dumps(fields))


async def test_values_are_bound_never_pasted(settings: Settings) -> None:
    tables = SinkTables(settings)
    evil = "x' OR 1=1 --\n\t\\ {a:String} é"
    found = await tables.read(
        "SELECT {text:String} AS text, {number:Int64} + 1 AS number", {"text": evil, "number": 2**62}
    )
    assert found.to_pylist() == [{"text": evil, "number": 2**62 + 1}]
    assert found.schema.field("text").type == pa.string()
    with pytest.raises(TablesUnavailable, match="refuses"):
        await tables.read("SELECT {number:Int64} AS number", {"number": "1 OR 1"})
    with pytest.raises(TablesUnavailable, match="UNKNOWN_TABLE"):
        await tables.read("SELECT a FROM nothing", {})
    with pytest.raises(NotRepresentable):
        await tables.read("SELECT CAST(toDecimal256('1e30', 18) AS Decimal(38, 18)) AS price", {})
    await tables.close()


async def test_a_caller_that_gives_up_ends_its_query(settings: Settings) -> None:
    tables = SinkTables(settings)
    long = asyncio.create_task(tables.read(LONG, {}))
    await asyncio.sleep(0.3)
    long.cancel()
    # There is one turn at the sink: the next query is answered because the long one has ended.
    async with asyncio.timeout(10):
        assert (await tables.read("SELECT 1 AS n", {})).to_pylist() == [{"n": 1}]
    await tables.close()


async def test_queries_wait_for_their_turn_not_for_ever(settings: Settings) -> None:
    tables = BoundedTables(SinkTables(settings), concurrent=1, patience_seconds=0.2)
    long = asyncio.create_task(tables.read(LONG, {}))
    await asyncio.sleep(0.1)
    with pytest.raises(TablesUnavailable, match="all turns"):
        await tables.read("SELECT 1 AS n", {})
    long.cancel()
    await asyncio.wait({long})
    assert (await tables.read("SELECT 1 AS n", {})).num_rows == 1
    await tables.close()


async def test_why_the_sink_does_not_answer(tmp_path: Path) -> None:
    tables = SinkTables(Settings(data_dir=tmp_path))
    with pytest.raises(TablesUnavailable, match="no ClickHouse sink runs"):
        await tables.read("SELECT 1", {})
    announce(tmp_path, ops_port=1)
    with pytest.raises(TablesUnavailable, match="still starting"):
        await tables.read("SELECT 1", {})
    announce(tmp_path, ops_port=1, sql=True)
    with pytest.raises(TablesUnavailable, match="does not answer"):
        await tables.read("SELECT 1", {})
    (tmp_path / "run" / "sink-clickhouse.json").write_text("{")
    with pytest.raises(TablesUnavailable, match="cannot be read"):
        await tables.read("SELECT 1", {})
    await tables.close()


async def test_names_are_those_of_now_and_those_of_stored_data(settings: Settings, engine: Engine) -> None:
    await migrate(engine)
    await engine.command("INSERT INTO trades (venue, symbol) VALUES ('bitmex', 'XBT-USD')")
    await engine.command("INSERT INTO stats (venue, symbol) VALUES ('okx', 'ETH-USDT')")
    tables = SinkTables(settings)
    names = Names(MarketState({"kraken": ("BTC-USD",)}, max_book_age=1), tables)
    for venue, symbol in (
        (None, None),
        ("kraken", "BTC-USD"),
        (None, "BTC-USD"),
        ("bitmex", None),
        ("bitmex", "XBT-USD"),
        (None, "ETH-USDT"),
    ):
        await names.check(venue, symbol)
    for venue, symbol in (("bitmex", "BTC-USD"), ("bitmx", None), (None, "XBT"), ("kraken", "XBT-USD")):
        with pytest.raises(UnknownInstrument, match="known"):
            await names.check(venue, symbol)
    await tables.close()
    announce(settings.data_dir)
    with pytest.raises(TablesUnavailable, match="announcement"):
        await Names(MarketState({"kraken": ()}, max_book_age=1), SinkTables(settings)).check("bitmex", None)
