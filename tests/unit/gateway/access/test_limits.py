from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.access.limits import (
    FORGET_FAILURES,
    FREE_FAILURES,
    LONGEST_PAUSE,
    MAX_TRACKED,
    Buckets,
    Connections,
    FailedAttempts,
)


def test_a_bucket_grants_its_burst_then_its_rate() -> None:
    buckets: Buckets[str] = Buckets(rate=2, burst=3)
    assert [buckets.spend("a", 0.0).granted for _ in range(4)] == [True, True, True, False]
    refused = buckets.spend("a", 0.0)
    assert (refused.limit, refused.remaining, refused.reset) == (3, 0, 1.5)
    assert refused.retry_after == pytest.approx(0.5)
    assert not buckets.spend("a", 0.49).granted
    assert buckets.spend("a", 0.5).granted


def test_owners_do_not_share() -> None:
    buckets: Buckets[str] = Buckets(rate=1, burst=1)
    assert buckets.spend("a", 0).granted
    assert buckets.spend("b", 0).granted
    assert not buckets.spend("a", 0).granted


@given(st.floats(0.1, 1000), st.integers(1, 50), st.lists(st.floats(0, 5), max_size=200))
def test_no_window_holds_more_than_burst_and_rate_allow(rate: float, burst: int, pauses: list[float]) -> None:
    buckets: Buckets[str] = Buckets(rate, burst)
    now, granted = 0.0, 0
    for pause in pauses:
        now += pause
        allowance = buckets.spend("a", now)
        granted += allowance.granted
        assert granted <= burst + rate * now + 1e-6
        assert allowance.granted or allowance.retry_after > 0
        if not allowance.granted:
            assert buckets.spend("a", now + allowance.retry_after + 1e-6).granted
            granted, now = granted + 1, now + allowance.retry_after + 1e-6


def test_a_clock_that_goes_back_gives_nothing() -> None:
    buckets: Buckets[str] = Buckets(rate=1, burst=1)
    assert buckets.spend("a", 100).granted
    assert not buckets.spend("a", 50).granted


def test_memory_is_bounded() -> None:
    buckets: Buckets[int] = Buckets(rate=1, burst=1)
    failures = FailedAttempts()
    for number in range(MAX_TRACKED + 10):
        buckets.spend(number, 0)
        failures.failed(str(number), 0)
    assert len(buckets._levels) == len(failures._failures) == MAX_TRACKED


def test_connections_are_counted_for_each_owner() -> None:
    connections: Connections[str] = Connections(2)
    for _ in range(2):
        assert not connections.full("a")
        connections.opened("a")
    assert connections.full("a")
    assert not connections.full("b")
    connections.closed("a")
    assert not connections.full("a")
    connections.closed("a")
    assert not connections._open


def test_failures_cost_a_pause_that_doubles() -> None:
    failures = FailedAttempts()
    pauses = [failures.failed("a", 0) for _ in range(FREE_FAILURES + 9)]
    assert pauses[:FREE_FAILURES] == [0] * FREE_FAILURES
    assert pauses[FREE_FAILURES:] == [1, 2, 4, 8, 16, 32, LONGEST_PAUSE, LONGEST_PAUSE, LONGEST_PAUSE]
    assert failures.pause("a", 10) == LONGEST_PAUSE - 10
    assert failures.pause("b", 10) == 0


def test_old_failures_are_forgotten() -> None:
    failures = FailedAttempts()
    for _ in range(20):
        failures.failed("a", 0)
    assert failures.failed("a", FORGET_FAILURES + 1) == 0
