"""How each column is packed, chosen by measurement on the recordings (``tests/benchmarks/bench_sinks.py``)."""

from __future__ import annotations

from typing import Any, Final

import pyarrow as pa

from schemas.records import Record
from sinks.columns import CATEGORY, TIME, schema

COMPRESSION: Final = "zstd"
LEVEL: Final = 3


def options(kind: type[Record]) -> dict[str, Any]:
    """Return the arguments of :class:`pyarrow.parquet.ParquetWriter` for a record class.

    Dictionary: strings of few values and exponents. Deltas: times and counters. The rest is plain.
    """
    dictionary: list[str] = []
    encodings: dict[str, str] = {}
    for field in schema(kind):
        path = f"{field.name}.list.element" if pa.types.is_list(field.type) else field.name
        if field.type == CATEGORY or field.type == pa.int32():
            dictionary.append(path)
        elif field.type in (TIME, pa.int64()):
            encodings[path] = "DELTA_BINARY_PACKED"
    return {
        "compression": COMPRESSION,
        "compression_level": LEVEL,
        "use_dictionary": dictionary,
        "column_encoding": encodings,
        "version": "2.6",
        "data_page_version": "2.0",
        "write_statistics": True,
        "store_schema": False,
    }
