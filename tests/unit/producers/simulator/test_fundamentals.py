"""producers.simulator.fundamentals"""

from __future__ import annotations

import pytest

from producers.simulator.fundamentals import STEP_NS, Fundamentals, Shock

S = 1_000_000_000
VENUES = ["a", "b", "c"]
SYMBOLS = ["X", "Y"]


def walk(seed: int, seconds: int, step: int = STEP_NS) -> list[tuple[float, ...]]:
    prices = Fundamentals(SYMBOLS, VENUES, seed)
    return [tuple(prices.log_price(s, v, t) for s in SYMBOLS for v in VENUES) for t in range(0, seconds * S, step)]


def test_the_same_seed_gives_the_same_prices_however_they_are_asked_for() -> None:
    assert walk(1, 10) == walk(1, 10)
    assert walk(1, 10)[::50] == walk(1, 10, 50 * STEP_NS)
    assert walk(1, 10) != walk(2, 10)


def test_the_past_can_be_asked_for() -> None:
    prices = Fundamentals(SYMBOLS, VENUES, 1)
    early = prices.log_price("X", "a", S)
    prices.log_price("X", "a", 2 * S)
    assert prices.log_price("X", "a", S) == early
    assert prices.log_price("X", "a", -5) == 0.0


@pytest.mark.parametrize("seed", range(20))
def test_shocks_come_early_and_often_and_one_venue_lags(seed: int) -> None:
    prices = Fundamentals(SYMBOLS, VENUES, seed)
    prices.log_price("X", "a", 60 * S)
    shocks = prices.shocks
    assert 3 * S <= shocks[0].start_ns < 8 * S
    assert 3 <= len(shocks) <= 12
    for shock in shocks:
        assert 0.5 * S <= shock.end_ns - shock.start_ns <= 3 * S
        assert abs(shock.size) > 0.009
        assert shock.laggard in VENUES


def test_a_laggard_knows_nothing_until_it_catches_up() -> None:
    shock = Shock("X", "a", 10 * S, 12 * S, 0.01)
    assert shock.withheld(9 * S) == 0.0
    assert shock.withheld(11 * S) == 0.01
    assert 0.0 < shock.withheld(12 * S + 50_000_000) < 0.01
    assert shock.withheld(13 * S) == 0.0


def test_venues_differ_by_the_shock_while_it_lasts_and_agree_after() -> None:
    prices = Fundamentals(SYMBOLS, VENUES, 3)
    prices.log_price("X", "a", 9 * S)
    shock = prices.shocks[0]
    prices = Fundamentals(SYMBOLS, VENUES, 3)
    other = next(venue for venue in VENUES if venue != shock.laggard)

    def apart(time_ns: int) -> float:
        return prices.log_price(shock.symbol, other, time_ns) - prices.log_price(shock.symbol, shock.laggard, time_ns)

    assert apart(shock.start_ns - S // 10) == 0.0
    assert apart((shock.start_ns + shock.end_ns) // 2) == pytest.approx(shock.size)
    assert apart(shock.end_ns + S) == 0.0


def test_prices_stay_near_their_start() -> None:
    prices = Fundamentals(["X"], ["a"], 5)
    log_prices = [prices.log_price("X", "a", second * S) for second in range(0, 600, 5)]
    assert max(map(abs, log_prices)) < 0.05
