from __future__ import annotations

from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from alphapulse.errors import ValueRefused
from alphapulse.instruments import Instrument
from producers.feed.counters import InstrumentCounters
from producers.feed.trades import RecentTrades, SeenTrades, TradeStream
from schemas.records import Trade


def make(tally: InstrumentCounters, *, consecutive: bool = True) -> TradeStream:
    return TradeStream(Instrument("coinbase", "BTC-USD", "BTC-USD"), tally, consecutive=consecutive)


def take(trades: TradeStream, ids: Sequence[int], price: str = "1.5", size: str = "2") -> tuple[list[Trade], list[int]]:
    outputs: list[Trade] = []
    missing = [
        trades.trade(outputs, trade_id=n, side="BUY", price=price, size=size, exchange_time=1, received_time=2)
        for n in ids
    ]
    return outputs, missing


def test_a_trade_becomes_a_record() -> None:
    tally = InstrumentCounters()
    (record,), _ = take(make(tally), [7])
    assert record == Trade(
        venue="coinbase",
        symbol="BTC-USD",
        trade_id="7",
        side="BUY",
        price=150000000,
        size=200000000,
        price_exponent=-8,
        size_exponent=-8,
        exchange_time=1,
        received_time=2,
    )
    assert (tally.trades, tally.base_volume) == (1, "2")


def test_repeated_trades_are_counted_and_not_published() -> None:
    tally = InstrumentCounters()
    records, _ = take(make(tally), [7, 8, 7, 8, 9])
    assert [record.trade_id for record in records] == ["7", "8", "9"]
    assert tally.duplicate_trades == 2


def test_a_jump_tells_how_many_are_missing_and_late_ones_are_taken() -> None:
    tally = InstrumentCounters()
    records, missing = take(make(tally), [10, 14, 12, 12, 11, 13, 14, 15, 9, 9])
    assert missing == [0, 3, 0, 0, 0, 0, 0, 0, 0, 0]
    assert [record.trade_id for record in records] == ["10", "14", "12", "11", "13", "15", "9"]
    assert tally.duplicate_trades == 3


@given(st.lists(st.integers(0, 60), max_size=200))
def test_each_id_is_taken_exactly_once(ids: list[int]) -> None:
    seen, known = SeenTrades(), set[int]()
    for trade_id in ids:
        assert (seen.see(trade_id) is None) == (trade_id in known)
        known.add(trade_id)


def test_memory_is_bounded_and_the_forgotten_are_never_doubled() -> None:
    seen, recent = SeenTrades(), RecentTrades()
    for trade_id in range(0, 2_000, 2):
        seen.see(trade_id)
    assert len(seen._missing) <= 256
    assert seen.see(1) is None  # forgotten: taken for a repetition
    assert seen.see(1997) == 0
    for trade_id in range(70_000):
        assert recent.see(trade_id * 3) == 0
    assert len(recent._ids) == 65_536


def test_ids_that_are_not_consecutive_have_no_gaps() -> None:
    tally = InstrumentCounters()
    records, missing = take(make(tally, consecutive=False), [5, 500, 5])
    assert missing == [0, 0, 0]
    assert len(records) == 2
    assert tally.duplicate_trades == 1


def test_more_decimals_widen_from_then_on() -> None:
    trades = make(InstrumentCounters())
    (first,), _ = take(trades, [1], price="0.1234567891")
    (second,), _ = take(trades, [2], price="0.5")
    assert (first.price, first.price_exponent) == (1234567891, -10)
    assert (second.price, second.price_exponent) == (5000000000, -10)


def test_a_huge_value_takes_an_exponent_of_its_own() -> None:
    trades = make(InstrumentCounters())
    (first,), _ = take(trades, [1], size="123456789012.5")
    (second,), _ = take(trades, [2], size="1")
    assert (first.size, first.size_exponent) == (1234567890125, -1)
    assert second.size_exponent == -8


@pytest.mark.parametrize("price", ["", "-1", "nan", "12345678901234567890.5", "9" * 30, "123456789012345678.123456789"])
def test_a_refused_trade_is_not_published_and_its_id_is_seen(price: str) -> None:
    tally = InstrumentCounters()
    trades = make(tally)
    with pytest.raises(ValueRefused, match="price"):
        take(trades, [1], price=price)
    assert tally.trades == 0
    records, missing = take(trades, [2])
    assert missing == [0]
    assert len(records) == 1


def test_seeded_ids_and_all_below_are_repetitions_and_the_hole_behind_them_is_told() -> None:
    seen = SeenTrades()
    seen.seed([12, 10, 13])
    assert [seen.see(n) for n in (3, 10, 12, 13)] == [None] * 4
    assert seen.see(11) == 0  # never published
    assert seen.see(11) is None
    assert seen.see(16) == 2
    recent = RecentTrades()
    recent.seed([5])
    assert [recent.see(n) for n in (5, 4)] == [None, 0]
