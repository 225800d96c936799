"""The clock that never runs back."""

from __future__ import annotations

import time

from hypothesis import given
from hypothesis import strategies as st

from alphapulse.clock import Clock

SECOND = 1_000_000_000


class Machine:
    """The clocks of a machine, and the one under test."""

    def __init__(self) -> None:
        self.wall = 1_790_000_000 * SECOND
        self.steady = 77 * SECOND
        self.clock = Clock(lambda: self.wall, lambda: self.steady)

    def pass_by(self, nanoseconds: int) -> None:
        self.wall += nanoseconds
        self.steady += nanoseconds


def test_it_is_the_wall_clock() -> None:
    machine = Machine()
    for step in (0, 1, SECOND, 3600 * SECOND):
        machine.pass_by(step)
        assert machine.clock() == machine.wall
    machine.wall += 9 * SECOND  # set forwards, or the machine slept
    assert machine.clock() == machine.wall


def test_the_machines_own_clocks_are_the_default() -> None:
    before = time.time_ns()
    assert before <= Clock()() <= time.time_ns()


def test_set_back_it_goes_on_at_a_slower_pace_until_the_wall_clock_has_caught_up() -> None:
    machine = Machine()
    began = machine.clock()
    machine.wall -= 2 * SECOND
    machine.pass_by(10 * SECOND)
    assert machine.clock() == began + 9 * SECOND
    machine.pass_by(10 * SECOND)
    assert machine.clock() == began + 18 * SECOND == machine.wall
    machine.pass_by(SECOND)
    assert machine.clock() == machine.wall


@given(st.lists(st.tuples(st.integers(0, 10 * SECOND), st.integers(-20 * SECOND, 20 * SECOND)), max_size=30))
def test_it_never_runs_back_nor_behind_the_wall_clock_nor_stands_still(steps: list[tuple[int, int]]) -> None:
    machine = Machine()
    latest = machine.clock()
    for passed, set_by in steps:
        machine.pass_by(passed)
        machine.wall += set_by
        told = machine.clock()
        assert told >= latest + passed * 9 // 10
        assert told >= machine.wall
        latest = told
