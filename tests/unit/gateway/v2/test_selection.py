from __future__ import annotations

from fnmatch import fnmatchcase

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.v2.selection import FeedKey, Names, Selection


@pytest.mark.parametrize(
    ("given", "name", "expected"),
    [
        ("kraken", "kraken", True),
        ("kraken", "krakens", False),
        ("k*", "kraken", True),
        ("*n", "kraken", True),
        ("k*k*n", "kraken", True),
        ("*", "", True),
        ("K*", "kraken", False),
        ("BTC-*", "BTC-USD", True),
        ("BTC.*", "BTC-USD", False),
        (["a", "k*"], "kraken", True),
        (["a", "b"], "kraken", False),
    ],
)
def test_wildcards_stand_for_any_characters(given: str | list[str], name: str, expected: bool) -> None:
    assert Names.of(given).match(name) is expected


@given(st.text("ab*-", max_size=8), st.text("ab-", max_size=8))
def test_a_pattern_matches_as_in_a_shell(pattern: str, name: str) -> None:
    assert Names.of(pattern).match(name) is fnmatchcase(name, pattern)


def test_names_without_wildcard_are_told_apart() -> None:
    names = Names.of(["kraken", "b*", "kraken"])
    assert names.texts == ("kraken", "b*")
    assert (names.exact, names.open_ended, names.everything) == (("kraken",), True, False)
    assert names.names("kraken")
    assert not names.names("binance")
    assert Names.of("*").everything


def test_a_selection_has_venue_and_symbol_where_the_channel_has() -> None:
    book = Selection("book", Names.of("k*"), Names.of("BTC-USD"))
    assert book.open_ended
    assert book.match(FeedKey("book", "kraken", "BTC-USD"))
    assert not book.match(FeedKey("book", "coinbase", "BTC-USD"))
    assert not book.match(FeedKey("book", "kraken", "ETH-USD"))
    arbitrage = Selection("arbitrage", None, Names.of("BTC-USD"))
    assert arbitrage.match(FeedKey("arbitrage", None, "BTC-USD"))
    assert not arbitrage.open_ended
    status = Selection("status", Names.of("k*"), None)
    assert status.match(FeedKey("status", "kraken", None))
    assert not status.match(FeedKey("status", None, None)), "services are only in *"
    assert Selection("status", Names.of("*"), None).match(FeedKey("status", None, None))


def test_a_hostile_pattern_is_only_a_pattern() -> None:
    assert Names.of("*" * 64).match("AAVE-USDT")
    assert not Names.of(["*a" * 32, "a*" * 31 + "b"]).match("a" * 20 + "-USDT")
