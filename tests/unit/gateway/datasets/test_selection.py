from __future__ import annotations

import base64

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from alphapulse.errors import RequestRefused
from gateway.datasets.selection import Selection, continued, cursor_of, selected

NUMBERS = st.integers(0, 2**63 - 1)
KEYS = st.tuples(NUMBERS, st.text(max_size=20), st.text(max_size=20))


@given(st.none() | NUMBERS, st.none() | NUMBERS, st.sampled_from(["asc", "desc"]), KEYS)
def test_a_cursor_continues_its_own_request(begin: int | None, end: int | None, order: str, key: tuple) -> None:  # type: ignore[type-arg]
    made = Selection(begin, end, order, {"venue": "kraken", "interval": 60}, key)  # type: ignore[arg-type]
    given_again = Selection(None, None, order, {"interval": 60, "venue": "kraken"})  # type: ignore[arg-type]
    assert continued("trades", cursor_of("trades", made), given_again) == made


@pytest.mark.parametrize(
    "given_again",
    [
        Selection(order="asc", filters={"venue": "kraken"}),
        Selection(filters={"venue": "coinbase"}),
        Selection(),
        Selection(begin=2, filters={"venue": "kraken"}),
        Selection(end=8, filters={"venue": "kraken"}),
    ],
)
def test_a_cursor_of_another_request_is_refused(given_again: Selection) -> None:
    cursor = cursor_of("trades", Selection(1, 9, "desc", {"venue": "kraken"}, (5, "a")))
    with pytest.raises(RequestRefused) as refused:
        continued("trades", cursor, given_again)
    assert refused.value.code == "bad_cursor"
    with pytest.raises(RequestRefused):
        continued("events", cursor, Selection(filters={"venue": "kraken"}))


@given(st.text(max_size=60) | st.recursive(st.none() | st.integers() | st.text(), st.lists).map(str))
def test_what_is_no_cursor_is_refused(text: str) -> None:
    for cursor in (text, base64.urlsafe_b64encode(text.encode()).decode()):
        with pytest.raises(RequestRefused) as refused:
            continued("trades", cursor, Selection())
        assert refused.value.code == "bad_cursor"


@pytest.mark.parametrize(
    "fields",
    [
        ["trades", 0, 1, "up", {}, None],
        ["trades", "0", 1, "asc", {}, None],
        ["trades", 0, 1, "asc", {"venue": [1]}, None],
        ["trades", 0, 1, "asc", {}, []],
        ["trades", 0, 1, "asc", {}, ["1"]],
        ["trades", 0, 1, "asc", {}, [1, {}]],
        ["trades", 0, 1, "asc", {}, [2**63]],
    ],
)
def test_a_forged_cursor_is_refused(fields: list[object]) -> None:
    cursor = base64.urlsafe_b64encode(orjson.dumps(fields)).decode().rstrip("=")
    with pytest.raises(RequestRefused):
        continued("trades", cursor, Selection(order="asc"))


def test_the_range_is_half_open() -> None:
    selection = selected("1", "3", "asc", {"venue": None})
    assert selection.filters == {}
    assert [selection.has((time,)) for time in (999, 1000, 2999, 3000)] == [False, True, True, False]
    with pytest.raises(RequestRefused, match="must not be before from"):
        selected("3", "1", "asc", {})


@given(st.lists(KEYS, unique=True), st.integers(0, 20), st.sampled_from(["asc", "desc"]))
def test_pages_cut_at_a_key_have_each_row_once(keys: list[tuple], index: int, order: str) -> None:  # type: ignore[type-arg]
    everything = sorted(keys, reverse=order == "desc")
    if index >= len(everything):
        return
    rest = Selection(order=order).after(everything[index])  # type: ignore[arg-type]
    assert [key for key in everything if rest.has(key)] == everything[index + 1 :]
