"""Stream time: the time of a stream of records, also between two of them.

Windows and intervals follow the times *in* the records, so that a replay at any speed gives the same results as the
live feed; but a window must also close without a further record. :class:`StreamClock` combines the two: it returns the
latest record time plus the time elapsed since that record arrived.
"""

from __future__ import annotations

BACKWARD_STEP_NS = 1_000_000_000
"""A record this much older than the latest one means that a clock was set back, not that records were reordered."""


class StreamClock:
    """Clock of one stream. All times are integers in nanoseconds.

    Attributes:
        latest: the latest record time; 0 before the first record.
    """

    __slots__ = ("_arrived", "latest")

    def __init__(self) -> None:
        self.latest = 0
        self._arrived = 0

    def observe(self, record_time: int, now: int) -> bool:
        """Record the time of a record; return False if it shows that the stream's clock was set back.

        Args:
            record_time: the record's own time.
            now: the clock's time of its arrival here (:class:`alphapulse.clock.Clock`).
        """
        if record_time >= self.latest:
            self.advance(record_time, now)
            return True
        if self.latest - record_time < BACKWARD_STEP_NS:
            return True
        self.latest = record_time
        self._arrived = now
        return False

    def advance(self, record_time: int, now: int) -> None:
        """Record the time of a record that may be late, but never means that a clock was set back."""
        if record_time >= self.latest:
            self.latest = record_time
            self._arrived = now

    def at(self, now: int) -> int:
        """Return the stream's time at ``now``, by the same clock."""
        return self.latest + max(0, now - self._arrived)

    def when(self, time: int) -> int:
        """Return when the stream's time will be ``time`` without further records, by the clock of ``now``."""
        return self._arrived + max(0, time - self.latest)
