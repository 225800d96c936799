from __future__ import annotations

import csv
import io
from decimal import Decimal
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
from hypothesis import given
from hypothesis import strategies as st

from alphapulse.fixed import decimal_text as text_of_mantissa
from gateway.datasets.columns import exact
from gateway.datasets.encoders import ArrowEncoder, CsvEncoder, ParquetEncoder, decimal_text, rows_of
from gateway.datasets.events import events
from gateway.datasets.selection import Selection
from gateway.datasets.statistics import statistics
from gateway.datasets.trades import trades
from gateway.state import MarketState
from tests.fixtures import market
from tests.fixtures.market import START

STATE = MarketState(max_book_age=1)
TRADES, EVENTS, STATISTICS = (make(STATE, lambda: 0) for make in (trades, events, statistics))
MANTISSAS = st.integers(-(2**63), 2**63 - 1)


def table(*rows: dict[str, Any]) -> pa.Table:
    return pa.Table.from_pylist(list(rows), schema=TRADES.schema)


def row(price: Decimal, identity: str = "1") -> dict[str, Any]:
    return {
        "venue": "kraken",
        "symbol": "BTC-USD",
        "id": identity,
        "side": "buy",
        "price": price,
        "size": Decimal(1),
        "time": START + 1999,
        "received_time": START + 2001,
    }


@given(MANTISSAS, st.integers(-18, 0))
def test_decimals_survive_every_format(mantissa: int, exponent: int) -> None:
    price = exact(mantissa, exponent)
    rows = table(row(price))
    expected = text_of_mantissa(mantissa, exponent)
    assert rows_of(TRADES, rows)[0]["price"] == expected
    (line,) = csv.DictReader(io.StringIO(CsvEncoder(TRADES).part(rows).decode()))
    assert line["price"] == expected
    arrow, parquet = ArrowEncoder(TRADES), ParquetEncoder(TRADES)
    read = pa.ipc.open_stream(arrow.part(rows) + arrow.end()).read_all()
    assert read.column("price").to_pylist() == [price]
    assert pq.read_table(io.BytesIO(parquet.part(rows) + parquet.end())).equals(read)


@given(MANTISSAS, st.integers(-30, 30))
def test_decimal_text_is_the_streams(mantissa: int, exponent: int) -> None:
    assert decimal_text(exact(mantissa, exponent)) == text_of_mantissa(mantissa, exponent)


@given(st.text(), st.text())
def test_text_survives_csv(first: str, second: str) -> None:
    encoder = CsvEncoder(TRADES)
    rows = [row(Decimal(1), first), row(Decimal(2), second)]
    body = encoder.part(table(rows[0])) + encoder.part(table(rows[1])) + encoder.end()
    lines = list(csv.DictReader(io.StringIO(body.decode(), newline="")))
    assert [line["id"] for line in lines] == [first, second]


def test_times_are_microseconds_and_ids_text() -> None:
    (found,) = rows_of(TRADES, table(row(Decimal("1.50"))))
    assert (found["time"], found["received_time"], found["price"]) == (START // 1000 + 1, START // 1000 + 2, "1.5")
    window = market.statistics(best_bid=None, latency_max=0, latency_mean=-1500)
    STATE.apply(window, START)
    ((_, make),) = STATISTICS.recent(Selection()).rows
    (found,) = rows_of(STATISTICS, pa.Table.from_pylist([make()], schema=STATISTICS.schema))
    assert (found["epoch"], found["best_bid"], found["latency_max"], found["latency_mean"]) == (
        str(START),
        None,
        None,
        -2,
    )


def test_a_map_is_json_in_csv() -> None:
    event = market.event(details={"a": "1,2", "b": '"'}).__dict__
    rows = pa.Table.from_pylist([event | {"details": list(event["details"].items())}], schema=EVENTS.schema)
    assert rows_of(EVENTS, rows)[0]["details"] == {"a": "1,2", "b": '"'}
    (line,) = csv.DictReader(io.StringIO(CsvEncoder(EVENTS).part(rows).decode()))
    assert line["details"] == r'{"a":"1,2","b":"\""}'
    assert line["symbol"] == ""


def test_an_empty_result_has_its_columns() -> None:
    empty = table()
    assert CsvEncoder(TRADES).part(empty).decode().startswith("venue,symbol,id,")
    for encoder in (ArrowEncoder(TRADES), ParquetEncoder(TRADES)):
        body = encoder.part(empty) + encoder.end()
        read = (
            pa.ipc.open_stream(body).read_all()
            if isinstance(encoder, ArrowEncoder)
            else pq.read_table(io.BytesIO(body))
        )
        assert read.schema.names == TRADES.schema.names
        assert read.num_rows == 0
