"""Decimals beside mantissas: exact or null, in every reader, and beside files that do not have them."""

from __future__ import annotations

from decimal import Decimal
from pathlib import Path
from typing import Any

import duckdb
import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pyarrow.dataset as ds
import pytest
from hypothesis import given
from hypothesis import strategies as st

from schemas.records import Record
from sinks.columns import batch
from sinks.parquet.compaction import compact
from sinks.parquet.decimals import DECIMAL, exact, fields, mantissas, with_decimals
from sinks.parquet.verification import verify
from tests.fixtures.parquet_files import HOUR, KEY, L2_KEY, filled
from tests.fixtures.records import START, one_of_each

ON: dict[str, Any] = {"decimals": True}
_COUNTS = {
    *("epoch", "sequence", "exchange_sequence", "checksum", "interval", "trades", "revision", "snapshots", "deltas"),
    *("level_changes", "levels_added", "levels_updated", "levels_removed", "bid_levels", "ask_levels"),
    *("latency_max", "latency_mean", "partition", "offset"),
}


@given(
    st.lists(st.tuples(st.none() | st.integers(-(2**63), 2**63 - 1), st.integers(-18, 0)), max_size=12),
    st.integers(0, 5),
)
def test_usual_values_are_exact(rows: list[tuple[int | None, int]], cut: int) -> None:
    values = pa.array([value for value, _ in rows], pa.int64()).slice(cut)
    exponents = np.array([exponent for _, exponent in rows], np.int32)[cut:]
    wanted = [None if value is None else Decimal(f"{value}e{exponent}") for value, exponent in rows[cut:]]
    assert exact(values, exponents).to_pylist() == wanted


@pytest.mark.parametrize(
    ("mantissa", "exponent", "wanted"),
    [
        (25_000, -21, "0.000000000000000025"),
        (25_001, -21, None),
        (-1, -19, None),
        (-10, -19, "-0.000000000000000001"),
        (0, -100, "0"),
        (0, 100, "0"),
        (7, 3, "7000"),
        (99, 18, "99000000000000000000"),
        (1, 20, None),
    ],
)
def test_others_are_exact_or_null(mantissa: int, exponent: int, wanted: str | None) -> None:
    (found,) = exact(pa.array([mantissa]), np.array([exponent], np.int32)).to_pylist()
    assert found == (None if wanted is None else Decimal(wanted))


@pytest.mark.parametrize("record", one_of_each(), ids=lambda record: type(record).__name__)
def test_every_mantissa_has_a_decimal(record: Record) -> None:
    kind = type(record)
    rows = batch(kind, [record] * 3, 0, [5, 6, 7]).slice(1)
    found = with_decimals(kind, rows)
    assert found.schema.names == [*rows.schema.names, *(field.name for field in fields(kind))]
    assert with_decimals(kind, found) == found
    for name, exponent in mantissas(kind).items():
        value, power = getattr(record, name), getattr(record, exponent)
        some = value if isinstance(value, list) else [value]
        wanted = [None if each is None else Decimal(each).scaleb(power) for each in some]
        assert found.column(f"{name}_decimal").to_pylist() == [wanted if isinstance(value, list) else wanted[0]] * 2
    numbers = {
        field.name
        for field in rows.schema
        if pa.types.is_integer(getattr(field.type, "value_type", field.type)) and not pa.types.is_dictionary(field.type)
    }
    others = {name for name in numbers - mantissas(kind).keys() if not name.startswith("_") and "exponent" not in name}
    assert others <= _COUNTS


async def test_readers_have_decimals_without_help(tmp_path: Path) -> None:
    store = await filled(tmp_path, (30, 30), keys=(KEY, L2_KEY), parquet=ON)
    place, pattern = tmp_path / KEY.topic, f"{tmp_path}/{KEY.topic}/**/*.parquet"
    names = ["_offset", "price_decimal", "size_decimal"]
    raw = (
        ds.dataset(place).to_table(columns=["_offset", "price", "price_exponent", "size", "size_exponent"]).to_pylist()
    )
    wanted = {
        row["_offset"]: (
            Decimal(row["price"]).scaleb(row["price_exponent"]),
            Decimal(row["size"]).scaleb(row["size_exponent"]),
        )
        for row in raw
    }
    assert len(wanted) == 60
    arrow = ds.dataset(place).to_table(columns=names)
    assert arrow.schema.field("price_decimal").type == DECIMAL
    assert {row["_offset"]: (row["price_decimal"], row["size_decimal"]) for row in arrow.to_pylist()} == wanted
    pandas = pd.read_parquet(place, columns=names)
    assert {offset: (price, size) for offset, price, size in pandas[names].itertuples(index=False)} == wanted
    polars = pl.scan_parquet(pattern).select(names).collect()
    assert polars.schema["price_decimal"] == pl.Decimal(38, 18)
    assert {offset: (price, size) for offset, price, size in polars.iter_rows()} == wanted
    with duckdb.connect() as connection:
        found = connection.execute(f"SELECT {', '.join(names)} FROM '{pattern}'").fetchall()
        assert {offset: (price, size) for offset, price, size in found} == wanted
        levels = f"SELECT bid_prices_decimal, bid_prices, price_exponent FROM '{tmp_path}/{L2_KEY.topic}/**/*.parquet'"
        for decimals, whole, exponent in connection.execute(levels).fetchall():
            assert decimals == [Decimal(price).scaleb(exponent) for price in whole]
    for key in (KEY, L2_KEY):
        assert verify(store, key.topic, deep=True).faults == []


async def test_files_with_and_without_are_read_and_compacted_together(tmp_path: Path) -> None:
    await filled(tmp_path, (10, 10), keys=(KEY, L2_KEY))
    store = await filled(tmp_path / "on", (10, 10, 10, 10), keys=(KEY, L2_KEY), parquet=ON)
    for path in (tmp_path / "on").rglob("*.parquet"):
        first = int(path.stem.split("-")[-2])
        place = tmp_path / path.relative_to(tmp_path / "on")
        if first >= 20:
            path.rename(place)
    pattern = f"{tmp_path}/{KEY.topic}/**/*.parquet"
    query = f"SELECT count(*), count(price_decimal) FROM read_parquet('{pattern}', union_by_name = true)"
    with duckdb.connect() as connection:
        assert connection.execute(query).fetchall() == [(40, 20)]
    store = await filled(tmp_path, ())
    for key in (KEY, L2_KEY):
        (outcome,) = compact(store, key.topic, before=START // HOUR + 100)
        assert (outcome.reason, outcome.rows) == ("", 30)
        store.settle(0.0)
        assert verify(store, key.topic, deep=True).faults == []
    with duckdb.connect() as connection:
        assert connection.execute(query).fetchall() == [(40, 40)], "a compaction adds what older files do not have"
        wrong = (
            f"SELECT count(*) FROM '{pattern}' WHERE price_decimal != (price || 'e' || price_exponent)::DECIMAL(38, 18)"
        )
        assert connection.execute(wrong).fetchall() == [(0,)]
