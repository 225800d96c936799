from __future__ import annotations

from itertools import pairwise

from producers.silence import LONGEST_SECONDS, SilenceWatch


def test_what_speaks_is_not_silent() -> None:
    watch = SilenceWatch(10.0)
    assert not any(watch.silent({"A": second}, second) for second in range(100))


def test_one_that_falls_silent_is_named_the_others_are_not() -> None:
    watch = SilenceWatch(10.0)
    for second in range(10):
        assert watch.silent({"A": 7, "B": second}, second) == {}
    assert watch.silent({"A": 7, "B": 10}, 10) == {"A": 10.0}
    assert watch.silent({"A": 7, "B": 11}, 11) == {}, "it has just been asked for"


def test_a_market_in_which_nothing_happens_is_asked_for_ever_more_rarely() -> None:
    watch = SilenceWatch(10.0)
    asked = []
    activity = 0
    for second in range(20_000):
        if watch.silent({"A": activity}, second):
            asked.append(second)
            activity += 1  # the snapshot that answers
    gaps = [late - early for early, late in pairwise(asked)]
    assert asked[0] == 10
    assert gaps == sorted(gaps)
    assert 2 * 10 <= gaps[0] <= 2 * 10 + 1
    assert gaps[-1] <= LONGEST_SECONDS + 1


def test_one_that_speaks_again_gets_the_old_patience() -> None:
    watch = SilenceWatch(10.0)
    watch.silent({"A": 1}, 0)
    assert watch.silent({"A": 1}, 10)
    watch.silent({"A": 2}, 11)  # the answer
    watch.silent({"A": 3}, 12)  # and more
    assert watch.silent({"A": 3}, 22) == {"A": 10.0}


def test_time_in_which_nothing_could_be_heard_does_not_count() -> None:
    watch = SilenceWatch(10.0)
    watch.silent({"A": 1}, 0)
    assert watch.silent({"A": 1}, 9, listening=False) == {}
    assert watch.silent({"A": 1}, 15) == {}
    assert watch.silent({"A": 1}, 19) == {"A": 10.0}


def test_a_symbol_given_up_is_forgotten() -> None:
    watch = SilenceWatch(10.0)
    watch.silent({"A": 1}, 0)
    watch.silent({}, 5)
    assert watch.silent({"A": 1}, 20) == {}
