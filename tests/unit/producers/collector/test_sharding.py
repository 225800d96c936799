from __future__ import annotations

import pytest

from alphapulse.errors import ConfigError
from producers.collector.sharding import Change, change, check, split


def test_neighbours_are_dealt_out_in_turn() -> None:
    assert split(["A", "B", "C", "D", "E"], 2) == (("A", "D"), ("B", "E"), ("C",))
    assert split(["A", "B", "C"], 10, least=2) == (("A", "C"), ("B",))
    assert split([], 10) == ()


def test_nothing_changes_where_nothing_is_asked_for() -> None:
    assert change([["A", "B"], ["C"]], ["A", "B", "C"], 2) == Change()


def test_an_added_symbol_goes_where_most_room_is() -> None:
    assert change([["A", "B"], ["C"]], ["A", "B", "C", "D"], 3).added == {1: ("D",)}


def test_without_room_a_connection_is_opened() -> None:
    assert change([["A", "B"]], ["A", "B", "C"], 2).opened == (("C",),)


def test_a_connection_that_loses_all_is_closed_and_not_filled_again() -> None:
    plan = change([["A"], ["B"]], ["B", "C"], 2)
    assert plan == Change(removed={0: ("A",)}, added={1: ("C",)}, closed=(0,))


def test_too_many_symbols_are_refused_with_the_numbers() -> None:
    check("alpaca", ["A"] * 30, 30, 1)
    check("binance", ["A"] * 3000, 200, None)
    with pytest.raises(ConfigError, match=r"venues\.alpaca.symbols: 31 symbols, but the venue allows 30 symbols"):
        check("alpaca", ["A"] * 31, 30, 1)
    with pytest.raises(ConfigError, match="the venue allows 2 connections of 30 symbols"):
        check("alpaca", ["A"] * 61, 30, 2)
