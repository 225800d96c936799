"""tests.market.statistics: figures of books and trades whose statistics are known."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator

import pytest

from schemas.records import L2Update, Side, Trade
from tests.market.statistics import Figures, InstrumentStatistics

S = 1_000_000_000
START = 1_700_000_000 * S
Price = Callable[[int], int]
"""Best bid by the number of the tenth of a second."""


def book(time: int, bid: int, *, first: bool = False, before: int = 0, spread: int = 2, sequence: int = 0) -> L2Update:
    """Return ten levels a side, one tick apart: a snapshot, or the change from those with best bid ``before``."""
    sides = []
    for best, old, sign in ((bid, before, -1), (bid + spread, before + spread, +1)):
        levels = {best + sign * place: 10 * (place + 1) for place in range(10)}
        gone = {} if first else {old + sign * place: 0 for place in range(10) if old + sign * place not in levels}
        sides.append({**gone, **levels})
    return L2Update(
        venue="v",
        symbol="A-B",
        kind="SNAPSHOT" if first else "DELTA",
        epoch=START,
        sequence=sequence,
        exchange_time=time,
        received_time=time,
        price_exponent=-2,
        size_exponent=0,
        bid_prices=list(sides[0]),
        bid_sizes=list(sides[0].values()),
        ask_prices=list(sides[1]),
        ask_sizes=list(sides[1].values()),
    )


def books(price: Price, seconds: int, spread: int = 2) -> Iterator[L2Update]:
    before = price(0)
    yield book(START, before, first=True, spread=spread)
    for number in range(1, 10 * seconds):
        bid = price(number)
        yield book(START + number * S // 10, bid, before=before, sequence=number, spread=spread)
        before = bid


def figures(price: Price, seconds: int, spread: int = 2) -> Figures:
    found = InstrumentStatistics("v", "A-B")
    for record in books(price, seconds, spread):
        found.take(record)
    found.finish(START + seconds * S)
    return found.figures()


def trade(time: int, side: Side, price: int, size: int = 10, exponent: int = -2) -> Trade:
    return Trade(
        venue="v",
        symbol="A-B",
        trade_id=str(time),
        side=side,
        price=price,
        size=size,
        price_exponent=exponent,
        size_exponent=0,
        exchange_time=time,
        received_time=time,
    )


def test_a_still_book() -> None:
    found = figures(lambda _: 999_999, 100)
    assert found["seconds"] == 100
    assert found["updates"] == pytest.approx(10, rel=0.01)
    assert (found["return_1s"], found["still_1s"], found["still_100ms"]) == (0, 1, 1)
    assert found["kurtosis_1s"] is None  # there is none
    assert found["spread_ticks"] == 2
    assert found["spread"] == pytest.approx(0.02)
    assert found["tick"] == pytest.approx(0.01)
    assert found["crossed"] == 0
    assert (found["levels"], found["levels_range"]) == (20, 0)
    assert found["distance_1"] == 0
    assert found["distance_10"] == pytest.approx(0.09)
    assert found["distance_20"] is None
    assert found["hole"] == pytest.approx(0.01)
    assert found["size_1_1"] == pytest.approx(10 / 55)
    assert found["size_2_5"] == pytest.approx(35 / 55)
    assert found["size_11_20"] is None
    assert found["trades"] == 0
    assert found["buys"] is None


def test_a_random_walk() -> None:
    chance = random.Random(1)
    path = [1_000_000]
    for _ in range(6000):
        path.append(path[-1] + chance.choice((-10, 10)))  # 0.1 bp a tenth of a second
    found = figures(lambda number: path[number], 600)
    assert found["return_1s"] == pytest.approx(0.1 * 10**0.5, rel=0.1)
    assert found["return_1min"] == pytest.approx(0.1 * 600**0.5 * 0.8, rel=0.35)
    assert abs(found["kurtosis_1s"] or 9) < 1
    assert abs(found["clustering_1s"] or 9) < 0.15
    assert found["still_100ms"] == 0


def test_a_square_wave_is_no_market() -> None:
    """What the simulation was once: a jump of a per cent every ten seconds."""
    found = figures(lambda number: 1_010_000 if number // 100 % 2 else 1_000_000, 300)
    assert (found["return_1s"] or 0) > 20
    assert found["return_1s_max"] == pytest.approx(99.5, rel=0.01)
    assert (found["clustering_1s"] or 0) < 0


def test_volatility_that_comes_in_minutes_is_clustered() -> None:
    chance = random.Random(1)
    path = [1_000_000]
    for number in range(12_000):
        step = 20 if number // 600 % 2 else 2
        path.append(path[-1] + chance.choice((-step, step)))
    found = figures(lambda number: path[number], 1200)
    assert (found["clustering_1s"] or 0) > 0.2
    assert (found["clustering_long"] or 0) > 0.1


def test_a_crossed_book_is_counted() -> None:
    assert figures(lambda _: 1_000_000, 10, spread=0)["crossed"] == 1


def test_orders_meet_the_book_shown_before() -> None:
    found = InstrumentStatistics("v", "A-B")
    found.take(book(START, 1_000_000, first=True))
    buys = [1_000_002] * 6 + [1_000_001] * 3 + [1_000_003] * 2  # at the best, within the spread, beyond
    sells = [10_000_000] * 6 + [10_000_010] * 3  # with one decimal more
    for number, price in enumerate(buys):
        found.take(trade(START + (number + 1) * S, "BUY", price))
    for number, price in enumerate(sells):
        found.take(trade(START + (number + 15) * S, "SELL", price, exponent=-3))
    # One order that meets two levels.
    for price in (1_000_002, 1_000_003):
        found.take(trade(START + 30 * S, "BUY", price))
    found.finish(START + 30 * S)
    got = found.figures()
    assert got["trades"] == pytest.approx(22 / 30)
    assert got["orders"] == pytest.approx(21 / 30)
    assert got["at_touch"] == pytest.approx(13 / 21)
    assert got["inside"] == pytest.approx(6 / 21)
    assert got["through"] == pytest.approx(2 / 21)
    assert got["deep"] == pytest.approx(1 / 21)
    assert got["buys"] == pytest.approx(13 / 22)
    assert got["bursts"] == pytest.approx(1 / 21)
    assert got["trade_size_mean"] == 1
    assert got["trade_sizes_round"] == 1
    assert got["dispersion"] is None  # too few


def test_sizes_and_bursts_of_trades() -> None:
    found = InstrumentStatistics("v", "A-B")
    found.take(book(START, 1_000_000, first=True))
    for number in range(200):  # ten at a time, twenty times in 100 s
        time = START + number // 10 * 5 * S + number % 10 * 1000
        found.take(trade(time, "BUY" if number % 2 else "SELL", 1_000_000, size=1234 if number % 2 else 617))
    found.finish(START + 100 * S)
    got = found.figures()
    assert got["buy_size"] == 2
    assert got["trade_sizes_round"] == 0
    assert got["bursts"] == pytest.approx(180 / 199)
    assert got["dispersion"] == pytest.approx(8)
    assert got["same_side"] == 0


def test_a_lost_record_leaves_no_book_and_no_samples() -> None:
    found = InstrumentStatistics("v", "A-B")
    found.take(book(START, 1_000_000, first=True))
    found.take(book(START + S, 1_000_000, before=1_000_000, sequence=2))
    found.take(trade(START + S, "BUY", 1_000_002))
    found.finish(START + 10 * S)
    assert found.figures()["levels"] == 20
    assert found.figures()["trades"] == 0
    assert found.figures()["still_100ms"] == 1
