from __future__ import annotations

import random

from producers.net.backoff import Backoff, Pace


def test_with_a_least_part_the_pauses_really_grow() -> None:
    backoff = Backoff(base=2.0, cap=600.0, chance=random.Random(1), least=0.5)
    pauses = [backoff.next() for _ in range(12)]
    assert all(2.0**n <= pause <= 2.0 ** (n + 1) for n, pause in enumerate(pauses[:8]))
    assert all(300 <= pause <= 600 for pause in pauses[10:])


def test_delays_grow_to_the_cap_and_are_spread_over_the_whole_range() -> None:
    backoff = Backoff(base=1.0, cap=8.0, chance=random.Random(7))
    delays = [backoff.next() for _ in range(2000)]
    for delay, ceiling in zip(delays, (1, 2, 4, 8, 8, 8), strict=False):
        assert 0 <= delay <= ceiling
    assert max(delays) <= 8
    assert min(delays[10:]) < 0.1
    assert max(delays[10:]) > 7.9


def test_reset_starts_over() -> None:
    backoff = Backoff(base=1.0, cap=1e9)
    for _ in range(20):
        backoff.next()
    assert backoff.failures == 20
    backoff.reset()
    assert backoff.next() <= 1.0


def test_repairs_are_free_at_first_then_ever_further_apart() -> None:
    pace = Pace(free=3, window=60.0, cap=30.0)
    assert [pace.delay(0.0) for _ in range(12)] == [0, 0, 0, 0.5, 1, 2, 4, 8, 16, 30, 30, 30]


def test_repairs_long_ago_do_not_count() -> None:
    pace = Pace(free=1, window=60.0)
    assert [pace.delay(now) for now in (0.0, 1.0, 100.0)] == [0.0, 0.5, 0.0]


def test_pauses_grow_to_the_bound_and_stay_there_while_nothing_helps() -> None:
    """Each repair is followed by the next fault half a second later, for an hour."""
    pace = Pace(free=3, window=60.0, cap=120.0)
    now, delays = 0.0, []
    while now < 3600.0:
        delays.append(pace.delay(now))
        now += delays[-1] + 0.5
    assert delays == sorted(delays), "it does not forget"
    assert delays[-1] == 120.0
    assert len(delays) < 45


def test_what_was_good_for_long_is_repaired_at_once_again() -> None:
    pace = Pace(free=1, window=60.0, cap=120.0)
    delays = [pace.delay(0.0) for _ in range(20)]
    assert delays[-1] == 120.0
    assert pace.delay(120.0 + 60.0) == 120.0
    assert pace.delay(300.0 + 60.5) == 0.0


def test_repairs_without_number() -> None:
    pace = Pace()
    assert {pace.delay(0.0) for _ in range(5000)} == {0.0, 0.5, 1.0, 2.0, 4.0, 8.0, 16.0, 30.0}
