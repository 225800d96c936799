from __future__ import annotations

from typing import Any

import pytest

from alphapulse.errors import UnknownInstrument
from gateway.state import CLOSED_KEPT, RECENT_TRADES, TRADE_IDS_KEPT, MarketState, VenueStanding
from schemas.records import DeadLetter, Depth, Record
from tests.fixtures import market
from tests.fixtures.market import MAX_BOOK_AGE, SECOND, START


def applied(*records: Record) -> MarketState:
    state = MarketState(max_book_age=MAX_BOOK_AGE)
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


def test_a_book_is_confirmed_by_a_repetition_with_a_later_time() -> None:
    state = applied(market.depth(sequence=5))
    confirmed = market.depth(sequence=5, received_time=START + SECOND)
    assert state.apply(confirmed, START)
    assert not state.apply(confirmed, START), "the same again"
    assert not state.apply(market.depth(sequence=5), START), "what a restarted processor repeats"
    assert state.instrument("kraken", "BTC-USD").age(START + 3 * SECOND) == 2 * SECOND


def test_where_all_numbers_are_equal_the_doubt_came_last() -> None:
    state = applied(market.depth(sequence=5))
    assert state.apply(market.depth(sequence=5, valid=False), START)
    assert not state.apply(market.depth(sequence=5), START)
    assert state.instrument("kraken", "BTC-USD").fault == "invalid"


def test_the_last_trades_are_kept_without_repetitions() -> None:
    state = applied(*(market.trade(str(number)) for number in range(RECENT_TRADES + 10)))
    assert not state.apply(market.trade("13"), START)
    kept = [trade.trade_id for trade in state.instrument("kraken", "BTC-USD").trades]
    assert kept == [str(number) for number in range(10, RECENT_TRADES + 10)]


def test_trade_ids_are_remembered_within_a_bound() -> None:
    state = applied(*(market.trade(str(number)) for number in range(TRADE_IDS_KEPT + 1)))
    assert not state.apply(market.trade("1"), START)
    assert state.apply(market.trade("0"), START), "forgotten: the oldest makes room"


def test_statistics_give_the_venues_rate() -> None:
    state = applied(market.statistics(0), market.statistics(1))
    assert not state.apply(market.statistics(1), START)
    assert state.venues["kraken"].rate.per_second(START + 2 * SECOND) == 50
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
    assert state.standing("kraken", START + 2).status == "disconnected"
    assert [each.kind for each in state.events] == ["connected", "disconnected"]
    applied(market.event("started", venue=None))


def test_records_of_no_use_change_nothing() -> None:
    letter = DeadLetter(time=0, service="x", source="y", value=b"", error="e", reason="r")
    assert not MarketState(max_book_age=MAX_BOOK_AGE).apply(letter, START)


def test_configured_instruments_are_known_from_the_start() -> None:
    state = MarketState({"kraken": ("BTC-USD", "ETH-USD"), "coinbase": ()}, max_book_age=MAX_BOOK_AGE)
    assert state.instrument("kraken", "ETH-USD").depth is None
    assert [each.symbol for each in state.instruments()] == ["BTC-USD", "ETH-USD"]
    assert state.instruments("coinbase") == []
    assert state.venues.keys() == {"kraken", "coinbase"}


def test_what_is_not_there_is_named_beside_what_is() -> None:
    state = MarketState({"kraken": ("BTC-USD", "ETH-USD"), "coinbase": ()}, max_book_age=MAX_BOOK_AGE)
    with pytest.raises(UnknownInstrument, match="unknown venue 'krakn'; known: coinbase, kraken"):
        state.instrument("krakn", "BTC-USD")
    with pytest.raises(UnknownInstrument, match="unknown symbol 'XRP-USD' of kraken; known: BTC-USD, ETH-USD"):
        state.instrument("kraken", "XRP-USD")
    with pytest.raises(UnknownInstrument, match="unknown symbol 'XRP-USD' of coinbase; known: none yet"):
        state.instrument("coinbase", "XRP-USD")
    with pytest.raises(UnknownInstrument, match="unknown symbol 'XRP-USD'; known: BTC-USD, ETH-USD"):
        state.check_symbol("XRP-USD")
    state.check_symbol("ETH-USD")


