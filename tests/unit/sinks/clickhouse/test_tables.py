from __future__ import annotations

import pyarrow as pa
import pytest

from alphapulse.errors import ServiceError
from schemas.definitions import definitions
from sinks.clickhouse.engine import Engine
from sinks.clickhouse.tables import EMBEDDED, TABLE_OF, Migration, migrate, migrations, tune
from sinks.columns import CATEGORY, TIME, Column, columns

_TYPES = {
    TIME: "DateTime64(9, 'UTC')",
    CATEGORY: "LowCardinality(String)",
    pa.string(): "String",
    pa.binary(): "String",
    pa.int32(): "Int32",
    pa.int64(): "Int64",
    pa.float64(): "Float64",
    pa.bool_(): "Bool",
    pa.list_(pa.int64()): "Array(Int64)",
    pa.map_(pa.string(), pa.string()): "Map(String, String)",
}


def clickhouse_type(column: Column) -> str:
    if column.nullable and column.type == CATEGORY:
        return "LowCardinality(Nullable(String))"
    return f"Nullable({_TYPES[column.type]})" if column.nullable else _TYPES[column.type]


async def test_every_topic_has_a_table_with_the_records_columns(engine: Engine) -> None:
    assert await migrate(engine) == len(migrations())
    assert TABLE_OF.keys() == {found.topic for found in definitions()}
    for found in definitions():
        table = TABLE_OF[found.topic]
        described = [(name, kind) for name, kind, *_ in await engine.rows(f"DESCRIBE {table.name}")]
        expected = [(column.name, clickhouse_type(column)) for column in columns(found.record)]
        expected += [("_incarnation", "LowCardinality(String)"), ("_partition", "Int32"), ("_offset", "Int64")]
        assert described == expected
        assert table.time in {column.name for column in columns(found.record) if column.type == TIME}


async def test_tables_are_durable_and_remember_tokens(engine: Engine) -> None:
    await migrate(engine)
    found = await engine.rows(
        "SELECT name, create_table_query FROM system.tables WHERE database = currentDatabase() AND engine = 'MergeTree'"
    )
    assert {name for name, _ in found} == {table.name for table in TABLE_OF.values()}
    for name, statement in found:
        for setting in ("non_replicated_deduplication_window = 10000", "fsync_after_insert = 1"):
            assert setting in statement, name


async def test_tables_of_the_embedded_engine_sync_what_they_merge(engine: Engine) -> None:
    await migrate(engine)
    for _ in range(2):  # the second time there is nothing to do
        await tune(engine)
    found = dict(
        await engine.rows(
            "SELECT name, create_table_query FROM system.tables "
            "WHERE database = currentDatabase() AND engine = 'MergeTree'"
        )
    )
    assert found.keys() == {table.name for table in TABLE_OF.values()}
    for name, statement in found.items():
        for key, value in EMBEDDED.items():
            assert f"{key} = {value}" in statement, name


async def test_migrations_are_applied_once(engine: Engine) -> None:
    wanted = [Migration(1, "001_a.sql", "CREATE TABLE a (x Int8) ENGINE = Memory;\nINSERT INTO a VALUES (1);\n")]
    assert await migrate(engine, wanted) == 1
    assert await migrate(engine, wanted) == 0
    wanted.append(Migration(2, "002_b.sql", "INSERT INTO a VALUES (2)"))
    assert await migrate(engine, wanted) == 1
    assert await engine.rows("SELECT x FROM a ORDER BY x") == [(1,), (2,)]
    assert await engine.rows("SELECT number, name FROM migrations ORDER BY number") == [
        (1, "001_a.sql"),
        (2, "002_b.sql"),
    ]


async def test_a_migration_changed_afterwards_is_refused(engine: Engine) -> None:
    await migrate(engine, [Migration(1, "001_a.sql", "SELECT 1")])
    with pytest.raises(ServiceError, match=r"001_a.sql was changed after it had been applied"):
        await migrate(engine, [Migration(1, "001_a.sql", "SELECT 2")])


def test_migrations_are_numbered_without_a_gap() -> None:
    assert [migration.number for migration in migrations()] == list(range(1, len(migrations()) + 1))
