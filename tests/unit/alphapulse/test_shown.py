from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from alphapulse.shown import MAX_SHOWN, shown


def nested(depth: int) -> list[Any]:
    found: list[Any] = []
    for _ in range(depth):
        found = [found]
    return found


@pytest.mark.parametrize("value", [None, 5, 1.5, True, "text", b"bytes", ["a", 1], {"id": [None], "op": "ping"}])
def test_short_values_are_shown_as_they_are(value: object) -> None:
    assert shown(value) == repr(value)


@pytest.mark.parametrize("depth", [10, 1_000, 100_000])
def test_depth_is_cut(depth: int) -> None:
    assert shown(nested(depth)) == "[[[[[...]]]]]"
    assert shown({"a": nested(depth)}) == "{'a': [[[[...]]]]}"


@pytest.mark.parametrize("value", ["x" * 10_000, b"x" * 10_000, ["x" * 10_000], list(range(10_000))])
def test_length_is_cut(value: object) -> None:
    assert 0 < len(shown(value)) <= MAX_SHOWN
    assert len(shown(value, 20)) <= 20


def test_a_number_of_thousands_of_digits_is_named() -> None:
    assert shown(10**10_000) == "int"


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text() | st.binary(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text() | st.integers(), inner),
)


@given(json_values)
def test_any_value_can_be_shown(value: object) -> None:
    assert 0 < len(shown(value)) <= MAX_SHOWN
