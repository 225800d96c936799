from __future__ import annotations

from gateway.venues import STALE_AFTER, Rate, VenueActivity
from tests.fixtures.market import SECOND, START


def test_rate_is_the_mean_of_the_whole_seconds_before() -> None:
    rate = Rate(seconds=5)
    for second in range(10):
        rate.add(10 * second, START + second * SECOND)
    assert rate.per_second(START + 10 * SECOND) == (50 + 60 + 70 + 80 + 90) / 5


def test_rate_at_first_is_over_the_seconds_there_have_been() -> None:
    rate = Rate(seconds=5)
    assert rate.per_second(START) == 0
    rate.add(30, START)
    assert rate.per_second(START) == 0, "the second is not over"
    assert rate.per_second(START + 2 * SECOND) == 15


def test_rate_falls_to_zero_when_nothing_comes() -> None:
    rate = Rate(seconds=5)
    rate.add(30, START)
    assert rate.per_second(START + 6 * SECOND) == 0


def test_late_records_count_in_their_own_second_or_not_at_all() -> None:
    rate = Rate(seconds=3)
    rate.add(1, START)
    rate.add(1, START + SECOND)
    rate.add(5, START)
    assert rate.per_second(START + 2 * SECOND) == 7 / 2
    rate.add(1, START + 20 * SECOND)
    rate.add(100, START)
    assert rate.per_second(START + 21 * SECOND) == 1 / 3


def test_status_of_a_venue() -> None:
    venue = VenueActivity()
    assert venue.status(START) == "connecting"
    venue.connection(connected=True, time=START)
    assert venue.status(START + SECOND) == "connected"
    assert venue.status(START + STALE_AFTER + 1) == "stale"
    venue.heard(START + STALE_AFTER)
    assert venue.status(START + STALE_AFTER + 1) == "connected"
    venue.connection(connected=False, time=START + STALE_AFTER + SECOND)
    assert venue.status(START + STALE_AFTER + 2 * SECOND) == "disconnected"


def test_records_after_a_lost_connection_prove_another() -> None:
    venue = VenueActivity()
    venue.connection(connected=False, time=START)
    venue.heard(START + 1)
    assert venue.status(START + SECOND) == "connected"


def test_an_older_word_about_the_connection_does_not_count() -> None:
    venue = VenueActivity()
    venue.connection(connected=True, time=START + 5)
    venue.connection(connected=False, time=START)
    assert venue.status(START + SECOND) == "connected"
