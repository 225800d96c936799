"""Frames whose records are still to be made, because a snapshot is awaited. Pure."""

from __future__ import annotations

import math
from typing import Final

HOLD_SECONDS: Final = 10.0
"""Frames that wait for a snapshot are not done; but whoever paces the venue by them must not wait for ever."""


class HeldFrames:
    """From which frame on one connection holds frames back.

    Attributes:
        since: number of the first of them, None while there are none.
    """

    def __init__(self) -> None:
        self.since: int | None = None
        self._began = 0.0

    def track(self, waiting: int, frames: int, now: float) -> None:
        """Take note that ``waiting`` frames are held back, ``frames`` being received, at ``now`` (seconds)."""
        if not waiting:
            self.since = None
        elif self.since is None:
            self.since = frames
            self._began = now

    def refused(self) -> None:
        """Wait no longer: the snapshot was refused."""
        self._began = -math.inf

    def late_frame(self, frames: int, told: int) -> int:
        """Return the frame number of what comes of frames held back, or of none.

        Args:
            frames: received so far.
            told: up to which number frames were said to be done; these cannot become undone.
        """
        return max(self.since, told + 1) if self.since is not None else frames + 1

    def done(self, frames: int, now: float) -> int:
        """Return the last frame number up to which nothing is held back, ``frames`` at most."""
        if self.since is None or now - self._began >= HOLD_SECONDS:
            return frames
        return min(frames, self.since - 1)
