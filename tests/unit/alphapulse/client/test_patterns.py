"""Names with wildcards."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from alphapulse.client.patterns import intersect, matches

PATTERNS = st.text("ab*", max_size=6)


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


@given(PATTERNS, PATTERNS)
def test_patterns_that_intersect_have_a_common_name(one: str, other: str) -> None:
    # Filling each wildcard with what the other pattern is made of finds a name, if there is one.
    names = [""]
    for _ in range(len(one) + len(other)):
        names += [name + letter for name in names[-64:] for letter in "ab" if len(name) < 8]
    if any(matches(one, name) and matches(other, name) for name in names):
        assert intersect(one, other)
    if not intersect(one, other):
        assert not any(matches(one, name) and matches(other, name) for name in names)


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
