"""Exact decimals and 64-bit integers in every format of the command, through a process as a user starts it."""

from __future__ import annotations

import asyncio
import csv
import io
import json
import re
import subprocess
import sys
from decimal import Decimal
from pathlib import Path
from typing import Any

import duckdb
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from sinks.clickhouse.formats import converted
from tests.unit.sinks.clickhouse.test_query import fill

EXACT = {
    "id": 18_446_744_073_709_551_615,
    "epoch": -9_223_372_036_854_775_808,
    "price": Decimal("61808.370000000000000001"),
    "least": Decimal("-0.000000000000000001"),
    "product": Decimal("123456789012345.000000000000000000000000000000000001"),
}
QUERY = """
SELECT {id:UInt64} AS id, {epoch:Int64} AS epoch,
    toDecimal256({price:String}, 18) AS price, toDecimal256({least:String}, 18) AS least,
    toDecimal256({product:String}, 36) AS product
"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    made = tmp_path_factory.mktemp("formats")
    asyncio.run(fill(made))
    (made / "exact.sql").write_text(QUERY, encoding="utf-8")
    return made


def asked(folder: Path, output_format: str) -> bytes:
    given = [f"--param={name}={value}" for name, value in EXACT.items()]
    ended = subprocess.run(
        [
            *(sys.executable, "-m", "sinks.clickhouse.query", "--data-dir", str(folder), "--format", output_format),
            *("--file", str(folder / "exact.sql"), *given),
        ],
        capture_output=True,
        check=False,
        timeout=120,
        stdin=subprocess.DEVNULL,
    )
    assert (ended.returncode, ended.stderr) == (0, b"")
    return ended.stdout


def row_of(output_format: str, answer: bytes) -> dict[str, Any]:
    match output_format:
        case "json":
            row: dict[str, Any] = json.loads(answer)
            assert all(isinstance(value, str) for value in row.values()), "no number that a reader would round"
        case "csv":
            (row,) = csv.DictReader(io.StringIO(answer.decode()))
        case "table":
            names, values = answer.decode().splitlines()[:2]
            # Behind the last column ClickHouse may say in words how large a number is.
            cells = [cell.strip() for cell in values.split("│")[1:-1]]
            row = dict(zip(re.findall(r"\w+", names), cells, strict=True))
        case "parquet":
            (row,) = pq.read_table(io.BytesIO(answer)).to_pylist()
        case _:
            (row,) = pa.ipc.open_file(answer).read_all().to_pylist()
    return row


@pytest.mark.xdist_group("sql_formats")
@pytest.mark.parametrize("output_format", ["table", "csv", "json", "parquet", "arrow"])
def test_nothing_is_rounded(folder: Path, output_format: str, tmp_path: Path) -> None:
    answer = asked(folder, output_format)
    row = row_of(output_format, answer)
    assert {name: (int if name in ("id", "epoch") else Decimal)(value) for name, value in row.items()} == EXACT
    if output_format == "parquet":
        (tmp_path / "x.parquet").write_bytes(answer)
        (found,) = (
            duckdb.connect().execute(f"SELECT id, epoch, price, least FROM '{tmp_path / 'x.parquet'}'").fetchall()
        )
        assert found == tuple(EXACT[name] for name in ("id", "epoch", "price", "least"))


def stream(values: list[str | None], scale: int) -> bytes:
    column = pa.array([None if one is None else Decimal(one) for one in values], pa.decimal256(76, scale))
    sink = io.BytesIO()
    with pa.ipc.new_stream(sink, pa.schema([("x", column.type)])) as writer:
        writer.write_table(pa.table({"x": column}))
    return sink.getvalue()


@pytest.mark.parametrize(
    ("values", "scale", "kind"),
    [
        ([], 18, "decimal128(38, 18)"),
        ([None, "-1.5"], 18, "decimal128(38, 18)"),
        (["-12345678901234567890.123456789012345678"], 18, "decimal128(38, 18)"),
        (["1234567890123456789012345"], 18, "decimal128(38, 13)"),
        (["0.000000000000000000000000000000000001"], 36, "decimal128(38, 36)"),
        (["-0.000000000000000001", "7"], 18, "decimal128(38, 18)"),
        (["123.000000000000000000000000000000000001"], 36, "decimal256(76, 36)"),
        (["1" * 39], 0, "decimal256(76, 0)"),
        (["7"], 0, "decimal128(38, 18)"),
    ],
)
def test_a_decimal_has_as_many_digits_as_readers_know_if_it_fits(
    values: list[str | None], scale: int, kind: str
) -> None:
    for name in ("parquet", "arrow"):
        made = converted(stream(values, scale), name)
        table = pq.read_table(io.BytesIO(made)) if name == "parquet" else pa.ipc.open_file(made).read_all()
        assert str(table.schema.field("x").type) == kind
        assert table["x"].to_pylist() == [None if one is None else Decimal(one) for one in values]


def test_what_is_no_arrow_is_told() -> None:
    with pytest.raises(ValueError, match="the query names another format itself"):
        converted(b"1\n", "parquet")
