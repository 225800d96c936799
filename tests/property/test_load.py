"""Loaded files against plain Python: decimals, dictionaries, one row at a time (tests/fixtures/vendor_truth.py)."""

from __future__ import annotations

from collections.abc import Iterable
from decimal import Decimal
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from schemas.book_reader import BookReader
from schemas.records import L2Update, Trade
from tests.fixtures.vendor_truth import BookState, random_book, random_trades, tardis_books, tardis_trades
from tests.unit.sinks.load.rows import made, trades

pytestmark = pytest.mark.unmeasured
BLOCKS = st.integers(min_value=150, max_value=5_000)
SEEDS = st.integers(min_value=0, max_value=2**32)
_SIDES = {"buy": "BUY", "sell": "SELL", "unknown": "UNKNOWN"}


def number(mantissa: int, exponent: int) -> Decimal:
    return Decimal(mantissa).scaleb(exponent)


@given(seed=SEEDS, rows=st.integers(0, 60), ids=st.booleans(), block_bytes=BLOCKS)
def test_trades_are_those_of_the_file(seed: int, rows: int, ids: bool, block_bytes: int) -> None:
    with TemporaryDirectory() as folder:
        path = Path(folder) / "trades.csv"
        path.write_text(random_trades(seed, rows, ids=ids), encoding="utf-8")
        expected = tardis_trades(path)
        found = trades(path, block_bytes=block_bytes)
    assert [
        (
            trade.side,
            number(trade.price, trade.price_exponent),
            number(trade.size, trade.size_exponent),
            trade.exchange_time,
            trade.received_time,
        )
        for trade in found
    ] == [(_SIDES[side], price, size, stamp, local) for _, side, price, size, stamp, local in expected]
    names = [trade.trade_id for trade in found]
    assert len(set(names)) == len(names)
    assert not ids or names == [one[0] for one in expected]


def levels(side: Iterable[tuple[int, int]], update: L2Update) -> dict[Decimal, Decimal]:
    return {number(price, update.price_exponent): number(size, update.size_exponent) for price, size in side}


@settings(max_examples=40)
@given(
    seed=SEEDS,
    messages=st.integers(0, 60),
    symbols=st.sampled_from([("BTC-USD",), ("BTC-USD", "ETH-USD", "SOL-USD")]),
    block_bytes=BLOCKS,
)
def test_books_are_those_of_the_file(seed: int, messages: int, symbols: tuple[str, ...], block_bytes: int) -> None:
    with TemporaryDirectory() as folder:
        path = Path(folder) / "book.csv"
        path.write_text(random_book(seed, messages, symbols), encoding="utf-8")
        expected = tardis_books(path)
        records, _, counts, _ = made(path, block_bytes=block_bytes)
    readers = {symbol: BookReader() for symbol in symbols}
    found: dict[str, list[BookState]] = {}
    for record in records:
        assert isinstance(record, L2Update)
        reader = readers[record.symbol]
        outcome = reader.apply(record).value
        assert outcome in ("snapshot", "delta", "invalidated")
        if outcome != "invalidated":
            bids, asks = levels(reader.book.bids, record), levels(reader.book.asks, record)
            found.setdefault(record.symbol, []).append(BookState(record.received_time, bids, asks))
    assert found == expected
    assert not any(reader.valid for reader in readers.values())
    assert all(left.reason == "no snapshot before them" for left in counts.homeless)


def test_records_are_of_the_classes_that_their_topics_have() -> None:
    with TemporaryDirectory() as folder:
        path = Path(folder) / "trades.csv"
        path.write_text(random_trades(1, 5), encoding="utf-8")
        records, *_ = made(path)
    assert all(type(record) is Trade for record in records)
