"""When frames are read too late, and when a venue's clock only makes it seem so."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from producers.collector.lateness import LOOKS, MINUTE_NS, MINUTES, FeedDelay, Lateness

SECOND = 1_000_000_000
START = 1_790_000_000 * SECOND
LIMIT = 2 * SECOND
BASE = 70_000_000
"""What a frame takes at best, clocks' difference included."""


def frame(at: int, delay: int = 0) -> tuple[int, int]:
    return START + at, START + at - BASE - delay


def usual(limit: int = LIMIT) -> Lateness:
    lateness = Lateness(limit)
    lateness.look(frame(0), 0)
    return lateness


def test_the_delay_is_what_exceeds_the_smallest_one_of_the_last_minutes() -> None:
    delay = FeedDelay()
    assert delay.excess(*frame(0, 5)) == 0
    assert delay.excess(*frame(1, 3)) == 0
    assert delay.excess(*frame(2, 10)) == 7
    assert delay.excess(*frame((MINUTES - 1) * MINUTE_NS, 10)) == 7
    assert delay.excess(*frame(MINUTES * MINUTE_NS, 10)) == 0
    delay.forget()
    assert delay.excess(*frame(MINUTES * MINUTE_NS, 99)) == 0


@given(st.lists(st.tuples(st.integers(0, MINUTE_NS), st.integers(0, SECOND)), min_size=1, max_size=50))
def test_the_smallest_is_that_of_all_whose_minute_counts(steps: list[tuple[int, int]]) -> None:
    delay, seen, at = FeedDelay(), list[tuple[int, int]](), START
    for passed, late in steps:
        at += passed
        seen.append((at // MINUTE_NS, late))
        expected = late - min(one for minute, one in seen if minute > at // MINUTE_NS - MINUTES)
        assert delay.excess(at, at - BASE - late) == expected


def test_a_large_delay_counts_only_while_bytes_wait() -> None:
    lateness = usual()
    assert not lateness.look(frame(SECOND, LIMIT + 1), 0)
    assert not lateness.look(frame(SECOND, LIMIT), 5_000)
    assert lateness.look(frame(SECOND, LIMIT + 1), 5_000)
    assert lateness.late


def test_it_has_caught_up_when_nothing_waits_and_frames_are_young() -> None:
    lateness = usual()
    lateness.look(frame(SECOND, 3 * LIMIT), 5_000)
    assert not lateness.look(frame(2 * SECOND, 2 * LIMIT), 100)
    assert not lateness.look(frame(2 * SECOND, 0), 100)
    assert not lateness.look(frame(2 * SECOND, 2 * LIMIT), 0)
    assert lateness.look(frame(2 * SECOND, LIMIT), 0)
    assert not lateness.late


def test_who_stood_still_is_late_until_a_young_frame_or_silence() -> None:
    lateness = usual()
    lateness.stood_still()
    assert lateness.late
    assert not lateness.look(None, 70)
    assert lateness.look(frame(9 * SECOND, 5), 0)
    lateness.stood_still()
    looks = 0
    while not lateness.look(None, 0):
        looks += 1
    assert looks == LOOKS - 1
    assert not lateness.late


def test_a_venues_clock_that_jumps_makes_nobody_late() -> None:
    lateness = usual()
    changed = [lateness.look(frame(second * SECOND, 60 * SECOND), 0) for second in range(1, 2 * LOOKS)]
    assert not any(changed)
    # It is the usual delay by now: a full socket says nothing.
    assert not lateness.look(frame(100 * SECOND, 60 * SECOND), 5_000)
    assert lateness.look(frame(101 * SECOND, 60 * SECOND + LIMIT + 1), 5_000)


def test_a_venues_clock_that_jumped_meanwhile_does_not_keep_it_late() -> None:
    lateness = usual()
    lateness.stood_still()
    looks = [lateness.look(frame(second * SECOND, 60 * SECOND), 0) for second in range(LOOKS)]
    assert looks == [False] * (LOOKS - 1) + [True]


def test_a_new_connection_begins_in_time_and_with_the_known_delay() -> None:
    lateness = usual()
    lateness.stood_still()
    lateness.begin()
    assert not lateness.late
    assert lateness.look(frame(SECOND, LIMIT + 1), 5_000)


def test_without_a_limit_nothing_is_late() -> None:
    lateness = usual(0)
    lateness.stood_still()
    assert not lateness.late
    assert not lateness.look(frame(SECOND, 3600 * SECOND), 5_000)
    assert not lateness.late


def test_a_venues_clock_that_stands_still_says_nothing() -> None:
    lateness = usual()
    _, exchange_time = frame(0)
    for second in range(1, 60):
        assert not lateness.look((START + second * SECOND, exchange_time), 100)
    assert not lateness.late
    assert lateness.look(frame(60 * SECOND, 3 * SECOND), 100), "it goes again, and frames are late by it"
    assert lateness.late
