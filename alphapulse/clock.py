"""Monotonic wall-clock time, for ages of data and for timers."""

from __future__ import annotations

import time
from collections.abc import Callable


class Clock:
    """Callable that returns nanoseconds since the Unix epoch, UTC.

    It follows the machine's wall clock, forwards at once. When the wall clock is set back, this clock neither goes back
    nor stops (ages and timers would stop with it): it runs at nine tenths of its speed until the wall clock has caught
    up. Until then it is ahead, so that ages are overestimated rather than underestimated.

    Args:
        wall: the machine's wall clock, nanoseconds since the Unix epoch.
        steady: monotonic nanoseconds, from any origin.
    """

    __slots__ = ("_latest", "_steady", "_steady_at", "_wall")

    def __init__(self, wall: Callable[[], int] = time.time_ns, steady: Callable[[], int] = time.monotonic_ns) -> None:
        self._wall = wall
        self._steady = steady
        self._latest = wall()
        self._steady_at = steady()

    def __call__(self) -> int:
        """Return the time, never less than the previous one."""
        steady = self._steady()
        passed = steady - self._steady_at
        self._steady_at = steady
        self._latest = max(self._wall(), self._latest + passed * 9 // 10)
        return self._latest
