"""State of the tables against what this program and its configuration want; nothing is changed."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from alphapulse.config import ClickHouseSettings
from sinks.clickhouse.engine import RowSource
from sinks.clickhouse.evolution import lacking
from sinks.clickhouse.query import query
from sinks.clickhouse.retention import TableTtl, told, ttls
from sinks.clickhouse.tables import (
    Applied,
    applied,
    migrations,
    missing_tables,
    records_of_tables,
)


class SinkRows:
    """A running sink's embedded database, asked over its ops port (:func:`sinks.clickhouse.query.query`).

    Args:
        data_dir: of the sink.
        database: name of its database.
    """

    def __init__(self, data_dir: Path, database: str) -> None:
        self._data_dir = data_dir
        self._database = database

    async def rows(self, text: str, parameters: Mapping[str, Any] | None = None) -> list[tuple[Any, ...]]:
        """Return the rows of a query without parameters; integers of 64 bits are text.

        Raises:
            ServiceError: the sink does not answer.
            QueryRefused: ClickHouse refuses the query.
        """
        if parameters:
            raise ValueError("parameters are not passed on to the sink")
        answer = await asyncio.to_thread(lambda: b"".join(query(self._data_dir, self._database, text, "JSONCompact")))
        return [tuple(row) for row in json.loads(answer)["data"]]


@dataclass(frozen=True, slots=True)
class Stored:
    """Rows of a table: number, bytes on disk, active parts, first and last time (text, empty without rows)."""

    rows: int = 0
    bytes: int = 0
    parts: int = 0
    first: str = ""
    last: str = ""


@dataclass(frozen=True, slots=True)
class Status:
    """State of a database.

    Attributes:
        migrations: compared with this program's.
        missing: tables that do not exist.
        columns: ``table.column`` that do not exist.
        ttls: of the tables that do.
        stored: by table.
        mutations: by table, parts that ClickHouse has still to change (TTLs, projections).
    """

    migrations: Applied
    missing: list[str]
    columns: list[str]
    ttls: list[TableTtl]
    stored: dict[str, Stored]
    mutations: dict[str, int]

    @property
    def differences(self) -> list[str]:
        """A line on each difference from what is wanted, with the command that ends it."""
        lines = []
        if self.migrations.newer:
            lines.append(f"of a later release than this program: {', '.join(self.migrations.newer)}")
        if self.migrations.changed:
            lines.append(f"changed after they had been applied: {', '.join(self.migrations.changed)}")
        if self.migrations.pending:
            names = ", ".join(each.name for each in self.migrations.pending)
            lines.append(f"migrations to apply: {names} (alphapulse clickhouse migrate)")
        elif self.missing:
            lines.append(f"tables that are missing: {', '.join(self.missing)} (alphapulse clickhouse migrate)")
        if self.columns:
            lines.append(f"columns that are missing: {', '.join(self.columns)} (alphapulse clickhouse migrate)")
        lines += [f"TTL of {told(each)} (alphapulse clickhouse ttl)" for each in self.ttls if not each.as_configured]
        return lines

    def json(self) -> dict[str, Any]:
        """Return the same as JSON-able fields."""
        return {
            "migrations": {
                "known": len(migrations()),
                "pending": [each.name for each in self.migrations.pending],
                "changed": self.migrations.changed,
                "newer": self.migrations.newer,
            },
            "missing_tables": self.missing,
            "missing_columns": self.columns,
            "tables": [
                {
                    "table": each.table.name,
                    "topic": each.topic,
                    "rows": of.rows,
                    "bytes": of.bytes,
                    "parts": of.parts,
                    "first": of.first or None,
                    "last": of.last or None,
                    "ttl": each.expression or None,
                    "ttl_days": each.days,
                    "ttl_days_configured": each.wanted_days,
                    "ttl_as_configured": each.as_configured,
                    "parts_to_change": self.mutations.get(each.table.name, 0),
                }
                for each in self.ttls
                for of in [self.stored.get(each.table.name, Stored())]
            ],
            "differences": self.differences,
        }

    def lines(self, columns: int | None = None) -> list[str]:
        """Return a table for people, then the differences.

        Args:
            columns: width that the lines should not exceed: a wider table is told as two; None: any.
        """
        head = ("table", "rows", "MB", "parts", "first", "last", "TTL, days", "configured")
        body = []
        for each in self.ttls:
            of = self.stored.get(each.table.name, Stored())
            now = "by hand" if each.seconds is None else _days(each.days)
            size = f"{of.bytes / 1e6:,.1f}"
            times = (of.first[:19], of.last[:19])
            body.append((each.table.name, f"{of.rows:,}", size, str(of.parts), *times, now, _days(each.wanted_days)))
        work = sum(self.mutations.values())
        table = _aligned([head, *body])
        if columns is not None and max(map(len, table)) > columns:
            rows = [head, *body]
            table = [*_aligned([(*row[:4], *row[6:]) for row in rows]), ""]
            table += [*_aligned([(row[0], *row[4:6]) for row in rows]), ""]
        return [
            *table,
            f"migrations: {len(migrations()) - len(self.migrations.pending)} of {len(migrations())} applied",
            *([f"ClickHouse is still changing {work} parts"] if work else []),
            *(self.differences or ["everything is as configured"]),
        ]


async def status(source: RowSource, settings: ClickHouseSettings) -> Status:
    """Return the state of the database behind ``source``.

    Raises:
        Unreachable: not now.
        ServiceError: ClickHouse refuses, or the sink that was asked.
        QueryRefused: the same of a sink's database.
    """
    found = await ttls(source, settings)
    return Status(
        migrations=await _applied(source),
        missing=await missing_tables(source),
        columns=[f"{table}.{column}" for table, column in await lacking(source, records_of_tables())],
        ttls=found,
        stored=await _stored(source, found),
        mutations={
            str(table): int(parts)
            for table, parts in await source.rows(
                "SELECT table, sum(parts_to_do) FROM system.mutations "
                "WHERE database = currentDatabase() AND NOT is_done GROUP BY table"
            )
        },
    )


async def _applied(source: RowSource) -> Applied:
    """As :func:`applied`; where no migration was ever applied all are pending."""
    there = await source.rows(
        "SELECT count() FROM system.tables WHERE database = currentDatabase() AND name = 'migrations'"
    )
    return await applied(source) if int(there[0][0]) else Applied(migrations(), [], [])


async def _stored(source: RowSource, found: Sequence[TableTtl]) -> dict[str, Stored]:
    if not found:
        return {}
    times = {
        str(name): (str(first), str(last))
        for name, first, last in await source.rows(
            " UNION ALL ".join(
                f"SELECT '{each.table.name}', toString(min({each.table.time})), toString(max({each.table.time})) "  # noqa: S608
                f"FROM {each.table.name}"
                for each in found
            )
        )
    }
    parts = {
        str(name): (int(rows), int(size), int(count))
        for name, rows, size, count in await source.rows(
            "SELECT table, sum(rows), sum(bytes_on_disk), count() FROM system.parts "
            "WHERE database = currentDatabase() AND active GROUP BY table"
        )
    }
    return {
        name: Stored(*numbers, *(times[name] if numbers[0] else ("", "")))
        for name, numbers in parts.items()
        if name in times
    }


def _days(days: float | None) -> str:
    return "no limit" if days is None else f"{days:g}"


def _aligned(rows: Sequence[Sequence[str]]) -> list[str]:
    """Return the rows with columns of one width: the first to the left, the others to the right."""
    widths = [max(len(row[number]) for row in rows) for number in range(len(rows[0]))]
    return [
        "  ".join(
            text.ljust(width) if number == 0 else text.rjust(width)
            for number, (text, width) in enumerate(zip(row, widths, strict=True))
        ).rstrip()
        for row in rows
    ]
