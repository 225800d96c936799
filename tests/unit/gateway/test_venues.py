from __future__ import annotations

from gateway.venues import KEPT_SECONDS, SILENT_AFTER, Rate, VenueActivity
from tests.fixtures.market import SECOND, START


def add(rate: Rate, count: int, second: int, width: int = 1) -> None:
    rate.add(count, START + second * SECOND, START + (second + width) * SECOND)


def test_rate_is_the_mean_of_the_seconds_whose_windows_have_come() -> None:
    rate = Rate(seconds=5)
    for second in range(10):
        add(rate, 10 * second, second)
    assert rate.per_second(START + 11 * SECOND) == (50 + 60 + 70 + 80 + 90) / 5
    assert rate.per_second(START + 10 * SECOND) == (40 + 50 + 60 + 70 + 80) / 5, "the newest may not be complete"


def test_rate_at_first_is_over_the_seconds_there_have_been() -> None:
    rate = Rate(seconds=5)
    assert rate.per_second(START) == 0
    add(rate, 30, 0)
    assert rate.per_second(START + SECOND) == 0, "the second is not over for long enough"
    add(rate, 10, 1)
    assert rate.per_second(START + 3 * SECOND) == 20


def test_rate_falls_to_zero_when_nothing_comes() -> None:
    rate = Rate(seconds=5)
    add(rate, 30, 0)
    assert rate.per_second(START + 7 * SECOND) == 0


def test_windows_of_a_backlog_count_in_their_own_seconds() -> None:
    rate = Rate(seconds=5)
    for second in range(3600):  # read all at once, in an hour's worth of backlog
        add(rate, 10, second)
    assert rate.per_second(START + 3601 * SECOND) == 10
    add(rate, 1000, 3000)
    assert rate.per_second(START + 3601 * SECOND) == 10
    assert len(rate._counts) <= KEPT_SECONDS + 1


def test_late_windows_of_another_instrument_fill_their_second() -> None:
    rate = Rate(seconds=3)
    add(rate, 1, 0)
    add(rate, 1, 2)
    add(rate, 7, 1)
    add(rate, 3, 0)
    assert rate.per_second(START + 4 * SECOND) == (1 + 3 + 7 + 1) / 3


def test_long_windows_are_spread_over_their_seconds() -> None:
    rate = Rate(seconds=5)
    add(rate, 100, 0, width=10)
    assert rate.per_second(START + 20 * SECOND) == 10, "while the next window has not come"
    add(rate, 200, 10, width=10)
    assert rate.per_second(START + 25 * SECOND) == 20


def test_a_lost_connection_counts_until_something_comes() -> None:
    venue = VenueActivity()
    found = [venue.disconnected]
    venue.connection(connected=True, time=START)
    found.append(venue.disconnected)
    venue.connection(connected=False, time=START + SECOND)
    found.append(venue.disconnected)
    venue.heard(START + SECOND + 1)  # proves another connection
    found.append(venue.disconnected)
    assert found == [False, False, True, False]


def test_an_older_word_about_the_connection_does_not_count() -> None:
    venue = VenueActivity()
    venue.connection(connected=True, time=START + 5)
    venue.connection(connected=False, time=START)
    assert not venue.disconnected


def test_silence() -> None:
    venue = VenueActivity()
    assert venue.silent(START) is None
    venue.connection(connected=True, time=START)
    assert venue.silent(START + SILENT_AFTER) is False
    assert venue.silent(START + SILENT_AFTER + 1) is True
    venue.heard(START + SECOND)
    assert venue.silent(START + SILENT_AFTER + 1) is False
