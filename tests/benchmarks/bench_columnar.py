"""Columnar decoding against decoding record by record, for batches of several sizes; and against Polars, if installed.

``python -m tests.benchmarks.bench_columnar``

Where the ratio passes 1 is the crossing point, :data:`sinks.decoder.COLUMNAR_RECORDS`. Polars is no dependency:
``pip install --target FOLDER polars`` and ``PYTHONPATH`` add it. It reads the bodies as the block of an Avro file,
checks no value and stops at the first damage; its figures are without the Arrow types that the sinks need.
"""

from __future__ import annotations

import importlib
import io
from collections.abc import Callable
from typing import Any

import fastavro
import pyarrow as pa

from schemas.codec import Codec
from schemas.columnar import ColumnDecoder
from schemas.definitions import definition
from schemas.records import L2Update, Record, Trade
from sinks.columns import batch, schema
from tests.benchmarks.stopwatch import Work, microseconds
from tests.fixtures.records import l2, trade

SIZES = (16, 32, 48, 64, 96, 128, 256, 1_000, 4_000, 10_000)
CODEC = Codec()
SYNC = bytes(16)


def one_by_one(kind: type[Record], values: list[bytes]) -> pa.RecordBatch:
    decode = CODEC.decode_as
    return batch(kind, [decode(kind, value) for value in values], [0] * len(values), range(len(values)))


def columnar(decoder: ColumnDecoder, kind: type[Record], values: list[bytes]) -> pa.RecordBatch:
    columns = decoder.decode(values)
    if columns is None:
        raise RuntimeError(f"the columnar decoder refuses valid {kind.__name__} records")
    origin: list[pa.Array[Any]] = [pa.array([0] * len(values), pa.int32()), pa.array(range(len(values)), pa.int64())]
    return pa.RecordBatch.from_arrays([*columns, *origin], schema=schema(kind))


def container(kind: type[Record]) -> bytes:
    """Return the header of an Avro file."""
    out = io.BytesIO()
    fastavro.writer(out, definition(kind).parsed, [], sync_marker=SYNC)
    return out.getvalue()


def long(value: int) -> bytes:
    out = io.BytesIO()
    fastavro.schemaless_writer(out, {"type": "long"}, value)
    return out.getvalue()


def with_polars(polars: Any, header: bytes, values: list[bytes]) -> Any:
    body = b"".join([value[5:] for value in values])
    return polars.read_avro(io.BytesIO(b"".join([header, long(len(values)), long(len(body)), body, SYNC])))


def compare(name: str, kind: type[Record], make: Callable[[int], Record], polars: Any) -> None:
    values = [CODEC.encode(make(number)) for number in range(max(SIZES))]
    decoder, header = ColumnDecoder(CODEC, kind, schema(kind)), container(kind)
    print(f"{name}: {sum(map(len, values)) / len(values):.0f} bytes; µs of CPU time a record, × of record by record")
    for size in SIZES:
        some = values[:size]
        contenders: dict[str, Work] = {
            "record by record": lambda some=some: one_by_one(kind, some),  # type: ignore[misc]
            "columnar": lambda some=some: columnar(decoder, kind, some),  # type: ignore[misc]
        }
        if polars is not None:
            contenders["polars"] = lambda some=some: with_polars(polars, header, some)  # type: ignore[misc]
        found = microseconds(contenders, repeats=max(1, 4_000 // size), rounds=5)
        base = found["record by record"]
        figures = "   ".join(f"{other} {time / size:6.2f} (× {base / time:5.2f})" for other, time in found.items())
        print(f"  {size:6,} records   {figures}")


def main() -> None:
    try:
        polars = importlib.import_module("polars")
    except ModuleNotFoundError:
        polars = None
        print("Polars is not installed: without it")
    compare("trades", Trade, trade, polars)
    compare("L2 records of 9 changes", L2Update, lambda number: l2(number + 1, levels=5), polars)
    compare("L2 records of 99 changes", L2Update, lambda number: l2(number + 1, levels=50), polars)


if __name__ == "__main__":
    main()
