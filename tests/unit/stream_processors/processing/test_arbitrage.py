from __future__ import annotations

from decimal import Decimal
from typing import Any

from alphapulse.fixed import INT64_MAX, decimal_text
from schemas.codec import Codec
from schemas.records import ArbitrageOpportunity, Depth
from stream_processors.processing.arbitrage import ArbitrageRules, SymbolState
from tests.fixtures.market import SECOND, START, depth

MS = 1_000_000


def book(venue: str, bid: int, ask: int, ms: int = 0, **changes: Any) -> Depth:
    """A book of 1.000 at one bid and one ask (in cents), so many ms after the start."""
    fields: dict[str, Any] = {"venue": venue, "sequence": ms, "received_time": START + ms * MS}
    return depth(bids=[(bid, 1000)], asks=[(ask, 1000)], **fields | changes)


class Symbol(SymbolState):
    """A symbol on a worker that gets each record the moment its collector received it."""

    def take_in(self, depth: Depth) -> list[ArbitrageOpportunity]:
        return self.apply(depth, depth.received_time)


def symbol(**rules: Any) -> Symbol:
    return Symbol("BTC-USD", ArbitrageRules(**rules))


def test_an_opportunity_by_hand() -> None:
    """Buy 1 at 100.00 on kraken (26 bp), sell it at 101.00 on coinbase (60 bp): 1.00 − 0.26 − 0.606 = 0.134."""
    state = symbol(fees={"kraken": Decimal(26), "coinbase": Decimal(60)})
    assert state.take_in(book("kraken", 9990, 10000, 1)) == []
    (made,) = state.take_in(book("coinbase", 10100, 10110, 3))
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
    state.take_in(book("kraken", 9990, 10000, 1))
    (opened,) = state.take_in(book("coinbase", 10100, 10110, 2))
    (changed,) = state.take_in(book("coinbase", 10200, 10210, 3))
    (closed,) = state.take_in(book("kraken", 10150, 10300, 5))
    assert [one.state for one in (opened, changed, closed)] == ["OPENED", "CHANGED", "CLOSED"]
    assert len({one.opportunity_id for one in (opened, changed, closed)}) == 1
    assert {one.opened_time for one in (opened, changed, closed)} == {START + 2 * MS}
    assert (closed.close_reason, closed.updated_time) == ("prices", START + 5 * MS)
    assert (closed.net_profit, closed.buy_book_time) == (changed.net_profit, START + 5 * MS)
    assert state.open == {}
    (again,) = state.take_in(book("coinbase", 10400, 10410, 6))
    assert again.opportunity_id != opened.opportunity_id


def test_a_book_that_changes_nothing_of_the_trade_is_no_change() -> None:
    state = symbol()
    state.take_in(book("kraken", 9990, 10000, 1))
    state.take_in(book("coinbase", 10100, 10110, 2))
    assert state.take_in(book("coinbase", 10100, 10150, 3)) == []
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
    assert state.take_in(finer) == []


def test_both_directions_are_looked_at() -> None:
    state = symbol()
    state.take_in(book("kraken", 10100, 10110, 1))
    (made,) = state.take_in(book("coinbase", 9990, 10000, 2))
    assert (made.buy_venue, made.sell_venue) == ("coinbase", "kraken")


def test_every_pair_of_venues_has_its_own_life() -> None:
    state = symbol()
    state.take_in(book("kraken", 9990, 10000, 1))
    state.take_in(book("binance_us", 9995, 10005, 2))
    made = state.take_in(book("coinbase", 10100, 10110, 3))
    assert {(one.buy_venue, one.sell_venue) for one in made} == {("kraken", "coinbase"), ("binance_us", "coinbase")}
    assert len({one.opportunity_id for one in made}) == 2


def test_an_invalid_book_closes_what_it_was_part_of() -> None:
    state = symbol()
    state.take_in(book("kraken", 9990, 10000, 1))
    state.take_in(book("coinbase", 10100, 10110, 2))
    (closed,) = state.take_in(depth(bids=(), asks=(), valid=False, received_time=START + 9 * MS, sequence=9))
    assert (closed.state, closed.close_reason, closed.updated_time) == ("CLOSED", "invalid_book", START + 9 * MS)
    assert state.take_in(book("coinbase", 10200, 10210, 10)) == []


def test_a_stale_book_takes_no_part() -> None:
    state = symbol(max_book_age=SECOND)
    state.take_in(book("kraken", 9990, 10000, 0))
    (opened,) = state.take_in(book("coinbase", 10100, 10110, 1_000))
    assert opened.state == "OPENED"
    (closed,) = state.take_in(book("coinbase", 10100, 10110, 1_001))
    assert closed.close_reason == "stale_book"
    assert state.take_in(book("coinbase", 10150, 10160, 1_002)) == []
    (again,) = state.take_in(book("kraken", 9990, 10000, 1_500))
    assert again.state == "OPENED"


