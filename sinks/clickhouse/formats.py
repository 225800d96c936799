"""Output formats of ``alphapulse sql``."""

from __future__ import annotations

from typing import Final

FORMATS: Final = {
    "table": "PrettyCompactMonoBlock",
    "csv": "CSVWithNames",
    "json": "JSONEachRow",
    "parquet": "Parquet",
    "arrow": "Arrow",
}
"""Short names of output formats; any other name is ClickHouse's own."""

BINARY: Final = frozenset({"Parquet", "Arrow", "ArrowStream", "Avro", "BSONEachRow", "Native", "ORC", "RowBinary"})
