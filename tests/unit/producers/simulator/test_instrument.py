"""producers.simulator.instrument and market"""

from __future__ import annotations

from producers.simulator.events import BookChange
from producers.simulator.instrument import LEVELS, SimulatedInstrument
from producers.simulator.listings import make_listings
from producers.simulator.market import Market

S = 1_000_000_000
(LISTING,) = make_listings(["coinbase"], ["BTC-USD"])
FAIR = LISTING.start_price * 10**LISTING.price_decimals


def test_a_book_starts_deep_around_the_fair_price() -> None:
    book = SimulatedInstrument(LISTING, 1, FAIR).book
    assert len(book.bids) == len(book.asks) == LEVELS >= 200
    bid, ask = book.bids.best_price(), book.asks.best_price()
    assert bid is not None
    assert ask is not None
    assert FAIR * 0.999 < bid < FAIR < ask < FAIR * 1.001


def test_sizes_grow_away_from_the_best_price() -> None:
    sizes = [size for _, size in SimulatedInstrument(LISTING, 1, FAIR).book.bids]
    assert sum(sizes[-50:]) > 2 * sum(sizes[:50])


def test_what_a_jump_of_the_fair_price_runs_over_is_traded_more_often_than_not() -> None:
    jumped = [SimulatedInstrument(LISTING, seed, FAIR) for seed in range(20)]
    for one in jumped:
        one.evolve(1, FAIR * 1.01)
    assert 10 <= sum(bool(one.trades) for one in jumped) <= 20


def test_a_jump_of_the_fair_price_runs_over_levels_that_come_again() -> None:
    instrument = SimulatedInstrument(LISTING, 1, FAIR)
    for time in range(1, 5):
        events = instrument.evolve(time, FAIR * 1.01)
    ask = instrument.book.asks.best_price()
    assert ask is not None
    assert ask > FAIR * 1.01
    for time in range(5, 50):
        events = instrument.evolve(time, FAIR * 1.01)
    assert any(isinstance(event, BookChange) for event in events)
    assert len(instrument.book.asks) >= 200
    bid = instrument.book.bids.best_price()
    assert bid is not None
    assert bid > FAIR * 1.009


def test_prices_near_zero_stay_above_it() -> None:
    instrument = SimulatedInstrument(LISTING, 1, 3.0)
    for time in range(200):
        instrument.evolve(time, 2.5)
    assert all(price > 0 for price, _ in instrument.book.bids)
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
