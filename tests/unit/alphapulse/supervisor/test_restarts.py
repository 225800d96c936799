from __future__ import annotations

import pytest

from alphapulse.supervisor.restarts import LIMIT, PROVEN_SECONDS, WINDOW_SECONDS, RestartPolicy

LONG = PROVEN_SECONDS + 1


def test_the_first_death_needs_no_pause_and_each_further_one_doubles_it_up_to_the_limit() -> None:
    deaths = RestartPolicy()
    assert [deaths.died(now, 1.0, refused=False) for now in range(LIMIT)] == [0.0, 0.2, 0.4, 0.8, 1.6]
    assert deaths.died(LIMIT, 1.0, refused=False) is None


def test_deaths_of_long_ago_count_no_more() -> None:
    deaths = RestartPolicy()
    for now in range(LIMIT):
        deaths.died(now, LONG, refused=False)
    assert deaths.died(LIMIT + WINDOW_SECONDS, LONG, refused=False) == 0.0
    assert deaths.died(LIMIT + WINDOW_SECONDS + 30, LONG, refused=False) == 0.2
    for weeks in range(1, 20):
        assert deaths.died(weeks * 1e6, LONG, refused=False) == 0.0


@pytest.mark.parametrize("patient", [False, True])
def test_one_that_never_ran_and_refuses_is_not_started_again(patient: bool) -> None:
    assert RestartPolicy(patient=patient).died(0.0, 1.0, refused=True) is None
    deaths = RestartPolicy(patient=patient)
    assert deaths.died(0.0, 1.0, refused=False) == 0.0
    assert deaths.died(1.0, PROVEN_SECONDS - 0.1, refused=True) is None


def test_with_patience_one_that_has_run_is_started_again_as_often_as_it_refuses() -> None:
    deaths = RestartPolicy(patient=True)
    assert deaths.died(0.0, LONG, refused=False) == 0.0
    pauses = [deaths.died(float(now), 0.5, refused=True) for now in range(2000)]
    assert pauses[:7] == [0.0, 0.2, 0.4, 0.8, 1.6, 3.0, 3.0]
    assert set(pauses[7:]) == {3.0}
    # It has run again for a while.
    assert deaths.died(3000.0, LONG, refused=True) == 0.0
    # Its refusals were none of the deaths that may end it.
    assert deaths.died(3001.0, 1.0, refused=False) == 0.0


def test_without_patience_one_that_has_run_is_started_again_but_once() -> None:
    deaths = RestartPolicy()
    assert deaths.died(0.0, PROVEN_SECONDS, refused=True) == 0.0
    assert deaths.died(1.0, 1.0, refused=True) is None
