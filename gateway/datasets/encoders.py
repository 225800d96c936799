"""Encodings of rows: JSON, CSV, Arrow stream, Parquet. Pure, one page after the other.

JSON and CSV: decimals are exact text without trailing zeros, times and durations microseconds. Arrow and Parquet:
``decimal128(38, 18)``, times and durations nanoseconds.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Callable
from decimal import Decimal
from typing import Any, Final, Protocol

import orjson
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from gateway.datasets.dataset import Dataset

_CSV_ROWS: Final = 2_000
"""Rows that are Python objects at a time: they take ten times the memory of their columns."""


def decimal_text(value: Decimal) -> str:
    """Return a decimal as the stream writes it: plain, without trailing zeros."""
    text = f"{value:f}"
    return text.rstrip("0").rstrip(".") if "." in text else text


def values(dataset: Dataset, rows: pa.Table) -> list[list[Any]]:
    """Return the columns' values for JSON."""
    found: list[list[Any]] = []
    for column in dataset.columns:
        data = rows.column(column.name)
        if pa.types.is_timestamp(column.kind) or pa.types.is_duration(column.kind):
            data = data.cast(pa.int64())
            found.append(_each(data, lambda value: value // 1000))
        elif pa.types.is_decimal(column.kind):
            found.append(_decimal_texts(data))
        elif pa.types.is_map(column.kind):
            found.append(_each(data, dict))
        elif column.as_text:
            found.append(_each(data, str))
        else:
            found.append(data.to_pylist())
    return found


def _decimal_texts(data: Any) -> list[str | None]:
    """Return the texts of decimals; Arrow makes them ten times as fast as Python."""
    texts: list[str | None] = pc.utf8_rtrim(pc.utf8_rtrim(data.cast(pa.string()), "0"), ".").to_pylist()
    if any(text is not None and ("E" in text or not text) for text in texts):
        return _each(data, decimal_text)  # very small ones have an exponent
    return texts


def _each(data: Any, convert: Callable[[Any], Any]) -> list[Any]:
    return [None if value is None else convert(value) for value in data.to_pylist()]


def rows_of(dataset: Dataset, rows: pa.Table) -> list[dict[str, Any]]:
    """Return the rows for JSON."""
    names = [column.name for column in dataset.columns]
    return [dict(zip(names, row, strict=True)) for row in zip(*values(dataset, rows), strict=True)]


class Encoder(Protocol):
    """Encodes a result page by page: the parts, one after the other, are the body."""

    def part(self, rows: pa.Table) -> bytes:
        """Return the encoding of further rows."""

    def end(self) -> bytes:
        """Return what comes after the last row."""


class CsvEncoder:
    """CSV (RFC 4180) with a header; null is an empty field, a map is JSON."""

    def __init__(self, dataset: Dataset) -> None:
        self._dataset = dataset
        self._begun = False
        # The writer itself makes an empty field of None.
        self._converted = [
            number
            for number, column in enumerate(dataset.columns)
            if pa.types.is_boolean(column.kind) or pa.types.is_map(column.kind)
        ]

    def part(self, rows: pa.Table) -> bytes:
        text = io.StringIO()
        writer = csv.writer(text)
        if not self._begun:
            writer.writerow([column.name for column in self._dataset.columns])
            self._begun = True
        for start in range(0, rows.num_rows, _CSV_ROWS):
            columns = values(self._dataset, rows.slice(start, _CSV_ROWS))
            for number in self._converted:
                columns[number] = list(map(_csv_value, columns[number]))
            writer.writerows(zip(*columns, strict=True))
        return text.getvalue().encode()

    def end(self) -> bytes:
        return b""


def _csv_value(value: Any) -> Any:
    if isinstance(value, dict):
        return orjson.dumps(value).decode()
    return None if value is None else str(value).lower()


class _Collected(io.RawIOBase):
    """A file whose bytes are taken out as they are written."""

    def __init__(self) -> None:
        self._parts: list[bytes] = []
        self._position = 0

    def writable(self) -> bool:
        return True

    def tell(self) -> int:
        return self._position

    def write(self, data: Any) -> int:
        part = bytes(data)
        self._parts.append(part)
        self._position += len(part)
        return len(part)

    def taken(self) -> bytes:
        parts, self._parts = self._parts, []
        return b"".join(parts)


class ArrowEncoder:
    """Arrow IPC stream: a record batch per page."""

    def __init__(self, dataset: Dataset) -> None:
        self._file = _Collected()
        self._writer = pa.ipc.new_stream(self._file, dataset.schema)

    def part(self, rows: pa.Table) -> bytes:
        self._writer.write_table(rows)
        return self._file.taken()

    def end(self) -> bytes:
        self._writer.close()
        return self._file.taken()


class ParquetEncoder:
    """Parquet, zstd: a row group per page."""

    def __init__(self, dataset: Dataset) -> None:
        self._file = _Collected()
        self._writer = pq.ParquetWriter(pa.PythonFile(self._file, mode="w"), dataset.schema, compression="zstd")

    def part(self, rows: pa.Table) -> bytes:
        if rows.num_rows:
            self._writer.write_table(rows)
        return self._file.taken()

    def end(self) -> bytes:
        self._writer.close()
        return self._file.taken()


ENCODERS: Final[dict[str, Callable[[Dataset], Encoder]]] = {
    "text/csv": CsvEncoder,
    "application/vnd.apache.arrow.stream": ArrowEncoder,
    "application/vnd.apache.parquet": ParquetEncoder,
}
"""Media type → encoder, besides JSON."""
