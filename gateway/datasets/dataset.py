"""Description of a result set: its columns, its order, its table and what memory has of it. Pure."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Final, TypeAlias

import pyarrow as pa

from gateway.datasets.selection import Key, Selection

TEXT: Final = pa.string()
DECIMAL: Final = pa.decimal128(38, 18)
"""Holds every 64-bit mantissa with an exponent from -18 to 0 exactly."""
TIME: Final = pa.timestamp("ns", tz="UTC")
DURATION: Final = pa.duration("ns")

Row: TypeAlias = Mapping[str, Any]
"""Column name → value; times and durations are ns as integers."""

_EXACT: Final = (
    "WITH (m, e) -> CAST(toDecimal256(m, 18) * intExp10(greatest(e, 0)) / intExp10(greatest(-e, 0) + "
    "throwIf(abs(e) > 18, 'exponent beyond -18…18: use mantissa and exponent')) AS Decimal(38, 18)) AS exact"
)


@dataclass(frozen=True, slots=True)
class Column:
    """One column.

    Attributes:
        name: as clients see it.
        kind: Arrow type.
        sql: its expression over the table ``t``.
        as_text: an integer that JSON gives as text, because it does not fit a double.
        nullable: whether it may be null.
    """

    name: str
    kind: pa.DataType
    sql: str
    as_text: bool = False
    nullable: bool = False


@dataclass(frozen=True, slots=True)
class Recent:
    """What memory has of a selection.

    Attributes:
        rows: (key, function that makes the row), in any order; all of them within the selection. Where ``size`` is
            given, a thread may iterate over them.
        since: no row with a later time (ns) is missing.
        size: number of rows that are looked through; 0: few.
    """

    rows: Iterable[tuple[Key, Callable[[], Row]]]
    since: int
    size: int = 0


@dataclass(frozen=True, slots=True)
class Dataset:
    """One result set.

    Attributes:
        name: of the list in JSON, and of files.
        columns: in order.
        table: after FROM; known as ``t`` to the expressions.
        order: SQL expressions of the key. The first is the time, a ``DateTime64(9, 'UTC')``.
        key_types: ClickHouse types of the key's other parts.
        conditions: filter → SQL condition with its parameter ``{name:Type}``.
        key_of: rows → their keys.
        always: condition that always holds.
        once: whether the table may have a key more than once (a repeated record).
        identity: index of the first part of the key that stays when a row is revised; 0: all of it stays.
    """

    name: str
    columns: tuple[Column, ...]
    table: str
    order: tuple[str, ...]
    key_types: tuple[str, ...]
    conditions: Mapping[str, str]
    key_of: Callable[[pa.Table], list[Key]]
    recent: Callable[[Selection], Recent]
    always: str = ""
    once: bool = False
    identity: int = 0

    @property
    def schema(self) -> pa.Schema:
        return pa.schema([pa.field(each.name, each.kind, nullable=each.nullable) for each in self.columns])

    def query(self, selection: Selection, limit: int) -> tuple[str, dict[str, str | int]]:
        """Return the query for at most ``limit`` rows of ``selection``, and its parameters."""
        time = self.order[0]
        where: list[str] = [self.always] * bool(self.always)
        bound: dict[str, str | int] = {"limit": limit}
        if selection.begin is not None:
            where.append(f"{time} >= fromUnixTimestamp64Nano({{begin:Int64}}, 'UTC')")
            bound["begin"] = selection.begin
        if selection.end is not None:
            where.append(f"{time} < fromUnixTimestamp64Nano({{end:Int64}}, 'UTC')")
            bound["end"] = selection.end
        for name, value in selection.filters.items():
            where.append(self.conditions[name])
            bound[f"of_{name}"] = value
        if selection.position is not None:
            where += self._beyond(selection, bound)
        direction = "DESC" if selection.descending else "ASC"
        lines = [
            _EXACT,
            "SELECT " + ", ".join(f"{column.sql} AS `{column.name}`" for column in self.columns),
            f"FROM {self.table} AS t",
            "WHERE " + " AND ".join(where) if where else "",
            "ORDER BY " + ", ".join(f"{part} {direction}" for part in self.order),
            "LIMIT 1 BY " + ", ".join(self.order) if self.once else "",
            "LIMIT {limit:UInt32}",
        ]
        return "\n".join(line for line in lines if line), bound

    def _beyond(self, selection: Selection, bound: dict[str, str | int]) -> list[str]:
        """Return the conditions on the rows beyond the position, whose parts are bound."""
        sign = "<" if selection.descending else ">"
        position = selection.position or ()
        parts = ["fromUnixTimestamp64Nano({key_0:Int64}, 'UTC')"]
        parts += [f"{{key_{number}:{kind}}}" for number, kind in enumerate(self.key_types, start=1)]
        bound |= {f"key_{number}": part for number, part in enumerate(position)}
        # The first condition says nothing new, but the table's index can use it.
        return [f"{self.order[0]} {sign}= {parts[0]}", f"({', '.join(self.order)}) {sign} ({', '.join(parts)})"]