def test_a_long_list_of_names_is_cut() -> None:
    state = MarketState({"kraken": [f"A{number:02}-USD" for number in range(35)]}, max_book_age=MAX_BOOK_AGE)
    with pytest.raises(UnknownInstrument, match=r"A29-USD and 5 more$"):
        state.instrument("kraken", "X")


# --- freshness -------------------------------------------------------------------------------------------------


def book(symbol: str, at: int, **changes: Any) -> Depth:
    """A book received at ``at`` ns after START."""
    return market.depth(symbol=symbol, received_time=START + at, **changes)


def faults(state: MarketState) -> dict[str, str | None]:
    return {each.symbol: each.fault for each in state.instruments()}


def test_a_book_is_judged_when_it_comes() -> None:
    state = MarketState({"kraken": ("A", "B", "C", "D")}, max_book_age=MAX_BOOK_AGE)
    now = START + 10 * SECOND
    state.apply(book("B", 5 * SECOND), now)
    state.apply(book("C", 5 * SECOND - 1), now)
    state.apply(book("D", 10 * SECOND, valid=False), now)
    assert faults(state) == {"A": "no_book", "B": None, "C": "stale", "D": "invalid"}
    assert state.next_expiry == now + 1
    assert state.instrument("kraken", "A").age(now) is None


def test_a_book_expires_when_its_time_is_over_and_is_told_once() -> None:
    state = MarketState(max_book_age=MAX_BOOK_AGE)
    for number, symbol in enumerate("ABC"):
        state.apply(book(symbol, number * SECOND), START)
    assert state.expire(START + MAX_BOOK_AGE) == []
    assert [each.symbol for each in state.expire(START + MAX_BOOK_AGE + 1)] == ["A"]
    assert state.expire(START + SECOND + MAX_BOOK_AGE) == []
    state.apply(book("B", 5 * SECOND), START + 5 * SECOND)
    assert [each.symbol for each in state.expire(START + 8 * SECOND)] == ["C"]
    assert faults(state) == {"A": "stale", "B": None, "C": "stale"}
    assert {each.symbol for each in state.expire(START + 100 * SECOND)} == {"B"}
    assert state.expire(START + 200 * SECOND) == []


