from __future__ import annotations

from decimal import Decimal
from typing import Any

from schemas.records import Depth
from stream_processors.arbitrage import ArbitrageRules, SymbolState
from tests.fixtures.market import SECOND, START, depth

MS = 1_000_000


def book(venue: str, bid: int, ask: int, ms: int = 0, **changes: Any) -> Depth:
    """A book of 1.000 at one bid and one ask (in cents), so many ms after the start."""
    fields: dict[str, Any] = {"venue": venue, "sequence": ms, "received_time": START + ms * MS}
    return depth(bids=[(bid, 1000)], asks=[(ask, 1000)], **fields | changes)


def symbol(**rules: Any) -> SymbolState:
    return SymbolState("BTC-USD", ArbitrageRules(**rules))


def test_an_opportunity_by_hand() -> None:
    """Buy 1 at 100.00 on kraken (26 bp), sell it at 101.00 on coinbase (60 bp): 1.00 − 0.26 − 0.606 = 0.134."""
    state = symbol(fees={"kraken": Decimal(26), "coinbase": Decimal(60)})
    assert state.apply(book("kraken", 9990, 10000, 1)) == []
    (made,) = state.apply(book("coinbase", 10100, 10110, 3))
    assert made.state == "OPENED"
    assert (made.symbol, made.buy_venue, made.sell_venue) == ("BTC-USD", "kraken", "coinbase")
    assert (made.buy_price, made.sell_price, made.buy_limit_price, made.sell_limit_price) == (
        10000,
        10100,
        10000,
        10100,
    )
    assert (made.size, made.price_exponent, made.size_exponent) == (1000, -2, -3)
    assert (made.gross_profit, made.net_profit) == ("1", "0.134")
    assert made.net_basis_points == 13.4
    assert (made.buy_fee_basis_points, made.sell_fee_basis_points) == (26.0, 60.0)
    assert made.opened_time == made.updated_time == made.sell_book_time == START + 3 * MS
    assert made.buy_book_time == START + 1 * MS
    assert made.close_reason is None


def test_opened_changed_closed_is_one_life_with_one_identity() -> None:
    state = symbol()
    state.apply(book("kraken", 9990, 10000, 1))
    (opened,) = state.apply(book("coinbase", 10100, 10110, 2))
    (changed,) = state.apply(book("coinbase", 10200, 10210, 3))
    (closed,) = state.apply(book("kraken", 10150, 10300, 5))
    assert [one.state for one in (opened, changed, closed)] == ["OPENED", "CHANGED", "CLOSED"]
    assert len({one.opportunity_id for one in (opened, changed, closed)}) == 1
    assert {one.opened_time for one in (opened, changed, closed)} == {START + 2 * MS}
    assert (closed.close_reason, closed.updated_time) == ("prices", START + 5 * MS)
    assert (closed.net_profit, closed.buy_book_time) == (changed.net_profit, START + 5 * MS)
    assert state.open == {}
    (again,) = state.apply(book("coinbase", 10400, 10410, 6))
    assert again.opportunity_id != opened.opportunity_id


def test_a_book_that_changes_nothing_of_the_trade_is_no_change() -> None:
    state = symbol()
    state.apply(book("kraken", 9990, 10000, 1))
    state.apply(book("coinbase", 10100, 10110, 2))
    assert state.apply(book("coinbase", 10100, 10150, 3)) == []
    # The same trade at finer exponents is the same trade.
    finer = depth(
        bids=[(10_100_000, 10_000)],
        asks=[],
        venue="coinbase",
        sequence=4,
        price_exponent=-5,
        size_exponent=-4,
        received_time=START + 4 * MS,
    )
    assert state.apply(finer) == []


def test_both_directions_are_looked_at() -> None:
    state = symbol()
    state.apply(book("kraken", 10100, 10110, 1))
    (made,) = state.apply(book("coinbase", 9990, 10000, 2))
    assert (made.buy_venue, made.sell_venue) == ("coinbase", "kraken")


