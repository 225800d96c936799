"""producers.replay.pacing"""

from __future__ import annotations

import asyncio

import pytest

from producers.replay.pacing import Credit, Schedule

S = 1_000_000_000


def test_at_full_speed_all_is_due_now() -> None:
    schedule = Schedule(None)
    assert [schedule.due(t, 100.0) for t in (0, 5 * S, 3 * S)] == [100.0] * 3


def test_times_follow_from_the_first_frame_however_late_the_others_are() -> None:
    schedule = Schedule(2.0)
    assert schedule.due(1000 * S, 50.0) == 50.0
    assert schedule.due(1003 * S, 51.0) == 51.5
    assert schedule.due(1004 * S, 99.0) == 52.0
    assert schedule.due(None, 99.5) == 99.5


def test_a_hundred_thousand_frames_do_not_drift() -> None:
    schedule = Schedule(3.0)
    due = 0.0
    for number in range(100_001):
        due = schedule.due(1_723_161_253_937_085_768 + number * 333_333_333, 10.0)
    assert due == pytest.approx(10.0 + 100_000 * 0.333333333 / 3, abs=1e-6)


def test_two_threads_times_out_of_order_do_not_stretch_the_replay() -> None:
    schedule = Schedule(1.0)
    dues = [schedule.due(t * S, 0.0) for t in (10, 12, 11, 13, 12, 14)]
    assert dues == [0.0, 2.0, 2.0, 3.0, 3.0, 4.0]


def test_a_clock_set_back_goes_on_from_there() -> None:
    schedule = Schedule(1.0)
    assert [schedule.due(t * S, 0.0) for t in (1000, 1001, 10, 11)] == [0.0, 1.0, 1.0, 2.0]


def test_a_standstill_moves_all_that_comes() -> None:
    schedule = Schedule(1.0)
    schedule.held(7.0)
    assert schedule.due(5 * S, 20.0) == 20.0
    schedule.held(3.0)
    assert schedule.due(6 * S, 20.0) == 24.0


async def test_credit_lets_a_frame_go_while_any_is_left() -> None:
    credit = Credit(limited=True)
    waiting = asyncio.create_task(credit.wait(0))
    await asyncio.sleep(0)
    assert not waiting.done()
    credit.grant(1)
    await waiting
    assert credit.left(0)
    assert not credit.left(1)
    credit.grant(500)
    await credit.wait(499)


async def test_without_a_limit_nothing_waits() -> None:
    await Credit(limited=False).wait(10**12)