def test_a_stale_book_is_good_again_with_a_young_record_only() -> None:
    state = MarketState(max_book_age=MAX_BOOK_AGE)
    state.apply(book("A", 0), START)
    assert state.expire(START + 6 * SECOND)
    state.apply(book("A", SECOND // 2, sequence=2), START + 6 * SECOND)
    assert faults(state) == {"A": "stale"}, "a late record"
    assert state.expire(START + 60 * SECOND) == []
    state.apply(book("A", 6 * SECOND, sequence=3), START + 6 * SECOND)
    assert faults(state) == {"A": None}
    assert state.next_expiry == START + 6 * SECOND + MAX_BOOK_AGE + 1


def test_the_books_are_looked_at_only_when_one_can_have_expired() -> None:
    state = MarketState(max_book_age=MAX_BOOK_AGE)
    looks = 0
    for millisecond in range(60_000):
        now = START + millisecond * 1_000_000
        if millisecond % 100 == 0:
            state.apply(book("A", millisecond * 1_000_000, sequence=millisecond + 1), now)
        before = state.next_expiry
        assert state.expire(now) == []
        looks += state.next_expiry != before
    assert looks <= 13, "once in about five seconds, though asked every millisecond"


def test_a_collector_whose_clock_is_behind_brings_the_end_nearer() -> None:
    state = MarketState(max_book_age=MAX_BOOK_AGE)
    state.apply(book("A", 3 * SECOND), START + 3 * SECOND)
    state.apply(book("A", SECOND, epoch=START + SECOND), START + 3 * SECOND)
    assert state.next_expiry == START + SECOND + MAX_BOOK_AGE + 1
    assert len(state.expire(START + 7 * SECOND)) == 1


def test_a_book_from_too_far_in_the_future_has_no_age_to_go_by() -> None:
    state = MarketState(max_book_age=MAX_BOOK_AGE)
    state.apply(book("A", 6 * SECOND), START)
    assert faults(state) == {"A": "stale"}


def test_opportunities_are_shown_while_both_books_are_good() -> None:
    state = MarketState(max_book_age=MAX_BOOK_AGE)
    one = market.opportunity("a", buy_venue="kraken", sell_venue="coinbase")
    state.apply(one, START)
    assert state.open_opportunities() == [], "no book of either is known"
    state.apply(market.depth(received_time=START), START)
    assert state.open_opportunities() == []
    state.apply(market.depth(received_time=START + 2 * SECOND, venue="coinbase"), START)
    assert state.open_opportunities() == state.open_opportunities("BTC-USD") == [one]
    state.expire(START + 6 * SECOND)
    assert state.open_opportunities() == []
    state.apply(market.depth(received_time=START + 6 * SECOND, sequence=2), START + 6 * SECOND)
    assert state.open_opportunities() == [one]
    state.apply(market.depth(received_time=START + 6 * SECOND, sequence=3, valid=False), START + 6 * SECOND)
    assert state.open_opportunities() == []


def test_a_venue_stands_by_its_youngest_book() -> None:
    state = MarketState({"kraken": ("A", "B", "C")}, max_book_age=MAX_BOOK_AGE)
    assert state.standing("kraken", START) == VenueStanding("connecting", 0, 0, 0, None, None, None)
    state.apply(book("A", 0), START)
    state.apply(book("B", SECOND), START + SECOND)
    state.apply(market.trade(), START)
    now = START + 5 * SECOND + 1
    state.expire(now)
    age = 5 * SECOND + 1
    assert state.standing("kraken", now) == VenueStanding("connected", 1, 1, 0, age - SECOND, age, age)
    now += SECOND
    state.expire(now)
    state.apply(market.trade("2", received_time=now), now)
    assert state.standing("kraken", now).status == "stale", "trades do not make the books young"
    state.apply(book("A", 0, epoch=START + 1, valid=False), now)
    assert state.standing("kraken", now).status == "stale"
    state.apply(book("B", 6 * SECOND, epoch=START + 1, valid=False), now)
    assert state.standing("kraken", now).status == "connecting", "a resync is about to come"
    assert (state.standing("kraken", now).stale, state.standing("kraken", now).invalid) == (0, 2)


def test_a_venue_is_late_from_its_collectors_word_until_a_new_book_begins() -> None:
    state = applied(book("A", 0), market.event("late", time=START + SECOND))
    assert state.standing("kraken", START).status == "connected", "a good book proves the contrary"
    state.apply(book("A", SECOND, sequence=2, valid=False), START + SECOND)
    assert state.standing("kraken", START + SECOND).status == "late"
    assert state.standing("kraken", START + 60 * SECOND).status == "late"
    state.apply(book("A", 60 * SECOND, epoch=START + 60 * SECOND), START + 60 * SECOND)
    assert state.standing("kraken", START + 60 * SECOND).status == "connected"
    state.expire(START + 70 * SECOND)
    assert state.standing("kraken", START + 70 * SECOND).status == "stale"
    state.apply(market.event("disconnected", time=START + 71 * SECOND), START + 71 * SECOND)
    assert state.standing("kraken", START + 71 * SECOND).status == "disconnected"


def test_a_venue_without_books_goes_by_what_is_heard_of_it() -> None:
    state = applied(market.trade(received_time=START))
    assert state.standing("kraken", START + SECOND).status == "connected"
    assert state.standing("kraken", START + 60 * SECOND).status == "stale"
