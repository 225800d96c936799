"""Frame watermark: up to which frame all that frames led to is acknowledged. Pure.

A frame's records are published before the next frame is read, but where a connection holds frames back until a snapshot
comes. So it is enough to remember now and then, while nothing is held back, how many frames had been read and how many
records taken: once so many records are acknowledged, so many frames are done.
"""

from __future__ import annotations

import math
from collections import deque
from typing import Final

HOLD_SECONDS: Final = 10.0
"""Frames that wait for a snapshot are not done; but whoever paces the venue by them must not wait for ever."""


class FrameWatermark:
    """The watermark of one collector.

    Attributes:
        frames: that are done; it never goes back.
    """

    def __init__(self) -> None:
        self.frames = 0
        self._marks: deque[tuple[int, int]] = deque()  # (frames read, records taken), both rising

    def mark(self, frames: int, records: int) -> None:
        """Remember that ``frames`` were read when ``records`` had been taken, and that nothing is held back."""
        if self._marks and self._marks[-1][1] == records:
            self._marks.pop()  # what came since led to no record
        if frames > self.frames:
            self._marks.append((frames, records))

    def reach(self, acknowledged: int) -> int:
        """Return how many frames are done, the first ``acknowledged`` records being on the broker."""
        while self._marks and self._marks[0][1] <= acknowledged:
            self.frames = self._marks.popleft()[0]
        return self.frames


class SnapshotWait:
    """Whether one connection holds frames back until a snapshot comes.

    Attributes:
        since: when it began (seconds); None: it does not.
    """

    def __init__(self) -> None:
        self.since: float | None = None

    def track(self, waiting: int, now: float) -> None:
        """Take note that ``waiting`` frames are held back at ``now`` (seconds)."""
        if not waiting:
            self.since = None
        elif self.since is None:
            self.since = now

    def refused(self) -> None:
        """Wait no longer: the snapshot was refused."""
        if self.since is not None:
            self.since = -math.inf

    def holds(self, now: float) -> bool:
        """Whether frames are held back that are worth waiting for."""
        return self.since is not None and now - self.since < HOLD_SECONDS