def test_nothing_is_opened_on_books_that_were_young_only_when_they_were_received() -> None:
    state = symbol(max_book_age=SECOND)
    late = START + 3_000 * MS
    for record in (book("kraken", 9990, 10000, 1), book("coinbase", 10100, 10110, 2)):
        assert state.apply(record, late) == []
    # The backlog has been worked off as far as one of the two.
    assert state.apply(book("kraken", 9990, 10000, 2_900), late) == []
    (opened,) = state.apply(book("coinbase", 10100, 10110, 2_950), late)
    assert opened.state == "OPENED"


def test_the_clock_closes_what_has_become_stale_though_no_record_comes() -> None:
    state = symbol(max_book_age=SECOND)
    state.take_in(book("kraken", 9990, 10000, 0))
    state.take_in(book("coinbase", 10100, 10110, 700))
    assert state.tick(START + 1_000 * MS) == []
    (closed,) = state.tick(START + 1_000 * MS + 1)
    assert (closed.state, closed.close_reason) == ("CLOSED", "stale_book")
    assert closed.updated_time == START + 1_000 * MS + 1
    assert (closed.buy_book_time, closed.sell_book_time) == (START, START + 700 * MS)
    assert state.open == {}
    assert state.tick(START + 9_000 * MS) == []


def test_a_heartbeat_keeps_an_opportunity_open() -> None:
    state = symbol(max_book_age=SECOND)
    state.take_in(book("kraken", 9990, 10000, 0))
    state.take_in(book("coinbase", 10100, 10110, 1))
    for venue, ms in (("kraken", 900), ("coinbase", 950)):
        assert (
            state.take_in(book(venue, *({"kraken": (9990, 10000)}.get(venue, (10100, 10110))), ms, sequence=ms)) == []
        )
    assert state.tick(START + 1_900 * MS) == []
    assert len(state.tick(START + 1_901 * MS)) == 1


def test_a_book_from_the_future_is_stale_too() -> None:
    """Clocks that differ by more than a book may be old tell nothing of its age."""
    state = symbol(max_book_age=SECOND)
    state.take_in(book("kraken", 9990, 10000, 0))
    assert state.apply(book("coinbase", 10100, 10110, 1_500), START) == []


def test_an_opportunity_never_ends_before_it_began() -> None:
    state = symbol()
    state.take_in(book("kraken", 9990, 10000, 1))
    state.take_in(book("coinbase", 10100, 10110, 9))
    (changed,) = state.take_in(book("kraken", 9990, 10001, 5))
    (closed,) = state.take_in(book("kraken", 10050, 10300, 6))
    assert changed.updated_time == closed.updated_time == START + 9 * MS


def test_a_record_published_again_after_a_restart_is_ignored() -> None:
    state = symbol()
    state.take_in(book("kraken", 9990, 10000, 5))
    state.take_in(book("coinbase", 10100, 10110, 6))
    assert state.take_in(book("kraken", 10290, 10300, 4)) == []
    older = book("kraken", 10290, 10300, 4, sequence=5)  # the same record, confirmed earlier
    assert state.take_in(older) == []
    assert (state.books["kraken"].sequence, state.books["kraken"].received_time) == (5, START + 5 * MS)


def test_the_same_records_give_the_same_opportunities() -> None:
    records = [
        book(venue, 10000 + (ms * 37) % 90, 10005 + (ms * 37) % 90, ms)
        for ms, venue in enumerate(("kraken", "coinbase", "binance_us") * 20)
    ]
    one, other = symbol(), symbol()
    assert [one.take_in(record) for record in records] == [other.take_in(record) for record in records]


def test_a_later_owner_goes_on() -> None:
    records = [
        book(venue, 10000 + (ms * 37) % 90, 10005 + (ms * 37) % 90, ms)
        for ms, venue in enumerate(("kraken", "coinbase") * 20)
    ]
    whole, first, second = symbol(), symbol(), symbol()
    expected = [made for record in records for made in whole.take_in(record)]
    made = [one for record in records[:17] for one in first.take_in(record)]
    second.restore(first.books.values(), first.open.values())
    made += [one for record in records[17:] for one in second.take_in(record)]
    assert made == expected
    assert len(expected) > 10


def test_what_an_earlier_owner_published_is_known_and_not_decided_again() -> None:
    """The checkpoint is of the beginning; all records since are read again, what was published is read back."""
    records = [
        book("kraken", 9990, 10000, 1),
        book("coinbase", 10100, 10110, 2),  # opens
        book("coinbase", 10300, 10310, 3),  # changes
        book("kraken", 10290, 10320, 4),  # closes
        book("coinbase", 10500, 10510, 5),  # opens another
    ]
    first = symbol()
    published = [made for record in records for made in first.take_in(record)]
    assert [made.state for made in published] == ["OPENED", "CHANGED", "CLOSED", "OPENED"]
    now = START + 100 * MS
    for known in range(len(published) + 1):
        later = symbol()
        for made in published[:known]:
            later.was_published(made)
        again = [made for record in records for made in later.apply(record, now, again=True)]
        assert again == published[known:]
        assert later.open == first.open
        assert later.reread(now) == []


