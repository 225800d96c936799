"""Record of the changes that a program made to the tables besides the migrations: table ``schema_changes``."""

from __future__ import annotations

from typing import Final

from alphapulse.version import installed_version
from sinks.clickhouse.engine import Engine

_RECORD: Final = """
CREATE TABLE IF NOT EXISTS schema_changes
(
    time DateTime64(3, 'UTC') DEFAULT now64(3),
    kind LowCardinality(String),
    table_name LowCardinality(String),
    before String,
    after String,
    version String
)
ENGINE = ReplacingMergeTree
ORDER BY (time, kind, table_name, after)
"""


async def record_change(engine: Engine, kind: str, table: str, before: str, after: str) -> None:
    """Record a change that has been made.

    Args:
        engine: open.
        kind: ``ttl`` or ``column``.
        table: name of the table.
        before: what was there; empty: nothing.
        after: what is there now; empty: nothing.

    Raises:
        Unreachable: not now.
        ServiceError: ClickHouse refuses.
    """
    await engine.command(_RECORD)
    values = ", ".join(literal(text) for text in (kind, table, before, after, installed_version()))
    await engine.command(
        f"INSERT INTO schema_changes (kind, table_name, before, after, version) VALUES ({values})"  # noqa: S608 escaped
    )


def literal(text: str) -> str:
    """Return ``text`` as a string literal of ClickHouse."""
    escaped = text.replace("\\", "\\\\").replace("'", "\\'").replace("\n", "\\n").replace("\t", "\\t")
    return f"'{escaped}'"
