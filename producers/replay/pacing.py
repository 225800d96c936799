"""When the next frame may go: by the recording's own times, and by the credit that the slowest consumer leaves."""

from __future__ import annotations

import asyncio

CLOCK_STEP_NS = 5_000_000_000
"""A recorded time this much before the last one is a clock set back, not the order of two threads."""


class Schedule:
    """The recorded times, ``speed`` times as fast, on a monotonic clock. Pure.

    Every frame's time follows from the first one's, so lateness never adds up. Where the recorded time runs
    backwards, frames follow at once until it is past its highest mark; a clock set back starts a new mark.

    Args:
        speed: None: no waiting at all.
    """

    def __init__(self, speed: float | None) -> None:
        self._speed = speed
        self._origin: float | None = None
        self._mark_ns = 0
        self._elapsed_ns = 0

    def due(self, received_ns: int | None, now: float) -> float:
        """Return when (monotonic seconds) the frame received at ``received_ns`` is to be sent; a past time: at once."""
        if self._speed is None or received_ns is None:
            return now
        if self._origin is None:
            self._origin, self._mark_ns = now, received_ns
        step = received_ns - self._mark_ns
        if step > 0:
            self._elapsed_ns += step
            self._mark_ns = received_ns
        elif step < -CLOCK_STEP_NS:
            self._mark_ns = received_ns
        return self._origin + self._elapsed_ns / 1e9 / self._speed

    def held(self, seconds: float) -> None:
        """Move all that comes by ``seconds``: the replay stood still meanwhile, so did the venue."""
        if self._origin is not None:
            self._origin += seconds


class Credit:
    """How many bytes of frames may be sent in all.

    A frame goes as soon as there is any credit left, so that a frame larger than the steps in which credit is given
    does not get stuck.

    Args:
        limited: False: as many as there are.
    """

    def __init__(self, *, limited: bool) -> None:
        self.limited = limited
        self.total = 0
        self._raised = asyncio.Event()

    def grant(self, total: int) -> None:
        """Allow ``total`` bytes since the start."""
        self.total = total
        self._raised.set()

    def left(self, sent: int) -> bool:
        """Return whether another frame may go after ``sent`` bytes."""
        return not self.limited or sent < self.total

    async def wait(self, sent: int) -> None:
        """Return when another frame may go after ``sent`` bytes."""
        while not self.left(sent):
            self._raised.clear()
            await self._raised.wait()
