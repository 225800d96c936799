"""Limits and shards: never above what is allowed, never less than what is possible."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from producers.collector.sharding import change, split
from producers.feed.venue import Limit
from producers.net.rate_limit import SlidingWindow

SYMBOLS = st.lists(st.integers(0, 60).map(lambda n: f"S{n}-USD"), unique=True, max_size=40)
LIMITS = st.builds(Limit, st.integers(1, 50), st.integers(1, 120))


@given(LIMITS, st.lists(st.tuples(st.integers(0, 200), st.integers(1, 50)), min_size=1, max_size=80))
def test_no_window_ever_holds_more_than_the_limit(limit: Limit, requests: list[tuple[int, int]]) -> None:
    """Times are whole seconds, so that sums are exact."""
    budget = SlidingWindow(limit)
    now = 0.0
    spent: list[tuple[float, float]] = []
    for pause, wanted in requests:
        weight = min(wanted, limit.amount)
        now += pause
        delay = budget.wait(now, weight)
        if delay:
            # A moment earlier it would have been too much: nobody waits in vain.
            early = now + delay - 0.5
            assert sum(w for t, w in spent if t + limit.seconds > early) + weight > limit.amount
        now += delay
        assert budget.wait(now, weight) == 0
        budget.spend(now, weight)
        spent.append((now, weight))
    for start, _ in spent:
        assert sum(w for t, w in spent if start <= t < start + limit.seconds) <= limit.amount


@given(LIMITS, st.integers(1, 200))
def test_whoever_asks_gets_it_within_the_time_the_limit_implies(limit: Limit, count: int) -> None:
    budget = SlidingWindow(limit)
    now = 0.0
    for _ in range(count):
        now += budget.wait(now)
        budget.spend(now)
    assert now == (count - 1) // limit.amount * limit.seconds


@given(SYMBOLS, st.integers(1, 12), st.integers(1, 6))
def test_shards_hold_every_symbol_once_and_none_too_many(symbols: list[str], capacity: int, least: int) -> None:
    parts = split(symbols, capacity, least)
    assert sorted(s for part in parts for s in part) == sorted(symbols)
    sizes = [len(part) for part in parts]
    assert all(0 < size <= capacity for size in sizes)
    assert not sizes or max(sizes) - min(sizes) <= 1
    assert len(parts) == min(max(-(-len(symbols) // capacity), least), len(symbols))


@given(SYMBOLS, SYMBOLS, st.integers(1, 12))
def test_a_change_moves_nothing_that_stays(before: list[str], after: list[str], capacity: int) -> None:
    current = split(before, capacity)
    plan = change(current, after, capacity)
    held = [
        [s for s in part if s not in plan.removed.get(index, ())] + list(plan.added.get(index, ()))
        for index, part in enumerate(current)
    ]
    for index, part in enumerate(current):
        assert set(part) & set(after) <= set(held[index]), "a symbol that stays stays where it is"
        assert (index in plan.closed) == (not held[index])
    everything = [s for part in [*held, *plan.opened] for s in part]
    assert sorted(everything) == sorted(after)
    assert all(len(part) <= capacity for part in [*held, *plan.opened])
    if plan.opened:
        assert all(len(part) in (0, capacity) for part in held), "room is used before a connection is opened"
