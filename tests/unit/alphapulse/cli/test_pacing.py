"""The pace of a replay."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from alphapulse.cli.pacing import Pacer

P0, P1 = ("md.l2", 0), ("md.trades", 3)


def test_credit_starts_with_the_window() -> None:
    assert Pacer(1000).credit == 1000


def test_a_mark_settles_when_every_group_has_committed_what_was_published_by_then() -> None:
    pacer = Pacer(1000)
    pacer.sent({"kraken": 10}, 700)
    pacer.published({"kraken": 10}, {P0: 5, P1: 2})
    pacer.committed({"a": {P0: 5, P1: 2}, "b": {P0: 4, P1: 2}})
    assert pacer.credit == 1000
    pacer.committed({"a": {P0: 5, P1: 2}, "b": {P0: 5, P1: 2}})
    assert pacer.credit == 1700


def test_a_mark_waits_for_every_collector() -> None:
    pacer = Pacer(1000)
    pacer.sent({"kraken": 10, "coinbase": 3}, 700)
    pacer.published({"kraken": 10, "coinbase": 2}, {P0: 5})
    pacer.committed({"a": {P0: 99}})
    assert pacer.credit == 1000


def test_the_logs_ends_are_those_of_the_moment_of_publication() -> None:
    """Later records raise the ends; they are another mark's."""
    pacer = Pacer(1000)
    pacer.sent({"kraken": 10}, 700)
    pacer.published({"kraken": 10}, {P0: 5})
    pacer.sent({"kraken": 20}, 900)
    pacer.published({"kraken": 12}, {P0: 6})
    pacer.committed({"a": {P0: 5}})
    assert pacer.settled_bytes == 700
    pacer.published({"kraken": 20}, {P0: 9})
    pacer.committed({"a": {P0: 8}})
    assert pacer.settled_bytes == 700
    pacer.committed({"a": {P0: 9}})
    assert pacer.settled_bytes == 900


def test_nothing_new_sets_no_mark() -> None:
    pacer = Pacer(1000)
    pacer.sent({"kraken": 0}, 0)
    pacer.committed({"a": {P0: 0}})
    assert pacer.credit == 1000


@pytest.mark.parametrize("window", [1, 64, 1000])
@given(steps=st.lists(st.tuples(st.integers(0, 50), st.integers(0, 50), st.integers(0, 50)), max_size=60))
def test_no_more_than_the_window_is_ever_under_way(window: int, steps: list[tuple[int, int, int]]) -> None:
    """A model pipeline: one byte and one record a frame; a stage moves by its step, never past the one before."""
    pacer = Pacer(window)
    sent = published = committed = 0
    for send, publish, commit in steps:
        sent = min(sent + send, pacer.credit)
        published = min(published + publish, sent)
        committed = min(committed + commit, published)
        assert sent - committed <= window
        pacer.sent({"c": sent}, sent)
        pacer.published({"c": published}, {P0: published})
        pacer.committed({"g": {P0: committed}})
        assert pacer.settled_bytes <= committed
    pacer.sent({"c": sent}, sent)
    pacer.published({"c": sent}, {P0: sent})
    pacer.committed({"g": {P0: sent}})
    assert pacer.settled_bytes == sent
