"""Records to Arrow columns, derived from the Avro schemas, independent of record classes.

All values are exact: mantissas stay int64 beside their exponents, times are nanosecond timestamps in UTC (the same 64
bits), arrays are lists of int64. The columns ``_partition`` and ``_offset`` give the origin of a row.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache
from itertools import accumulate, chain
from operator import attrgetter
from typing import Any, Final

import pyarrow as pa

from schemas.definitions import definitions
from schemas.records import Record

PARTITION: Final = "_partition"
OFFSET: Final = "_offset"

TIME: Final = pa.timestamp("ns", tz="UTC")
CATEGORY: Final = pa.dictionary(pa.int32(), pa.string())
_LONGS: Final = pa.list_(pa.int64())
_TEXTS: Final = pa.map_(pa.string(), pa.string())

_CATEGORIES: Final = frozenset(
    {"venue", "symbol", "buy_venue", "sell_venue", "service", "kind", "source", "error", "close_reason"}
)
"""Strings with few distinct values, besides the enums."""
_TIMES: Final = frozenset({"time", "window_start", "window_end"})
"""Times whose name does not end in ``_time``. (``epoch`` is an id that happens to be a time.)"""

_PLAIN: Final[dict[str, pa.DataType]] = {
    "string": pa.string(),
    "bytes": pa.binary(),
    "boolean": pa.bool_(),
    "double": pa.float64(),
    "int": pa.int32(),
    "long": pa.int64(),
}


@dataclass(frozen=True, slots=True)
class Column:
    """A field of a record as a column; ``nullable`` where the schema has a union with null."""

    name: str
    type: pa.DataType
    nullable: bool


def columns(kind: type[Record]) -> tuple[Column, ...]:
    """Return the columns of a record class, in the order of its fields."""
    return _layout(kind.__name__).columns


def schema(kind: type[Record]) -> pa.Schema:
    """Return the Arrow schema of a record class: its columns, then ``_partition`` and ``_offset``."""
    return _layout(kind.__name__).schema


def record_time(kind: type[Record]) -> str:
    """Return the time column of a record class: files are sorted into hours by it."""
    names = {column.name for column in columns(kind)}
    return next(name for name in ("received_time", "updated_time", "window_start", "time") if name in names)


@dataclass(frozen=True, slots=True)
class _Layout:
    columns: tuple[Column, ...]
    schema: pa.Schema
    builders: tuple[tuple[Callable[[Record], Any], Callable[[list[Any]], Any]], ...]


@cache
def _layout(name: str) -> _Layout:
    fields = next(found for found in definitions() if found.record.__name__ == name).parsed["fields"]
    made = tuple(_column(field["name"], field["type"]) for field in fields)
    arrow = [pa.field(column.name, column.type, column.nullable) for column in made]
    arrow += [pa.field(PARTITION, pa.int32(), nullable=False), pa.field(OFFSET, pa.int64(), nullable=False)]
    builders = tuple((attrgetter(column.name), _builder(column.type)) for column in made)
    return _Layout(made, pa.schema(arrow), builders)


def _column(name: str, avro: Any) -> Column:
    nullable = isinstance(avro, list)
    if nullable:
        (avro,) = (branch for branch in avro if branch != "null")
    return Column(name, _type(name, avro), nullable)


def _type(name: str, avro: Any) -> pa.DataType:
    if isinstance(avro, dict):
        match avro:
            case {"type": "enum"}:
                return CATEGORY
            case {"type": "array", "items": "long"}:
                return _LONGS
            case {"type": "map", "values": "string"}:
                return _TEXTS
        raise TypeError(f"field {name}: no column for Avro type {avro}")
    if avro == "long" and (name in _TIMES or name.endswith("_time")):
        return TIME
    if avro == "string" and name in _CATEGORIES:
        return CATEGORY
    return _PLAIN[avro]


def batch(
    kind: type[Record], records: Sequence[Record], partition: int | Sequence[int], offsets: Sequence[int]
) -> pa.RecordBatch:
    """Return ``records``, all of class ``kind``, as one Arrow batch in their order.

    Args:
        partition: one for all records, or one for each.
        offsets: one for each record.
    """
    arrays = [build(list(map(get, records))) for get, build in _layout(kind.__name__).builders]
    if isinstance(partition, int):
        arrays.append(pa.repeat(pa.scalar(partition, pa.int32()), len(records)))
    else:
        arrays.append(pa.array(partition, pa.int32()))
    arrays.append(pa.array(offsets, pa.int64()))
    return pa.RecordBatch.from_arrays(arrays, schema=schema(kind))


def _builder(wanted: pa.DataType) -> Callable[[list[Any]], Any]:
    if wanted == TIME:
        # A cast from int64 is free; pa.array() would read the calendar fields of each item.
        return lambda values: pa.array(values, pa.int64()).cast(TIME)
    if wanted == CATEGORY:
        return lambda values: pa.array(values, pa.string()).dictionary_encode()
    if wanted == _LONGS:
        return _lists
    if wanted == _TEXTS:
        return lambda values: pa.array([list(value.items()) for value in values], _TEXTS)
    return lambda values: pa.array(values, wanted)


def _lists(values: list[list[int]]) -> pa.Array[Any]:
    # One flat array and its offsets: pa.array() takes twice as long for nested lists.
    ends = pa.array(list(accumulate(map(len, values), initial=0)), pa.int32())
    return pa.ListArray.from_arrays(ends, pa.array(list(chain.from_iterable(values)), pa.int64()))
