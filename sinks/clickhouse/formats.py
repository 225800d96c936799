"""Output formats of ``alphapulse sql``.

ClickHouse writes its decimals of 76 digits to Parquet and Arrow as they are; DuckDB reads those as floating-point
numbers, and other readers refuse them. So the short names ``parquet`` and ``arrow`` write a column of them with 38
digits, which every reader has, where all its values fit exactly.
"""

from __future__ import annotations

import io
from typing import Any, Final

import pyarrow as pa
import pyarrow.parquet as pq

FORMATS: Final = {
    "table": "PrettyCompactMonoBlock",
    "csv": "CSVWithNames",
    "json": "JSONEachRow",
    "parquet": "ArrowStream",
    "arrow": "ArrowStream",
}
"""Short names of output formats; any other name is ClickHouse's own."""

CONVERTED: Final = ("parquet", "arrow")
"""Short names whose results :func:`converted` makes."""

BINARY: Final = frozenset({"Parquet", "Arrow", "ArrowStream", "Avro", "BSONEachRow", "Native", "ORC", "RowBinary"})

_DIGITS: Final = 38
_SCALE: Final = 18


def converted(stream: bytes, name: str) -> bytes:
    """Return a result in the format ``name`` of :data:`CONVERTED`.

    Args:
        stream: the result as an Arrow stream.

    Raises:
        ValueError: it is none.
    """
    try:
        table = pa.ipc.open_stream(stream).read_all()
    except pa.ArrowInvalid as error:
        raise ValueError("the query names another format itself") from error
    for number, field in enumerate(table.schema):
        if pa.types.is_decimal256(field.type):
            column = _narrowed(table.column(number))
            table = table.set_column(number, pa.field(field.name, column.type, field.nullable), column)
    sink = io.BytesIO()
    if name == "parquet":
        pq.write_table(table, sink, compression="zstd")
    else:
        with pa.ipc.new_file(sink, table.schema) as writer:
            writer.write_table(table)
    return sink.getvalue()


def _narrowed(column: Any) -> Any:
    """Return a column of decimals with 38 digits, 18 of them after the point if that is enough; else unchanged."""
    wholes = decimals = 0
    for value in column.drop_null().to_pylist():
        # Plain digits: a small value's own text is 1E-36. Not abs(), which rounds to 28 digits.
        whole, _, fraction = format(value.copy_abs(), "f").partition(".")
        wholes, decimals = max(wholes, len(whole)), max(decimals, len(fraction.rstrip("0")))
    if wholes + decimals > _DIGITS:
        return column
    return column.cast(pa.decimal128(_DIGITS, max(decimals, min(_SCALE, _DIGITS - wholes))))
