from __future__ import annotations

from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from stream_processors.processing.number_ranges import NumberRanges


@given(st.lists(st.integers(0, 40), max_size=60), st.booleans())
def test_it_is_a_set_and_its_pairs_are_its_whole_state(numbers: list[int], join: bool) -> None:
    ranges, expected = NumberRanges(most=100, join=join), set[int]()
    for number in numbers:
        assert ranges.add(number) == (number not in expected)
        expected.add(number)
        ranges = NumberRanges(ranges.pairs, most=100, join=join)
        assert {n for n in range(-2, 50) if n in ranges} == expected
    assert all(lower[1] + 1 < upper[0] for lower, upper in pairwise(ranges.pairs))


def test_beyond_the_bound_the_lowest_ranges_are_joined_or_the_lowest_goes() -> None:
    joined, cut = NumberRanges(most=2, join=True), NumberRanges(most=2)
    for number in (1, 5, 9):
        joined.add(number)
        cut.add(number)
    assert joined.pairs == [(1, 5), (9, 9)]
    assert cut.pairs == [(5, 5), (9, 9)]
