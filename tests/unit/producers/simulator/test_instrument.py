"""producers.simulator.instrument and market"""

from __future__ import annotations

from collections.abc import Iterable
from itertools import pairwise
from statistics import fmean, median

import pytest

from alphapulse.book import BookSide, OrderBook
from producers.simulator.events import BookChange, Trades
from producers.simulator.instrument import HUGE_UNITS, LEVELS, NOTHING_SHOWN, Shown, SimulatedInstrument
from producers.simulator.liquidity import distances
from producers.simulator.listings import SimulatedListing, make_listings
from producers.simulator.market import Market

S = 1_000_000_000
TICK_NS = S // 30
(LISTING,) = make_listings(["coinbase"], ["BTC-USD"])
(THIN,) = make_listings(["kraken"], ["XMR-USD"])
(COARSE,) = make_listings(["binance"], ["SHIB-USDT"])
FAIR = LISTING.start_price * 10**LISTING.price_decimals


def made(listing: SimulatedListing, seed: int = 1) -> tuple[SimulatedInstrument, float]:
    fair = listing.start_price * 10**listing.price_decimals
    return SimulatedInstrument(listing, seed, fair), fair


def away(side: BookSide, place: int) -> int:
    """Return how far the level at ``place`` is from the best."""
    return abs(side.price_at(place) - side.price_at(0))


def best(book: OrderBook) -> tuple[int, int]:
    return book.bids.price_at(0), book.asks.price_at(0)


@pytest.mark.parametrize("listing", [LISTING, THIN, COARSE])
def test_a_book_starts_in_its_usual_shape_around_the_fair_price(listing: SimulatedListing) -> None:
    instrument, fair = made(listing)
    usual = distances(listing.liquidity, fair, LEVELS + 1)
    bid, ask = best(instrument.book)
    assert bid <= fair <= ask
    assert ask - bid <= max(1.4 * listing.liquidity.spread * fair + 2, 1)
    for side in (instrument.book.bids, instrument.book.asks):
        assert len(side) == LEVELS
        assert away(side, 0) == 0
        for place in (50, 100, 200):
            assert 0.6 < away(side, place) / usual[place] < 1.6


def test_usual_distances_grow_by_a_tick_at_least() -> None:
    for listing in (LISTING, THIN, COARSE):
        found = distances(listing.liquidity, made(listing)[1], LEVELS + 1)
        assert found[0] == 0
        assert all(further > nearer for nearer, further in pairwise(found))
    coarse = distances(COARSE.liquidity, made(COARSE)[1], LEVELS + 1)
    assert list(coarse[:50]) == list(range(50))  # a tick is wider than the usual gap


def test_the_best_level_is_great_and_sizes_grow_behind_it() -> None:
    sizes = [[size for _, size in made(LISTING, seed)[0].book.bids] for seed in range(40)]

    def mean(first: int, last: int) -> float:
        return fmean(fmean(one[first:last]) for one in sizes)

    assert mean(0, 1) > 4 * mean(1, 50)
    assert mean(200, 250) > 2 * mean(1, 50)


def test_sizes_have_a_heavy_tail_and_some_are_round() -> None:
    sizes = sorted(size for seed in range(10) for _, size in made(LISTING, seed)[0].book.asks)
    assert sizes[int(0.99 * len(sizes))] > 20 * median(sizes)
    assert 0.2 < fmean(size % 10 ** (len(str(size)) - 2) == 0 for size in sizes if size >= 1000) < 0.5


def test_while_the_fair_price_stays_so_do_the_best_quotes_of_a_liquid_market() -> None:
    instrument, fair = made(LISTING)
    quotes = best(instrument.book)
    changed = 0
    for number in range(1, 3000):
        instrument.evolve(number * TICK_NS, fair)
        changed += best(instrument.book) != quotes
    assert quotes[1] - quotes[0] == 1
    assert 0 < changed < 500  # while a best level that was eaten has not come again


def test_a_thin_market_is_quoted_anew_now_and_then() -> None:
    instrument, fair = made(THIN)
    quotes = set()
    for number in range(1, 3000):
        instrument.evolve(number * TICK_NS, fair)
        quotes.add(best(instrument.book))
    assert len(quotes) > 50
    spreads = sorted(1e4 * (ask - bid) / fair for bid, ask in quotes)
    assert 3 < median(spreads) < 30


@pytest.mark.parametrize("way", [+1, -1])
def test_what_a_jump_of_the_fair_price_passes_is_traded_more_often_than_not(way: int) -> None:
    traded = 0
    for seed in range(20):
        instrument, fair = made(LISTING, seed)
        bid, ask = best(instrument.book)
        for event in instrument.evolve(1, fair * (1 + way * 10e-4)):
            if isinstance(event, Trades):
                traded += 1
                assert {trade.side for trade in event.trades} == {"buy" if way > 0 else "sell"}
                assert event.trades[0].price == (ask if way > 0 else bid)
    assert 10 <= traded < 20


