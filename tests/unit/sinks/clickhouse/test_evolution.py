from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys
from pathlib import Path

import pyarrow as pa
import pytest
from aiokafka import TopicPartition

from alphapulse import topics
from alphapulse.config import Settings
from alphapulse.errors import ServiceError
from schemas.codec import Codec
from schemas.records import Candle, Trade
from sinks.clickhouse.engine import Engine
from sinks.clickhouse.evolution import added_columns, column_type, default_of, evolve
from sinks.clickhouse.tables import migrate, records_of_tables
from sinks.clickhouse.writer import ClickHouseTarget
from sinks.columns import CATEGORY, TIME, Column, columns
from tests.fixtures.lasting_engine import LastingEngine
from tests.fixtures.later_release import later_schemas
from tests.fixtures.log import Log
from tests.fixtures.records import trade
from tests.fixtures.sink_life import live

KEY = TopicPartition(topics.TRADES, 0)


async def store(settings: Settings, count: int, incarnation: str) -> None:
    """A life of this release's sink with ``count`` trades."""
    log = Log()
    for number in range(count):
        log.append(KEY, Codec().encode(trade(number)))
    engine = Engine(settings)
    await engine.open(asyncio.Event())
    try:
        await live(log, ClickHouseTarget(settings.clickhouse, LastingEngine(engine), incarnation, asyncio.Event()))
        assert await engine.rows("SELECT count() FROM trades WHERE _incarnation = {i:String}", {"i": incarnation}) == [
            (count,)
        ]
    finally:
        await engine.close()


async def test_a_new_field_becomes_a_column_and_old_records_still_load(tmp_path: Path) -> None:
    """A later release beside this one: rows and records of before have the defaults, and this one goes on inserting."""
    settings = Settings(data_dir=tmp_path / "data")
    await store(settings, 1, "life-1")
    later_schemas(tmp_path)
    paths = os.pathsep.join([str(tmp_path), str(Path.cwd())])
    old = Codec().encode(trade(1)).hex()
    command = [sys.executable, "-m", "tests.fixtures.later_release", str(settings.data_dir), old]
    done = await asyncio.to_thread(
        subprocess.run,
        command,
        # -m puts the working directory before PYTHONPATH.
        env={**os.environ, "PYTHONPATH": paths},
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )
    assert done.returncode == 0, done.stderr
    told = json.loads(done.stdout.splitlines()[-1])  # the log comes before
    default = ["it's\n'regular'", 1_700_000_000_123_456_789, None, [1, -2], True]
    names = [trade(number).trade_id for number in range(3)]
    assert told["rows"] == [[names[0], *default], [names[1], *default], [names[2], "x", 5, 7, [], False]]
    assert told["dlq"] == 0
    assert told["columns"][:4] == ["venue", "symbol", "condition", "trade_id"]
    assert told["columns"][10:15] == ["received_time", "settlement_time", "fee", "legs", "block"]
    assert [change[:2] for change in told["changes"]] == [["column", "trades"]] * 5
    await store(settings, 2, "life-3")


async def test_a_column_is_added_once_and_recorded(engine: Engine) -> None:
    await migrate(engine)
    assert await evolve(engine, records_of_tables()) == []
    await engine.command("ALTER TABLE candles DROP COLUMN partial")
    assert await migrate(engine) == 0
    described = [row[0] for row in await engine.rows("DESCRIBE candles")]
    assert described[: len(columns(Candle))] == [column.name for column in columns(Candle)]
    assert await engine.rows("SELECT kind, table_name, after FROM schema_changes") == [
        ("column", "candles", added_columns("candles", Candle, set(described) - {"partial"})["partial"])
    ]
    assert await evolve(engine, records_of_tables()) == []


def test_a_field_without_a_default_is_refused() -> None:
    names = {column.name for column in columns(Trade)}
    with pytest.raises(ServiceError, match=r"table trades has no column size, and the field has no default"):
        added_columns("trades", Trade, names - {"size"})


@pytest.mark.parametrize(
    ("arrow", "value", "expression"),
    [
        (TIME, 0, "fromUnixTimestamp64Nano(0, 'UTC')"),
        (CATEGORY, "a'b\\", "'a\\'b\\\\'"),
        (None, None, "NULL"),
    ],
)
async def test_defaults_are_expressions(engine: Engine, arrow: object, value: object, expression: str) -> None:
    column = Column("x", arrow if arrow is not None else CATEGORY, nullable=value is None)  # type: ignore[arg-type]
    assert default_of(column, value) == expression
    await engine.command(f"CREATE TABLE t (a Int8, x {column_type(column)} DEFAULT {expression}) ENGINE = Memory")
    await engine.command("INSERT INTO t (a) VALUES (1)")
    found = await engine.rows("SELECT toString(x) FROM t")
    assert found == [("1970-01-01 00:00:00.000000000" if arrow is TIME else value,)]


def test_bytes_and_maps_have_defaults_too() -> None:
    assert default_of(Column("x", pa.binary(), nullable=False), "\x00\xff") == "unhex('00ff')"
    texts = Column("x", pa.map_(pa.string(), pa.string()), nullable=False)
    assert default_of(texts, {}) == "map()"
    assert default_of(texts, {"a": "b"}) == "map('a', 'b')"
    with pytest.raises(TypeError, match="no expression for the default"):
        default_of(Column("x", pa.string(), nullable=False), object())
