"""Pace: feeds with an interval send at its multiples of the wall clock, and only if something is pending. Pure.

All gateways tick at the same moments, and feeds of the same interval share one timer, so that their messages share
one write per client.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final, Protocol

from gateway.fanout import Scheduler

_NS_PER_MS: Final = 1_000_000


class Paced(Protocol):
    """A feed that waits for a tick."""

    def flush(self) -> None:
        """Send what is pending."""
        ...


class Pacer:
    """Timers of all intervals.

    Args:
        schedule: runs the ticks.
        clock: nanoseconds since the Unix epoch.
    """

    def __init__(self, schedule: Scheduler, clock: Callable[[], int]) -> None:
        self._schedule = schedule
        self._clock = clock
        self._pending: dict[int, dict[Paced, None]] = {}

    def wait(self, feed: Paced, interval_ms: int) -> None:
        """Call ``feed.flush()`` at the next multiple of ``interval_ms``, once however often this is called before."""
        pending = self._pending.get(interval_ms)
        if pending is None:
            pending = self._pending[interval_ms] = {}
            width = interval_ms * _NS_PER_MS
            left = width - self._clock() % width
            self._schedule.later(left / 1e9, lambda: self._tick(interval_ms))
        pending[feed] = None

    def _tick(self, interval_ms: int) -> None:
        for feed in self._pending.pop(interval_ms):
            feed.flush()
