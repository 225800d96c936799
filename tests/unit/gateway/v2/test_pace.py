from __future__ import annotations

from gateway.v2.pace import Pacer
from tests.fixtures.stream import ManualScheduler


class Paced:
    def __init__(self, tick: ManualScheduler) -> None:
        self.tick = tick
        self.flushed: list[int] = []

    def flush(self) -> None:
        self.flushed.append(self.tick.clock() // 1_000_000 % 10_000)


def test_ticks_are_multiples_of_the_wall_clock_and_only_while_something_waits() -> None:
    tick = ManualScheduler()
    pacer = Pacer(tick, tick.clock)
    one, other = Paced(tick), Paced(tick)
    tick.advance(0.123)
    pacer.wait(one, 250)
    pacer.wait(one, 250)
    pacer.wait(other, 250)
    pacer.wait(other, 1000)
    assert len(tick.pending) == 2, "one timer per interval"
    tick.advance(0.2)
    assert (one.flushed, other.flushed) == ([250], [250])
    tick.advance(2)
    assert other.flushed == [250, 1000]
    assert tick.pending == []
    pacer.wait(one, 250)
    tick.advance(0.25)
    assert one.flushed == [250, 2500]
