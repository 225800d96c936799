"""producers.simulator.fundamentals"""

from __future__ import annotations

import math
from itertools import pairwise
from statistics import fmean, pstdev

import pytest

from producers.simulator.fundamentals import STEP_NS, Fundamentals, Shock
from producers.simulator.liquidity import volatility

S = 1_000_000_000
SYMBOLS, VENUES = ["BTC-USD", "ETH-USD", "SOL-USD"], ["a", "b", "c"]


def walk(seed: int, seconds: int, step: int = STEP_NS) -> list[tuple[float, ...]]:
    prices = Fundamentals(SYMBOLS, VENUES, seed)
    return [tuple(prices.log_price(s, v, t) for s in SYMBOLS for v in VENUES) for t in range(0, seconds * S, step)]


def returns(seed: int, symbols: list[str], seconds: int, every: int) -> list[list[float]]:
    """Return the log returns of each symbol on the one venue there is, without those that a jump is part of."""
    prices = Fundamentals(SYMBOLS, ["a"], seed)
    found: list[list[float]] = [[] for _ in symbols]
    for second in range(0, seconds, every):
        before, shocks = [prices.log_price(symbol, "a", second * S) for symbol in symbols], len(prices.shocks)
        after = [prices.log_price(symbol, "a", (second + every) * S) for symbol in symbols]
        if len(prices.shocks) == shocks:
            for symbol_returns, a, b in zip(found, before, after, strict=True):
                symbol_returns.append(b - a)
    return found


def test_the_same_seed_gives_the_same_prices_however_they_are_asked_for() -> None:
    assert walk(1, 10) == walk(1, 10)
    assert walk(1, 10)[::50] == walk(1, 10, 50 * STEP_NS)
    assert walk(1, 10) != walk(2, 10)


def test_the_past_can_be_asked_for() -> None:
    prices = Fundamentals(SYMBOLS, VENUES, 1)
    early = prices.log_price("BTC-USD", "a", S)
    prices.log_price("BTC-USD", "a", 5 * S)
    assert prices.log_price("BTC-USD", "a", S) == early
    assert prices.log_price("BTC-USD", "a", -5) == 0.0


def test_volatility_is_the_symbols_own() -> None:
    for symbol in SYMBOLS:
        found = [value for seed in range(6) for value in returns(seed, [symbol], 1200, 10)[0]]
        assert 0.6 < pstdev(found) / (volatility(symbol) * math.sqrt(10)) < 1.4


def test_volatility_comes_in_clusters_of_minutes() -> None:
    together = []
    for seed in range(6):
        sizes = [math.sqrt(abs(value)) for value in returns(seed, ["BTC-USD"], 3600, 10)[0]]
        mean = fmean(sizes)
        # Half a minute apart; a walk of constant volatility would give 0.
        together.append(
            fmean((a - mean) * (b - mean) for a, b in zip(sizes, sizes[3:], strict=False)) / pstdev(sizes) ** 2
        )
    assert fmean(together) > 0.04


def test_a_price_stands_still_for_seconds_and_then_goes_some_basis_points() -> None:
    prices = Fundamentals(["BTC-USD"], ["a"], 4)
    path = [prices.log_price("BTC-USD", "a", step * STEP_NS) for step in range(20 * 600)]
    moves = [abs(b - a) for a, b in pairwise(path) if a != b]
    assert 100 < len(moves) < 1200
    assert 0.2e-4 < fmean(moves) < 2e-4


def test_symbols_move_together() -> None:
    products = []
    for seed in range(4):
        first, second = returns(seed, ["BTC-USD", "ETH-USD"], 1800, 30)
        products.append(fmean(a * b for a, b in zip(first, second, strict=True)) / (pstdev(first) * pstdev(second)))
    assert 0.4 < fmean(products) < 0.9


@pytest.mark.parametrize("seed", range(20))
def test_a_symbol_jumps_every_few_minutes_and_one_venue_misses_it(seed: int) -> None:
    prices = Fundamentals(SYMBOLS, VENUES, seed)
    for minute in range(31):
        prices.log_price("BTC-USD", "a", minute * 60 * S)
    shocks = prices.shocks
    assert 20 * S <= shocks[0].start_ns < 41 * S
    assert shocks[1].start_ns < 76 * S
    assert 8 <= len(shocks) <= 40  # 22 would be usual
    for shock in shocks:
        assert 0.6 * S <= shock.end_ns - shock.start_ns <= 2.8 * S
        assert 12 < abs(shock.size) / volatility(shock.symbol) < 22
        assert shock.laggard in VENUES


def test_a_laggard_knows_nothing_until_it_catches_up() -> None:
    shock = Shock("X", "a", 10 * S, 12 * S, 0.01)
    assert shock.missed(9 * S) == 0.0
    assert shock.missed(11 * S) == 1.0
    assert 0.0 < shock.missed(12 * S + 50_000_000) < 1.0
    assert shock.missed(13 * S) == 0.0


@pytest.mark.parametrize("seed", range(5))
def test_venues_differ_by_the_shock_while_it_lasts_and_agree_after(seed: int) -> None:
    prices = Fundamentals(SYMBOLS, VENUES, seed)
    prices.log_price("BTC-USD", "a", 41 * S)
    shock = prices.shocks[0]
    prices = Fundamentals(SYMBOLS, VENUES, seed)
    other = next(venue for venue in VENUES if venue != shock.laggard)

    def apart(time_ns: int) -> float:
        return prices.log_price(shock.symbol, other, time_ns) - prices.log_price(shock.symbol, shock.laggard, time_ns)

    assert apart(shock.start_ns - S // 10) == 0.0
    assert apart(shock.end_ns - 1) == pytest.approx(shock.size, rel=0.5)
    assert apart(shock.end_ns + S) == 0.0


def test_prices_stay_near_their_start() -> None:
    for seed in range(3):
        prices = Fundamentals(["BTC-USD"], ["a"], seed)
        log_prices = [prices.log_price("BTC-USD", "a", minute * 60 * S) for minute in range(4 * 60)]
        assert max(map(abs, log_prices)) < 0.05