def test_what_seems_stale_while_older_records_are_read_again_is_left_open() -> None:
    first, later = symbol(max_book_age=SECOND), symbol(max_book_age=SECOND)
    records = [book("kraken", 9990, 10000, 0), book("coinbase", 10100, 10110, 1)]
    published = [made for record in records for made in first.take_in(record)]
    later.was_published(published[0])
    now = START + 1_500 * MS
    for record in records:
        assert later.apply(record, now, again=True) == []
    confirmed = [book("kraken", 9990, 10000, 1_400), book("coinbase", 10100, 10110, 1_400)]
    for record in confirmed[:1]:
        assert later.apply(record, now, again=True) == []
    assert later.open == first.open
    (closed,) = later.reread(now)  # coinbase was not confirmed after all
    assert (closed.close_reason, closed.opportunity_id) == ("stale_book", published[0].opportunity_id)


def test_an_opportunity_whose_books_nobody_knows_any_more_is_closed() -> None:
    first, later = symbol(), symbol()
    for record in (book("kraken", 9990, 10000, 1), book("coinbase", 10100, 10110, 2)):
        published = first.take_in(record)
    later.was_published(published[0])
    (closed,) = later.reread(START + 9 * MS)
    assert (closed.state, closed.close_reason) == ("CLOSED", "invalid_book")
    assert closed.opportunity_id == published[0].opportunity_id


def test_the_end_of_an_earlier_life_does_not_close_a_later_one() -> None:
    state = symbol()
    published = [
        made
        for record in (
            book("kraken", 9990, 10000, 1),
            book("coinbase", 10100, 10110, 2),
            book("coinbase", 9990, 10001, 3),
            book("coinbase", 10100, 10110, 4),
        )
        for made in state.take_in(record)
    ]
    opened, closed, other = published
    later = symbol()
    for made in (opened, other, closed):  # from an owner that did not know it had been replaced
        later.was_published(made)
    assert list(later.open.values()) == [other]


def test_a_venue_without_a_configured_fee_has_none() -> None:
    assert ArbitrageRules().fee("kraken") == 0


def test_a_sum_beyond_64_bits_is_told_at_a_coarser_exponent_from_its_opening_to_its_end() -> None:
    codec, size = Codec(), 8 * 10**18 + 1
    state = symbol()

    def cheap(venue: str, bid: int, ask: int, ms: int, levels: int = 5) -> Depth:
        return depth(
            bids=[(bid - i, size) for i in range(levels)],
            asks=[(ask + i, size) for i in range(levels)],
            venue=venue,
            sequence=ms,
            received_time=START + ms * MS,
            price_exponent=-12,
            size_exponent=-8,
        )

    made = state.take_in(cheap("kraken", 7_000_000, 7_000_100, 1, levels=1))
    made += state.take_in(cheap("coinbase", 7_100_000, 7_100_100, 2))
    made += state.take_in(cheap("kraken", 7_000_000, 7_000_100, 3))
    made += state.take_in(cheap("kraken", 7_200_000, 7_200_100, 4, levels=0))
    assert [one.state for one in made] == ["OPENED", "CHANGED", "CLOSED"]
    for one in made:
        assert codec.decode(codec.encode(one)) == one
    assert (made[0].size, made[0].size_exponent) == (size, -8)
    # 40,000,000,000,000,000,005 units less the five that an int64 cannot tell; the profit is that of the size told.
    assert (made[1].size, made[1].size_exponent) == (4 * 10**18, -7)
    spent = sum((7_000_100 + i) * size for i in range(5)) - 5 * 7_000_104
    received = sum((7_100_000 - i) * size for i in range(5)) - 5 * 7_099_996
    assert made[1].gross_profit == decimal_text(received - spent, -20)


def test_prices_of_very_different_exponents_are_rounded_against_the_trade() -> None:
    codec, state = Codec(), symbol()
    state.take_in(book("kraken", 9_000_000, 9_000_001, 1))
    (made,) = state.take_in(
        depth(
            bids=[(INT64_MAX, 1000)],
            asks=[(INT64_MAX, 1000)],
            venue="coinbase",
            sequence=2,
            received_time=START + 2 * MS,
            price_exponent=-13,
        )
    )
    assert codec.decode(codec.encode(made)) == made
    unit = Decimal(1).scaleb(made.price_exponent)
    assert Decimal(made.buy_limit_price) * unit == Decimal("90000.01")
    told, exact = Decimal(made.sell_limit_price) * unit, Decimal(INT64_MAX).scaleb(-13)
    assert 0 <= exact - told < unit
