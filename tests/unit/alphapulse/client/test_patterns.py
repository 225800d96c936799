"""Names with wildcards."""

from __future__ import annotations

from itertools import product

import pytest
from hypothesis import given
from hypothesis import strategies as st

from alphapulse.client.patterns import intersect, matches

PATTERNS = st.text("ab*", max_size=6)
SHORT = st.text("ab*", max_size=3)
NAMES = ["".join(letters) for length in range(7) for letters in product("ab", repeat=length)]


@pytest.mark.parametrize(
    ("pattern", "name", "expected"),
    [
        ("BTC-USD", "BTC-USD", True),
        ("BTC-*", "BTC-USD", True),
        ("*", "", True),
        ("*-USD", "BTC-USDT", False),
        ("B.*", "BTC", False),
        ("*T*U*", "BTC-USD", True),
    ],
)
def test_matching(pattern: str, name: str, expected: bool) -> None:
    assert matches(pattern, name) is expected


@given(PATTERNS, PATTERNS, st.text("ab", max_size=6))
def test_patterns_with_a_common_name_intersect(one: str, other: str, name: str) -> None:
    if matches(one, name) and matches(other, name):
        assert intersect(one, other)
        assert intersect(other, one)


@given(SHORT, SHORT)
def test_patterns_that_intersect_have_a_common_name(one: str, other: str) -> None:
    # The shortest common name is no longer than both patterns together.
    assert intersect(one, other) is any(matches(one, name) and matches(other, name) for name in NAMES)


@pytest.mark.parametrize(
    ("one", "other", "expected"),
    [
        ("a*", "*b", True),
        ("a*c", "ab*", True),
        ("a*", "b*", False),
        ("*a", "*b", False),
        ("*", "", True),
        ("**", "a", True),
        ("ab", "ab", True),
        ("ab", "a", False),
        ("*x*", "y*z", True),
    ],
)
def test_intersection(one: str, other: str, expected: bool) -> None:
    assert intersect(one, other) is expected
    assert intersect(other, one) is expected