def test_every_pair_of_venues_has_its_own_life() -> None:
    state = symbol()
    state.apply(book("kraken", 9990, 10000, 1))
    state.apply(book("binance_us", 9995, 10005, 2))
    made = state.apply(book("coinbase", 10100, 10110, 3))
    assert {(one.buy_venue, one.sell_venue) for one in made} == {("kraken", "coinbase"), ("binance_us", "coinbase")}
    assert len({one.opportunity_id for one in made}) == 2


def test_an_invalid_book_closes_what_it_was_part_of() -> None:
    state = symbol()
    state.apply(book("kraken", 9990, 10000, 1))
    state.apply(book("coinbase", 10100, 10110, 2))
    (closed,) = state.apply(depth(bids=(), asks=(), valid=False, received_time=START + 9 * MS, sequence=9))
    assert (closed.state, closed.close_reason, closed.updated_time) == ("CLOSED", "invalid_book", START + 9 * MS)
    assert state.apply(book("coinbase", 10200, 10210, 10)) == []


def test_a_stale_book_takes_no_part() -> None:
    state = symbol(max_book_age=SECOND)
    state.apply(book("kraken", 9990, 10000, 0))
    (opened,) = state.apply(book("coinbase", 10100, 10110, 1_000))
    assert opened.state == "OPENED"
    (closed,) = state.apply(book("coinbase", 10100, 10110, 1_001))
    assert closed.close_reason == "stale_book"
    assert state.apply(book("coinbase", 10150, 10160, 1_002)) == []
    (again,) = state.apply(book("kraken", 9990, 10000, 1_500))
    assert again.state == "OPENED"


def test_time_that_a_third_venue_shows_makes_books_stale() -> None:
    state = symbol(max_book_age=SECOND)
    state.apply(book("kraken", 9990, 10000, 0))
    state.apply(book("coinbase", 10100, 10110, 1))
    (closed,) = state.apply(book("binance_us", 9000, 20000, 1_002))
    assert (closed.buy_venue, closed.sell_venue, closed.close_reason) == ("kraken", "coinbase", "stale_book")


def test_an_opportunity_never_ends_before_it_began() -> None:
    state = symbol()
    state.apply(book("kraken", 9990, 10000, 1))
    state.apply(book("coinbase", 10100, 10110, 9))
    (changed,) = state.apply(book("kraken", 9990, 10001, 5))
    (closed,) = state.apply(book("kraken", 10050, 10300, 6))
    assert changed.updated_time == closed.updated_time == START + 9 * MS


def test_a_record_published_again_after_a_restart_is_ignored() -> None:
    state = symbol()
    state.apply(book("kraken", 9990, 10000, 5))
    state.apply(book("coinbase", 10100, 10110, 6))
    assert state.apply(book("kraken", 10290, 10300, 4)) == []
    assert state.books["kraken"].sequence == 5


def test_the_same_records_give_the_same_opportunities() -> None:
    records = [
        book(venue, 10000 + (ms * 37) % 90, 10005 + (ms * 37) % 90, ms)
        for ms, venue in enumerate(("kraken", "coinbase", "binance_us") * 20)
    ]
    one, other = symbol(), symbol()
    assert [one.apply(record) for record in records] == [other.apply(record) for record in records]


def test_a_later_owner_goes_on() -> None:
    records = [
        book(venue, 10000 + (ms * 37) % 90, 10005 + (ms * 37) % 90, ms)
        for ms, venue in enumerate(("kraken", "coinbase") * 20)
    ]
    whole, first, second = symbol(), symbol(), symbol()
    expected = [made for record in records for made in whole.apply(record)]
    made = [one for record in records[:17] for one in first.apply(record)]
    second.restore(first.books.values(), first.open.values())
    made += [one for record in records[17:] for one in second.apply(record)]
    assert made == expected
    assert len(expected) > 10


def test_a_venue_without_a_configured_fee_has_none() -> None:
    assert ArbitrageRules().fee("kraken") == 0