@pytest.mark.parametrize("listing", [LISTING, THIN, COARSE])
@pytest.mark.parametrize("way", [+1, -1])
def test_a_jump_leaves_no_hole_for_long(listing: SimulatedListing, way: int) -> None:
    instrument, fair = made(listing)
    usual = distances(listing.liquidity, fair, LEVELS + 1)
    jumped = fair * (1 + way * 30e-4)
    for number in range(1, 91):
        instrument.evolve(number * TICK_NS, jumped)
        bid, ask = best(instrument.book)
        assert bid <= jumped <= ask or number == 1
    for side in (instrument.book.bids, instrument.book.asks):
        assert LEVELS - 12 <= len(side) <= LEVELS + 12
        for place in (10, 30, 60, 120):
            assert away(side, place) < (2.5 if place == 10 else 2) * usual[place] + 3
        prices = side.prices(31)
        assert max(abs(a - b) for a, b in pairwise(prices)) < 12 * (usual[31] - usual[30])


@pytest.mark.parametrize("way", [+1, -1])
def test_levels_follow_the_price_however_far_it_goes(way: int) -> None:
    instrument, fair = made(LISTING)
    usual = distances(LISTING.liquidity, fair, LEVELS + 1)
    for number in range(1, 9001):
        instrument.evolve(number * TICK_NS, fair * (1 + way * number * 0.5e-5))  # 4.5 % in five minutes
    for side in (instrument.book.bids, instrument.book.asks):
        assert LEVELS - 30 <= len(side) <= LEVELS + 12
        assert 0.5 < away(side, 200) / usual[200] < 1.5
        assert away(side, len(side) - 1) < 1.5 * usual[LEVELS]


@pytest.mark.parametrize("events_a_second", [0.2, 5.0, 2000.0])
def test_a_hole_is_filled_within_seconds_at_any_rate(events_a_second: float) -> None:
    instrument, fair = made(LISTING)
    usual = distances(LISTING.liquidity, fair, LEVELS + 1)
    step = int(S / events_a_second)
    instrument.evolve(step, fair * 1.001)
    end = 2 * step + 4 * S
    for time in range(2 * step, end, step):
        instrument.evolve(time, fair * 1.001)
    for side in (instrument.book.bids, instrument.book.asks):
        assert away(side, 30) < 2 * usual[30]


def test_prices_near_zero_stay_above_it() -> None:
    instrument = SimulatedInstrument(LISTING, 1, 3.0)
    for time in range(200):
        instrument.evolve(time, 2.5)
        instrument.evolve(time, 3.6)
    assert all(price > 0 for price, _ in instrument.book.bids)
    assert len(instrument.book.bids) > 0
    assert not instrument.book.crossed


def test_the_rate_is_kept() -> None:
    market = Market(make_listings(["kraken", "coinbase"], ["BTC-USD"]), seed=3, rate=40.0, start_ns=0)
    events = sum(1 for event in market.advance(20 * S) if isinstance(event, BookChange))
    assert 0.8 < events / (20 * 2 * 40) < 1.2


def test_a_pause_moves_all_that_comes() -> None:
    markets = [Market([LISTING], seed=3, rate=40.0, start_ns=0) for _ in range(2)]
    early = list(markets[0].advance(S))
    markets[1].pause(7 * S)
    assert list(markets[1].advance(7 * S)) == []
    assert [event.time_ns - 7 * S for event in markets[1].advance(8 * S)] == [event.time_ns for event in early]


@pytest.mark.parametrize("what", [{"auction"}, {"huge"}, {"auction", "huge"}])
def test_orders_are_shown_while_the_market_goes_on_beneath(what: set[Shown]) -> None:
    quiet, fair = made(LISTING)
    shown, _ = made(LISTING)
    client = OrderBook()
    client.replace(*columns(shown.book.bids), *columns(shown.book.asks))
    held = shown.book
    for number in range(1, 400):
        price = fair + 30 * (number // 20)
        truth, events = quiet.evolve(number * TICK_NS, price), shown.evolve(number * TICK_NS, price)
        assert [event for event in events if isinstance(event, Trades)] == [e for e in truth if isinstance(e, Trades)]
        changes = [event for event in events if isinstance(event, BookChange)]
        toggled = shown.show(number * TICK_NS, frozenset(what) if 100 <= number < 300 else NOTHING_SHOWN)
        assert (toggled is not None) == (number in (100, 300))
        for change in [*changes, *([toggled] if toggled is not None else [])]:
            client.apply(*columns(change.bids), *columns(change.asks))
        assert client.text(0, 0) == shown.book.text(0, 0)
        assert shown.book is held
        if number in (100, 110):
            assert shown.book.crossed is ("auction" in what)
            most = max(size for _, size in shown.book.bids)
            assert (most >= HUGE_UNITS * 10**LISTING.size_decimals) is ("huge" in what)
        if not 100 <= number < 300:
            assert shown.book.text(0, 0) == quiet.book.text(0, 0)


def columns(levels: Iterable[tuple[int, int]]) -> tuple[list[int], list[int]]:
    pairs = list(levels)
    return [price for price, _ in pairs], [size for _, size in pairs]
