from __future__ import annotations

from stream_processors.processing.stream_clock import BACKWARD_STEP_NS, StreamClock


def test_between_records_time_goes_by_as_it_does_here() -> None:
    clock = StreamClock()
    assert clock.observe(1_000, now=50)
    assert clock.at(50) == 1_000
    assert clock.at(80) == 1_030
    assert clock.at(40) == 1_000


def test_an_overtaken_record_does_not_set_it_back() -> None:
    clock = StreamClock()
    clock.observe(10 * BACKWARD_STEP_NS, now=0)
    assert clock.observe(9 * BACKWARD_STEP_NS + 1, now=5)
    assert clock.latest == 10 * BACKWARD_STEP_NS


def test_a_collectors_clock_that_was_set_back_sets_it_back() -> None:
    clock = StreamClock()
    clock.observe(10 * BACKWARD_STEP_NS, now=0)
    assert not clock.observe(9 * BACKWARD_STEP_NS, now=5)
    assert clock.latest == 9 * BACKWARD_STEP_NS
    assert clock.at(6) == 9 * BACKWARD_STEP_NS + 1


def test_advance_never_goes_back() -> None:
    clock = StreamClock()
    clock.advance(10 * BACKWARD_STEP_NS, now=0)
    clock.advance(1, now=5)
    assert clock.at(7) == 10 * BACKWARD_STEP_NS + 7


def test_it_tells_when_a_time_will_come() -> None:
    clock = StreamClock()
    clock.observe(1_000, now=50)
    assert clock.when(1_030) == 80
    assert clock.at(clock.when(1_030)) == 1_030
    assert clock.when(900) == 50  # it has come
