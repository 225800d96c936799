"""Schema evolution: a field that the tables have no column for yet becomes one.

A field added to an ``.avsc`` has a default (``python -m schemas check`` insists on it). Its column is derived from the
schema: type as in the other tables, the field's default, behind the column of the field before it. Old rows then read
as the default, as old records do (the codec resolves them), and a sink of an earlier release, which does not know the
column, may go on inserting beside a new one.

A migration that adds the column (with a codec of its own, say) comes before: then nothing is missing here.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

import pyarrow as pa

from alphapulse.errors import ServiceError
from schemas.definitions import definition
from schemas.records import Record
from sinks.clickhouse.changes import literal, record_change
from sinks.clickhouse.engine import Engine, RowSource
from sinks.columns import CATEGORY, TIME, Column, columns

_TYPES: Final[Mapping[pa.DataType, str]] = {
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
_CODECS: Final[Mapping[pa.DataType, str]] = {
    TIME: " CODEC(Delta, T64, ZSTD)",
    CATEGORY: "",
}
"""Others: ZSTD (001_tables.sql)."""


def column_type(column: Column) -> str:
    """Return the ClickHouse type of a record's column."""
    name = _TYPES[column.type]
    if not column.nullable:
        return name
    return "LowCardinality(Nullable(String))" if column.type == CATEGORY else f"Nullable({name})"


def default_of(column: Column, value: Any) -> str:
    """Return the default of a field, as in its schema, as an expression of ClickHouse."""
    if value is None:
        return "NULL"
    if column.type == TIME:
        return f"fromUnixTimestamp64Nano({int(value)}, 'UTC')"
    if column.type == pa.binary():
        return f"unhex('{value.encode('latin-1').hex()}')"
    match value:
        case bool():
            return "true" if value else "false"
        case int() | float():
            return repr(value)
        case str():
            return literal(value)
        case list():
            return f"[{', '.join(map(repr, value))}]"
        case dict():
            return f"map({', '.join(f'{literal(k)}, {literal(v)}' for k, v in value.items())})"
    raise TypeError(f"field {column.name}: no expression for the default {value!r}")


def added_columns(table: str, kind: type[Record], present: set[str]) -> dict[str, str]:
    """Return the statements that add what ``table`` lacks, by column.

    Args:
        table: name of the table.
        kind: class of its records.
        present: names of its columns.

    Raises:
        ServiceError: a field that is missing has no default.
    """
    fields = {field["name"]: field for field in definition(kind).parsed["fields"]}
    statements: dict[str, str] = {}
    before = ""
    for column in columns(kind):
        if column.name not in present:
            if "default" not in fields[column.name]:
                raise ServiceError(
                    f"table {table} has no column {column.name}, and the field has no default in its schema: "
                    "old rows would have no value"
                )
            default = default_of(column, fields[column.name]["default"])
            codec = _CODECS.get(column.type, " CODEC(ZSTD)")
            place = f"AFTER `{before}`" if before else "FIRST"
            statements[column.name] = (
                f"ALTER TABLE {table} ADD COLUMN IF NOT EXISTS `{column.name}` {column_type(column)} "
                f"DEFAULT {default}{codec} {place}"
            )
        before = column.name
    return statements


async def lacking(source: RowSource, kinds: Mapping[str, type[Record]]) -> dict[tuple[str, str], str]:
    """Return the statements that add the columns that tables lack, by table and column.

    Args:
        source: answers queries.
        kinds: class of records by table; tables that do not exist are left out.

    Raises:
        Unreachable: not now.
        ServiceError: a field has no default, or ClickHouse refuses.
    """
    present: dict[str, set[str]] = {}
    for table, column in await source.rows(
        "SELECT c.table, c.name FROM system.columns AS c INNER JOIN system.tables AS t "
        "ON t.database = c.database AND t.name = c.table "
        "WHERE c.database = currentDatabase() AND t.create_table_query LIKE 'CREATE TABLE %'"
    ):
        present.setdefault(table, set()).add(column)
    return {
        (table, column): statement
        for table, kind in kinds.items()
        if table in present
        for column, statement in added_columns(table, kind, present[table]).items()
    }


async def evolve(engine: Engine, kinds: Mapping[str, type[Record]]) -> list[str]:
    """Add the columns that tables lack; return them as ``table.column``. See :func:`lacking`."""
    found = await lacking(engine, kinds)
    for (table, _), statement in found.items():
        await engine.command(statement)
        await record_change(engine, "column", table, "", statement)
    return [f"{table}.{column}" for table, column in found]
