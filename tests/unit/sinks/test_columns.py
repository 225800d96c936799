from __future__ import annotations

import dataclasses
from dataclasses import replace
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from schemas.records import TOPIC_OF, Record
from sinks.columns import CATEGORY, TIME, batch, columns, record_time, schema
from tests.fixtures.records import l2, one_of_each, trade

INT64 = st.integers(-(2**63), 2**63 - 1)


def plain(value: Any) -> Any:
    """Undo what Arrow makes of times and maps."""
    if isinstance(value, list) and value and isinstance(value[0], tuple):
        return dict(value)
    return value


HEARTBEAT = replace(l2(1), kind="HEARTBEAT", bid_prices=[], bid_sizes=[], ask_prices=[], ask_sizes=[])


@pytest.mark.parametrize("record", [*one_of_each(), HEARTBEAT], ids=lambda record: type(record).__name__)
def test_every_field_comes_back_as_it_was(record: Record) -> None:
    kind = type(record)
    rows = batch(kind, [record, record], 7, [41, 42])
    rows.validate(full=True)
    assert rows.schema == schema(kind)
    for field in dataclasses.fields(record):
        column = rows.column(field.name)
        values = (column.cast(pa.int64()) if column.type == TIME else column).to_pylist()
        assert [plain(value) for value in values] == [getattr(record, field.name)] * 2, field.name
    assert rows.column("_partition").to_pylist() == [7, 7]
    assert rows.column("_offset").to_pylist() == [41, 42]


@pytest.mark.parametrize("kind", TOPIC_OF, ids=lambda kind: kind.__name__)
def test_columns_are_the_fields_in_their_order(kind: type[Record]) -> None:
    assert [column.name for column in columns(kind)] == [field.name for field in dataclasses.fields(kind)]
    assert record_time(kind) in {column.name for column in columns(kind) if column.type == TIME}


def test_times_are_times_and_mantissas_are_integers() -> None:
    types = {column.name: column.type for column in columns(type(l2(1)))}
    assert types["received_time"] == types["exchange_time"] == TIME
    assert types["epoch"] == types["sequence"] == pa.int64()
    assert types["bid_prices"] == pa.list_(pa.int64())
    assert types["price_exponent"] == pa.int32()
    assert types["venue"] == types["kind"] == CATEGORY


def test_no_records_make_an_empty_batch_of_the_same_schema() -> None:
    rows = batch(type(trade(1)), [], 0, [])
    assert rows.num_rows == 0
    assert rows.schema == schema(type(trade(1)))


@given(price=INT64, size=INT64, time=INT64, levels=st.lists(INT64, max_size=5))
def test_the_whole_range_of_int64_is_exact(price: int, size: int, time: int, levels: list[int]) -> None:
    record = dataclasses.replace(trade(1), price=price, size=size, received_time=time)
    rows = batch(type(record), [record], 0, [0])
    assert rows.column("price").to_pylist() == [price]
    assert rows.column("size").to_pylist() == [size]
    assert rows.column("received_time").cast(pa.int64()).to_pylist() == [time]
    update = dataclasses.replace(l2(1), bid_prices=levels, bid_sizes=levels)
    assert batch(type(update), [update], 0, [0]).column("bid_prices").to_pylist() == [levels]
