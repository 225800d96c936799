"""tests.market.crosses"""

from __future__ import annotations

import pytest

from tests.market.crosses import Crosses, lives_seconds

S = 1_000_000_000


def test_a_cross_lasts_until_either_side_has_moved() -> None:
    crosses = Crosses()
    crosses.quote("a", 0, 100.0, 101.0)
    crosses.quote("b", S, 101.0, 102.0)  # locked, not crossed
    crosses.quote("b", 2 * S, 101.5, 102.0)
    crosses.quote("a", 3 * S, 101.2, 101.4)  # still
    crosses.quote("b", 5 * S, 101.1, 102.0)
    crosses.finish(20 * S)
    assert crosses.share() == pytest.approx(3 / 20)
    assert crosses.first_ns == 2 * S
    assert crosses.per_minute() == pytest.approx(3)
    assert lives_seconds([crosses]) == [3.0]


def test_fees_of_both_venues_have_to_be_earned() -> None:
    crosses = Crosses({"a": 10.0, "b": 20.0})
    crosses.quote("a", 0, 99.0, 100.0)
    crosses.quote("b", 0, 100.29, 101.0)
    assert crosses.first_ns is None
    crosses.quote("b", S, 100.31, 101.0)
    assert crosses.first_ns == S


def test_two_crosses_at_a_time_are_two_but_count_once_in_the_share() -> None:
    crosses = Crosses()
    for venue, bid in (("a", 100.0), ("b", 102.0), ("c", 102.0)):
        crosses.quote(venue, 0, bid, bid + 1)
    crosses.quote("a", S, 102.0, 103.0)
    crosses.finish(2 * S)
    assert lives_seconds([crosses]) == [1.0, 1.0]
    assert crosses.share() == pytest.approx(0.5)
