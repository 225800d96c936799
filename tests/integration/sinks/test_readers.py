"""Files of the sink and of compaction open in pandas, Polars and DuckDB, exactly, and are skipped where they can be."""

from __future__ import annotations

import ast
from collections.abc import Sequence
from decimal import Decimal
from pathlib import Path
from typing import Any

import duckdb
import pandas as pd
import polars as pl
import pyarrow.dataset as ds
import pyarrow.parquet as pq
import pytest
from aiokafka import TopicPartition

from sinks.parquet import local, merging
from sinks.parquet.compaction import compact
from tests.documents import ROOT
from tests.documents.blocks import blocks
from tests.fixtures.parquet_files import HOUR, KEY, L2_KEY, SYMBOLS, filled, found
from tests.fixtures.records import START

COLUMNS = ["_offset", "symbol", "bid_prices", "bid_sizes", "price_exponent"]


@pytest.fixture
async def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Trades and L2 records of two hours and one, compacted but for the newest file, a row group per instrument."""
    monkeypatch.setattr(local, "LISTING_SECONDS", 0.0)
    monkeypatch.setattr(merging, "ROW_GROUP_ROWS", 10)
    store = await filled(tmp_path, (30, 30, 30), keys=(KEY, L2_KEY), hours=2)
    for topic in (KEY.topic, L2_KEY.topic):
        compact(store, topic, before=START // HOUR + 100)
    store.settle(0.0)
    return tmp_path


def ask(query: str) -> list[tuple[Any, ...]]:
    with duckdb.connect() as connection:
        return connection.execute(query).fetchall()


def plain(rows: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return rows in the order of their offsets, lists as lists of int."""
    made = [{key: list(map(int, v)) if key.endswith("s") else v for key, v in row.items()} for row in rows]
    return sorted(made, key=lambda row: int(row["_offset"]))


def test_nested_levels_open_without_help(root: Path) -> None:
    place = root / L2_KEY.topic
    wanted = plain(ds.dataset(place, format="parquet").to_table(columns=COLUMNS).to_pylist())
    assert len(wanted) == 90
    assert all(row["bid_prices"] for row in wanted)
    pandas = pd.read_parquet(place, columns=COLUMNS)
    assert plain(pandas.to_dict("records")) == wanted
    polars = pl.read_parquet(f"{place}/**/*.parquet", columns=COLUMNS)
    assert polars.schema["bid_prices"] == pl.List(pl.Int64)
    assert plain(polars.to_dicts()) == wanted
    names = ", ".join(COLUMNS)
    rows = ask(f"SELECT {names} FROM '{place}/**/*.parquet'")
    assert plain([dict(zip(COLUMNS, row, strict=True)) for row in rows]) == wanted


@pytest.mark.parametrize("page", ["parquet", "tables"])
def test_programs_of_the_documents(
    root: Path, tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch, page: str
) -> None:
    """As they stand, in a folder that has the files where the demo puts them; every statement's answer is read."""
    found = blocks(ROOT / "docs" / f"{page}.md")
    programs = [one for one in found if one.marker and "tests/integration/sinks/test_readers.py" in one.marker.tests]
    assert programs
    folder = tmp_path_factory.mktemp(page)
    (folder / "data" / "demo").mkdir(parents=True)
    (folder / "data" / "demo" / "parquet").symlink_to(root)
    monkeypatch.chdir(folder)
    for program in programs:
        names: dict[str, Any] = {}
        for statement in ast.parse(program.text, program.place).body:
            if isinstance(statement, ast.Expr):
                answer = eval(compile(ast.Expression(statement.value), program.place, "eval"), names)  # noqa: S307
                # DuckDB asks when it is read.
                assert answer.columns if isinstance(answer, duckdb.DuckDBPyRelation) else len(answer)
                _ = answer.fetchall() if isinstance(answer, duckdb.DuckDBPyRelation) else None
            else:
                exec(compile(ast.Module([statement], []), program.place, "exec"), names)  # noqa: S102


