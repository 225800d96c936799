from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from producers.collector.watermark import HOLD_SECONDS, FrameWatermark, SnapshotWait


def test_frames_without_records_are_done_at_once() -> None:
    watermark = FrameWatermark()
    watermark.mark(7, 0)
    assert watermark.reach(0) == 7


def test_frames_are_done_when_their_records_are_acknowledged() -> None:
    watermark = FrameWatermark()
    watermark.mark(3, 2)
    watermark.mark(5, 4)
    watermark.mark(6, 4)
    assert [watermark.reach(records) for records in (0, 1, 2, 3, 4, 9)] == [0, 0, 3, 3, 6, 6]


@given(st.lists(st.tuples(st.integers(0, 3), st.integers(0, 3), st.integers(0, 3), st.booleans()), max_size=60))
def test_no_frame_is_done_before_its_records_and_all_are_in_the_end(
    steps: list[tuple[int, int, int, bool]],
) -> None:
    watermark, frames, records, acknowledged = FrameWatermark(), 0, 0, 0
    led_to: dict[int, int] = {0: 0}  # records that a number of frames had led to
    done = 0
    for silent, telling, confirmed, marked in steps:
        for _ in range(silent):
            frames += 1
            led_to[frames] = records
        for _ in range(telling):
            frames, records = frames + 1, records + 2
            led_to[frames] = records
        acknowledged = min(records, acknowledged + confirmed)
        if marked:
            watermark.mark(frames, records)
        before, done = done, watermark.reach(acknowledged)
        assert before <= done
        assert led_to[done] <= acknowledged
    watermark.mark(frames, records)
    assert watermark.reach(records) == frames


def test_frames_held_back_are_waited_for_until_the_snapshot_comes() -> None:
    wait = SnapshotWait()
    assert not wait.holds(0.0)
    wait.track(1, 100.0)
    wait.track(4, 109.0)
    assert wait.holds(100.0 + HOLD_SECONDS - 0.1)
    wait.track(0, 109.5)
    assert not wait.holds(109.5)


def test_whoever_paces_the_venue_does_not_wait_for_ever() -> None:
    wait = SnapshotWait()
    wait.track(1, 100.0)
    assert not wait.holds(100.0 + HOLD_SECONDS)


def test_a_refused_snapshot_is_not_waited_for() -> None:
    wait = SnapshotWait()
    wait.refused()
    assert not wait.holds(100.0)
    wait.track(1, 100.0)
    wait.refused()
    assert not wait.holds(100.0)
