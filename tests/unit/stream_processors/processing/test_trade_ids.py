from __future__ import annotations

import pytest

from stream_processors.processing import trade_ids
from stream_processors.processing.trade_ids import TradeIds, number_of


@pytest.mark.parametrize(
    ("text", "number"),
    [
        ("0", 0),
        ("12", 12),
        ("007", None),
        ("", None),
        ("-1", None),
        ("a1", None),
        ("٣", None),
        ("9" * 18, 10**18 - 1),
        ("9" * 19, None),
    ],
)
def test_number_of(text: str, number: int | None) -> None:
    assert number_of(text) == number


def test_numbers_in_a_row_are_one_range_whatever_their_order() -> None:
    ids = TradeIds()
    assert all(ids.add(str(number)) for number in (5, 7, 6, 4, 9, 8))
    assert ids.ranges == [(4, 9)]
    assert not any(ids.add(str(number)) for number in range(4, 10))
    assert ids.add("3")
    assert ids.add("10")
    assert ids.ranges == [(3, 10)]


def test_texts_and_numbers_do_not_meet() -> None:
    ids = TradeIds()
    assert ids.add("7")
    assert ids.add("007")
    assert not ids.add("007")
    assert ids.texts == ["007"]


def test_the_oldest_are_forgotten_at_the_bound(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(trade_ids, "MAX_RANGES", 2)
    monkeypatch.setattr(trade_ids, "MAX_TEXTS", 2)
    ids = TradeIds()
    for text in ("1", "3", "5", "a", "b", "c"):
        assert ids.add(text)
    assert ids.ranges == [(3, 3), (5, 5)]
    assert ids.texts == ["b", "c"]
    assert ids.add("a")


def test_it_can_be_made_again_from_its_parts() -> None:
    ids = TradeIds()
    for text in ("1", "2", "9", "x"):
        ids.add(text)
    again = TradeIds(ids.ranges, ids.texts)
    assert not any(again.add(text) for text in ("1", "2", "9", "x"))
    assert again.add("3")
