from __future__ import annotations

from producers.collector.held_frames import HOLD_SECONDS, HeldFrames


def test_nothing_held_back_is_all_done() -> None:
    held = HeldFrames()
    assert held.done(7, 0.0) == 7
    assert held.late_frame(7, 3) == 8


def test_frames_held_back_are_not_done_until_the_snapshot_comes() -> None:
    held = HeldFrames()
    held.track(1, 5, 100.0)
    held.track(4, 8, 101.0)
    assert held.done(8, 102.0) == 4
    assert held.done(3, 102.0) == 3
    assert held.late_frame(8, 0) == 5
    held.track(0, 9, 103.0)
    assert held.done(9, 103.0) == 9


def test_whoever_paces_the_venue_does_not_wait_for_ever() -> None:
    held = HeldFrames()
    held.track(1, 5, 100.0)
    assert held.done(8, 100.0 + HOLD_SECONDS) == 8
    # What was told to be done cannot become undone.
    assert held.late_frame(8, 8) == 9


def test_a_refused_snapshot_is_not_waited_for() -> None:
    held = HeldFrames()
    held.track(1, 5, 100.0)
    held.refused()
    assert held.done(8, 100.0) == 8
