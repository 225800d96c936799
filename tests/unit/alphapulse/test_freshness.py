"""The freshness rule."""

from __future__ import annotations

import pytest

from alphapulse.freshness import Fault, book_age, book_fault, is_stale, stale_from

NOW = 1_790_000_000_000_000_000
MAX_AGE = 5_000_000_000


@pytest.mark.parametrize(
    ("valid", "age", "fault"),
    [
        (True, 0, None),
        (True, MAX_AGE, None),
        (True, MAX_AGE + 1, "stale"),
        (False, 0, "invalid"),
        (False, MAX_AGE + 1, "invalid"),
        (None, 0, "no_book"),
        (True, -MAX_AGE, None),
        (True, -MAX_AGE - 1, "stale"),
    ],
)
def test_a_book_is_good_while_it_is_valid_and_young(valid: bool | None, age: int, fault: Fault | None) -> None:
    assert book_fault(valid, NOW - age, NOW, MAX_AGE) == fault


def test_the_moment_told_is_the_first_at_which_a_book_is_stale() -> None:
    moment = stale_from(NOW, MAX_AGE)
    assert is_stale(NOW, moment, MAX_AGE)
    assert not is_stale(NOW, moment - 1, MAX_AGE)


def test_a_collector_whose_clock_is_a_little_ahead_makes_no_negative_age() -> None:
    assert book_age(NOW + 1, NOW) == 0
    assert book_age(NOW - 7, NOW) == 7
