from __future__ import annotations

import math

from hypothesis import given
from hypothesis import strategies as st

from gateway.health.latencies import Latencies, bucket_of, upper_end

VALUES = st.integers(-(10**12), 10**12)


@given(VALUES, VALUES)
def test_buckets_keep_the_order_and_are_narrow(first: int, second: int) -> None:
    assert (bucket_of(first) <= bucket_of(second)) == (first <= second or bucket_of(first) == bucket_of(second))
    assert first <= upper_end(bucket_of(first)) <= first + abs(first) / 16
    assert bucket_of(upper_end(bucket_of(first))) == bucket_of(first)


@given(st.lists(VALUES, min_size=1, max_size=200))
def test_percentiles_are_close_to_the_exact_ones(values: list[int]) -> None:
    latencies = Latencies()
    for value in values:
        latencies.note(value, 7)
    found = latencies.percentiles(7)
    assert found is not None
    assert (found.count, found.max) == (len(values), max(values))
    ordered = sorted(values)
    for share, percentile in ((0.5, found.p50), (0.9, found.p90), (0.99, found.p99)):
        exact = ordered[max(math.ceil(len(ordered) * share) - 1, 0)]
        assert exact <= percentile <= exact + abs(exact) / 16


def test_the_last_minute_counts() -> None:
    latencies = Latencies()
    for second in range(200):
        latencies.note(second, second)
    found = latencies.percentiles(199)
    assert found is not None
    assert (found.count, found.max) == (60, 199)
    assert latencies.percentiles(400) is None
    assert Latencies().percentiles(0) is None