def test_prices_become_exact_decimals_in_one_expression(root: Path) -> None:
    place = f"{root}/{KEY.topic}/**/*.parquet"
    rows = ds.dataset(root / KEY.topic, format="parquet").to_table(columns=["price", "price_exponent", "_offset"])
    wanted = {row["_offset"]: Decimal(row["price"]).scaleb(row["price_exponent"]) for row in rows.to_pylist()}
    in_duckdb = ask(f"SELECT _offset, (price || 'e' || price_exponent)::DECIMAL(38, 18) FROM '{place}'")
    assert dict(in_duckdb) == wanted
    price = pl.col("price").cast(pl.Decimal(38, 18)) * pl.lit("0.01").str.to_decimal(scale=2)
    in_polars = pl.read_parquet(place).filter(pl.col("price_exponent") == -2).select("_offset", price=price)
    assert dict(in_polars.iter_rows()) == wanted


def test_times_are_nanoseconds_in_utc(root: Path) -> None:
    place = f"{root}/{KEY.topic}/**/*.parquet"
    first = (
        ds.dataset(root / KEY.topic, format="parquet").to_table(columns=["received_time", "_offset"]).sort_by("_offset")
    )
    wanted = first.column("received_time")[0].value
    assert pd.read_parquet(root / KEY.topic).sort_values("_offset").iloc[0]["received_time"].value == wanted
    assert pl.read_parquet(place).sort("_offset")["received_time"].dt.timestamp("ns")[0] == wanted
    (row,) = ask(f"SELECT epoch_ns(received_time) FROM '{place}' ORDER BY _offset LIMIT 1")
    # DuckDB's TIMESTAMP WITH TIME ZONE has microseconds.
    assert row[0] // 1000 == wanted // 1000


def test_duckdb_skips_hours_and_row_groups(root: Path) -> None:
    place = f"{root}/{KEY.topic}/**/*.parquet"
    ((_, plan),) = ask(f"EXPLAIN SELECT sum(price) FROM '{place}' WHERE hour = '07'")
    assert "2/4" in plan
    whole = found(root / KEY.topic, "compacted*")
    groups = ask(
        f"SELECT stats_min_value, stats_max_value FROM parquet_metadata('{whole}') WHERE path_in_schema = 'symbol'"
    )
    assert groups == [(symbol, symbol) for symbol in SYMBOLS]
    (row,) = ask(f"SELECT count(*), count(DISTINCT symbol) FROM '{place}' WHERE symbol = '{SYMBOLS[1]}'")
    assert row == (30, 1)


@pytest.mark.parametrize("key", [KEY, L2_KEY], ids=["trades", "l2"])
def test_duckdb_reads_only_the_row_groups_of_an_instrument(root: Path, key: TopicPartition) -> None:
    """The data of the others are overwritten: whatever reads them fails."""
    whole = found(root / key.topic, "compacted*")
    column = "price" if key == KEY else "list_sum(bid_sizes)"
    query = f"SELECT count(*), sum({column}) FROM '{whole}'"
    one = f"{query} WHERE symbol = '{SYMBOLS[1]}'"
    wanted = ask(one)
    assert wanted[0][0] > 0
    content = bytearray(whole.read_bytes())
    metadata = pq.ParquetFile(whole).metadata
    columns = {metadata.schema.column(number).path: number for number in range(metadata.num_columns)}
    for number in range(metadata.num_row_groups):
        group = metadata.row_group(number)
        statistics = group.column(columns["symbol"]).statistics
        assert statistics is not None
        if statistics.min != SYMBOLS[1]:
            for at in range(group.num_columns):
                chunk = group.column(at)
                start = chunk.dictionary_page_offset or chunk.data_page_offset
                content[start : start + chunk.total_compressed_size] = b"\xff" * chunk.total_compressed_size
    whole.write_bytes(content)
    assert ask(one) == wanted
    with pytest.raises(duckdb.Error):
        ask(query)
