from __future__ import annotations

import pytest

from alphapulse.errors import UnknownInstrument
from gateway.state import CLOSED_KEPT, TRADE_IDS_KEPT, TRADES_KEPT, MarketState
from schemas.records import DeadLetter, Record
from tests.fixtures import market
from tests.fixtures.market import SECOND, START


def applied(*records: Record) -> MarketState:
    state = MarketState()
    for record in records:
        assert state.apply(record, START)
    return state


def test_the_latest_depth_counts_whatever_comes_again() -> None:
    state = applied(market.depth(sequence=1), market.depth(sequence=2))
    assert not state.apply(market.depth(sequence=1), START)
    assert not state.apply(market.depth(sequence=99, epoch=START - 1), START)
    depth = state.instrument("kraken", "BTC-USD").depth
    assert depth is not None
    assert depth.sequence == 2


def test_doubt_about_the_same_sequence_and_a_new_epoch_are_taken() -> None:
    state = applied(market.depth(sequence=5))
    assert state.apply(market.depth(sequence=5, valid=False), START)
    assert state.apply(market.depth(sequence=0, epoch=START + 1), START)


def test_the_last_trades_are_kept_without_repetitions() -> None:
    state = applied(*(market.trade(str(number)) for number in range(TRADES_KEPT + 10)))
    assert not state.apply(market.trade("3"), START)
    kept = [trade.trade_id for trade in state.instrument("kraken", "BTC-USD").trades]
    assert kept == [str(number) for number in range(10, TRADES_KEPT + 10)]


def test_trade_ids_are_remembered_within_a_bound() -> None:
    state = applied(*(market.trade(str(number)) for number in range(TRADE_IDS_KEPT + 1)))
    assert not state.apply(market.trade("1"), START)
    assert state.apply(market.trade("0"), START), "forgotten: the oldest makes room"


def test_statistics_give_the_venues_rate() -> None:
    state = applied(market.statistics(0), market.statistics(1))
    assert not state.apply(market.statistics(1), START)
    assert state.venues["kraken"].rate.per_second(START + SECOND) == 100
    assert [each.sequence for each in state.instrument("kraken", "BTC-USD").windows] == [0, 1]


def test_the_latest_candle_and_revision_of_each_interval_counts() -> None:
    minute = market.candle(interval=60 * SECOND)
    state = applied(market.candle(0), minute, market.candle(1), market.candle(1, revision=1))
    assert not state.apply(market.candle(1), START)
    assert not state.apply(market.candle(0, revision=9), START)
    candles = state.instrument("kraken", "BTC-USD").candles
    assert candles == {SECOND: market.candle(1, revision=1), 60 * SECOND: minute}


def test_an_opportunity_opens_changes_and_closes_once() -> None:
    state = applied(
        market.opportunity("a"),
        market.opportunity("b", symbol="ETH-USD"),
        market.opportunity("a", state="CHANGED", updated_time=START + 1),
    )
    opportunities = state.opportunities
    assert [each.opportunity_id for each in opportunities.open()] == ["a", "b"]
    assert [each.state for each in opportunities.open("BTC-USD")] == ["CHANGED"]
    assert not state.apply(market.opportunity("a"), START), "older than what is known"
    assert not state.apply(market.opportunity("b", symbol="ETH-USD"), START), "the same again"
    assert state.apply(market.opportunity("a", state="CLOSED", updated_time=START + 2), START)
    assert not state.apply(market.opportunity("a", state="CHANGED", updated_time=START + 3), START)
    assert [each.opportunity_id for each in opportunities.open()] == ["b"]
    assert [each.opportunity_id for each in opportunities.closed("BTC-USD")] == ["a"]
    assert opportunities.closed("ETH-USD") == []


def test_closed_opportunities_are_kept_within_a_bound() -> None:
    state = applied(*(market.opportunity(str(n), state="CLOSED") for n in range(CLOSED_KEPT + 5)))
    closed = state.opportunities.closed()
    assert (len(closed), closed[0].opportunity_id) == (CLOSED_KEPT, "5")


def test_events_tell_of_connections() -> None:
    state = applied(market.event("connected"), market.event("disconnected", time=START + 1))
    assert state.venues["kraken"].status(START + 2) == "disconnected"
    assert [each.kind for each in state.events] == ["connected", "disconnected"]
    applied(market.event("started", venue=None))


def test_records_of_no_use_change_nothing() -> None:
    letter = DeadLetter(time=0, service="x", source="y", value=b"", error="e", reason="r")
    assert not MarketState().apply(letter, START)


def test_configured_instruments_are_known_from_the_start() -> None:
    state = MarketState({"kraken": ("BTC-USD", "ETH-USD"), "coinbase": ()})
    assert state.instrument("kraken", "ETH-USD").depth is None
    assert [each.symbol for each in state.instruments()] == ["BTC-USD", "ETH-USD"]
    assert state.instruments("coinbase") == []
    assert state.venues.keys() == {"kraken", "coinbase"}


def test_what_is_not_there_is_named_beside_what_is() -> None:
    state = MarketState({"kraken": ("BTC-USD", "ETH-USD"), "coinbase": ()})
    with pytest.raises(UnknownInstrument, match="unknown venue 'krakn'; there are: coinbase, kraken"):
        state.instrument("krakn", "BTC-USD")
    with pytest.raises(UnknownInstrument, match="kraken has no symbol 'XRP-USD'; it has: BTC-USD, ETH-USD"):
        state.instrument("kraken", "XRP-USD")
    with pytest.raises(UnknownInstrument, match="coinbase has no symbol 'XRP-USD'; it has: none yet"):
        state.instrument("coinbase", "XRP-USD")
    with pytest.raises(UnknownInstrument, match="no venue has symbol 'XRP-USD'; there are: BTC-USD, ETH-USD"):
        state.check_symbol("XRP-USD")
    state.check_symbol("ETH-USD")


def test_a_long_list_of_names_is_cut() -> None:
    state = MarketState({"kraken": [f"A{number:02}-USD" for number in range(35)]})
    with pytest.raises(UnknownInstrument, match=r"A29-USD and 5 more$"):
        state.instrument("kraken", "X")
