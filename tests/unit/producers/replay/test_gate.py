"""producers.replay.gate"""

from __future__ import annotations

from producers.replay.gate import QUIET_SECONDS, Gate

A, B = ("book", "A"), ("trades", "B")
REFERENCE = ("instruments", "")


def test_frames_wait_until_all_of_the_recording_is_subscribed() -> None:
    gate = Gate({A, B})
    assert not gate.passes([A], [A, B], 0.0)  # nobody is there
    gate.connected()
    gate.subscribed([A], 1.0)
    assert not gate.passes([A], [A], 1.0)
    gate.subscribed([B, ("book", "B")], 1.5)
    assert gate.passes([A], [A, B], 1.5)


def test_a_client_that_wants_less_starts_it_by_being_quiet() -> None:
    gate = Gate({A, B})
    gate.connected()
    gate.subscribed([A], 10.0)
    assert not gate.passes([B], [A], 10.0 + QUIET_SECONDS - 0.01)
    assert gate.passes([B], [A], 10.0 + QUIET_SECONDS)
    assert gate.passes([B], [A], 10.0)


def test_a_client_that_wants_nothing_gets_nothing() -> None:
    gate = Gate({A})
    gate.connected()
    assert not gate.passes([A], [], 1e6)


def test_reference_data_goes_ahead_to_who_asked_for_it() -> None:
    gate = Gate({A})
    gate.connected()
    assert not gate.passes([REFERENCE], [], 0.0)
    gate.subscribed([REFERENCE], 0.0)
    assert gate.passes([REFERENCE], [REFERENCE], 0.0)
    assert not gate.passes([A], [REFERENCE], 0.0)


def test_what_a_lost_client_had_is_awaited_again() -> None:
    gate = Gate({A, B})
    gate.connected()
    gate.connected()
    gate.subscribed([A, B], 0.0)
    gate.lost([B, ("book", "B")])
    assert gate.awaited == {B}
    gate.subscribed([B], 1.0)
    assert gate.passes([A], [A, B], 1.0)


def test_without_any_client_all_is_awaited_again() -> None:
    gate = Gate({A, B})
    gate.connected()
    gate.subscribed([A, B], 0.0)
    gate.lost([])
    assert gate.awaited == {A, B}
    assert not gate.passes([A], [A, B], 100.0)
