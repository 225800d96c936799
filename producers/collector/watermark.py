"""Frame watermark: the number of frames whose records are all acknowledged. Pure.

A frame's records are published before the next frame is read, except while a connection holds frames back until a
snapshot. So it suffices to store, from time to time while nothing is held back, how many frames were read and how many
records were published: once those records are acknowledged, those frames are done.
"""

from __future__ import annotations

import math
from collections import deque
from typing import Final

HOLD_SECONDS: Final = 10.0
"""Frames that wait for a snapshot are not done, but a caller that paces the venue by them must not wait forever."""


class FrameWatermark:
    """Frame watermark of one collector.

    Attributes:
        frames: number of frames done; never decreases.
    """

    def __init__(self) -> None:
        self.frames = 0
        self._marks: deque[tuple[int, int]] = deque()  # (frames read, records taken), both rising

    def mark(self, frames: int, records: int) -> None:
        """Record that ``frames`` were read when ``records`` had been published, with nothing held back."""
        if self._marks and self._marks[-1][1] == records:
            self._marks.pop()  # the frames since then produced no record
        if frames > self.frames:
            self._marks.append((frames, records))

    def reach(self, acknowledged: int) -> int:
        """Return the number of frames done, given that the first ``acknowledged`` records are acknowledged."""
        while self._marks and self._marks[0][1] <= acknowledged:
            self.frames = self._marks.popleft()[0]
        return self.frames


class SnapshotWait:
    """Tracks whether one connection holds frames back until a snapshot.

    Attributes:
        since: when that began (seconds); None: nothing is held back.
    """

    def __init__(self) -> None:
        self.since: float | None = None

    def track(self, waiting: int, now: float) -> None:
        """Record that ``waiting`` frames are held back at ``now`` (seconds)."""
        if not waiting:
            self.since = None
        elif self.since is None:
            self.since = now

    def refused(self) -> None:
        """Stop waiting: the snapshot was refused."""
        if self.since is not None:
            self.since = -math.inf

    def holds(self, now: float) -> bool:
        """Whether frames are held back and the wait has not timed out."""
        return self.since is not None and now - self.since < HOLD_SECONDS
