"""Wall-clock time that never runs back, for judging ages of data and for timers alike."""

from __future__ import annotations

import time
from collections.abc import Callable


class Clock:
    """Nanoseconds since the Unix epoch, UTC; call it for the time.

    It follows the machine's wall clock, forwards at once. When that is set back, this clock neither runs back nor
    stands still (ages and timers would stop with it): it goes on at nine tenths of its pace until the wall clock has
    caught up. Meanwhile it is ahead, so that ages are told too large rather than too small.

    Args:
        wall: the machine's wall clock, nanoseconds since the Unix epoch.
        steady: nanoseconds since any moment, never set.
    """

    __slots__ = ("_latest", "_steady", "_steady_at", "_wall")

    def __init__(self, wall: Callable[[], int] = time.time_ns, steady: Callable[[], int] = time.monotonic_ns) -> None:
        self._wall = wall
        self._steady = steady
        self._latest = wall()
        self._steady_at = steady()

    def __call__(self) -> int:
        """Return the time: not before the time returned last."""
        steady = self._steady()
        passed = steady - self._steady_at
        self._steady_at = steady
        self._latest = max(self._wall(), self._latest + passed * 9 // 10)
        return self._latest
