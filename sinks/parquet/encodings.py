"""Column encodings, chosen by measurement on the recordings (``tests/benchmarks/bench_sinks.py``)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

import pyarrow as pa
import pyarrow.parquet as pq

from schemas.records import Record
from sinks.columns import CATEGORY, OFFSET, TIME, schema

COMPRESSION: Final = "zstd"
LEVEL: Final = 3
COMPACTED_LEVEL: Final = 12
"""Of compacted files, which are written once, by no sink, and read for long."""


_COUNTERS: Final = frozenset({"sequence", "exchange_sequence", OFFSET})


def sorted_by(schema: pa.Schema, names: Sequence[str]) -> tuple[Any, ...]:
    """Return the writer's ``sorting_columns``: the columns by which the rows of each row group are sorted."""
    return tuple(pq.SortingColumn.from_ordering(schema, [(name, "ascending") for name in names]))


def options(kind: type[Record], written: pa.Schema | None = None) -> dict[str, Any]:
    """Return the arguments of :class:`pyarrow.parquet.ParquetWriter` for a record class, in the order of offsets.

    Args:
        written: columns of the file; None: those of :func:`sinks.columns.schema`.

    Bytes per row on the recordings, each with zstd: a trade's price plain 1.5 (deltas 1.7, dictionary 1.9, byte stream
    split 2.1), its size plain 2.1 (deltas 3.1), its id as byte array deltas 0.2 (plain 0.8), received_time as deltas
    2.5 (plain 2.7), the offset as deltas 0.03 (plain 1.9); the prices in L2 records plain 1.4 a level (deltas 2.2).
    Level 9 would save another 3 to 6 % for twice the time.
    """
    dictionary: list[str] = []
    encodings: dict[str, str] = {}
    whole = schema(kind)
    made = whole if written is None else written
    for field in whole:
        if field.name not in made.names:
            continue
        if field.type == CATEGORY or field.name == "epoch":
            dictionary.append(field.name)
        elif field.type == TIME or field.name in _COUNTERS:
            encodings[field.name] = "DELTA_BINARY_PACKED"
        elif field.type == pa.string() and field.name.endswith("_id"):
            encodings[field.name] = "DELTA_BYTE_ARRAY"
    return {
        "compression": COMPRESSION,
        "compression_level": LEVEL,
        "use_dictionary": dictionary,
        "column_encoding": encodings,
        "version": "2.6",
        "data_page_version": "2.0",
        "write_statistics": True,
        "write_page_index": True,
        "write_page_checksum": True,
        "sorting_columns": sorted_by(made, [OFFSET]),
        "store_schema": False,
    }


def compacted(kind: type[Record], written: pa.Schema) -> dict[str, Any]:
    """Return the same for a compacted file, before what it is sorted by is known."""
    return options(kind, written) | {"compression_level": COMPACTED_LEVEL}
