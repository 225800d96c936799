"""Pacing of the replay: by recorded times, and by the credit granted for the slowest consumer."""

from __future__ import annotations

import asyncio

CLOCK_STEP_NS = 5_000_000_000
"""A recorded time this much before the last one means a clock set back, not the order of two threads."""


class Schedule:
    """Schedule of the recorded times, at ``speed``, on a monotonic clock. Pure.

    All times are relative to the first one, so delays do not accumulate. Frames whose recorded time goes back follow at
    once until the highest time is passed; a clock set back starts a new reference.

    Args:
        speed: multiple of the original; None: no waiting.
    """

    def __init__(self, speed: float | None) -> None:
        self._speed = speed
        self._origin: float | None = None
        self._mark_ns = 0
        self._elapsed_ns = 0

    def due(self, received_ns: int | None, now: float) -> float:
        """Return when (monotonic seconds) the frame received at ``received_ns`` is due; a past time: at once."""
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
        """Shift all further frames by ``seconds``, during which the replay was held."""
        if self._origin is not None:
            self._origin += seconds


class Credit:
    """Credit: total bytes of frames that may be sent.

    A frame may be sent while any credit is left, so that a frame larger than one grant does not block.

    Args:
        limited: False: no limit.
    """

    def __init__(self, *, limited: bool) -> None:
        self.limited = limited
        self.total = 0
        self._raised = asyncio.Event()

    def grant(self, total: int) -> None:
        """Set the total since the start to ``total`` bytes."""
        self.total = total
        self._raised.set()

    def left(self, sent: int) -> bool:
        """Return whether another frame may be sent after ``sent`` bytes."""
        return not self.limited or sent < self.total

    async def wait(self, sent: int) -> None:
        """Wait until another frame may be sent after ``sent`` bytes."""
        while not self.left(sent):
            self._raised.clear()
            await self._raised.wait()
