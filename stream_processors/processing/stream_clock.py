"""Stream time: what time it is for a stream of records, between two of them as well.

Windows and intervals follow the times *in* the records, so that a replay at any speed gives the same answers as the
live feed did; but a window must also close when no further record comes. :class:`StreamClock` joins the two: it shows
the latest record time plus what has gone by since that record arrived.
"""

from __future__ import annotations

BACKWARD_STEP_NS = 1_000_000_000
"""A record this much older than the latest one means that a clock was set back, not that it was overtaken."""


class StreamClock:
    """The clock of one stream. All times are integers in nanoseconds.

    Attributes:
        latest: the latest record time; 0 before the first record.
    """

    __slots__ = ("_arrived", "latest")

    def __init__(self) -> None:
        self.latest = 0
        self._arrived = 0

    def observe(self, record_time: int, now: int) -> bool:
        """Take note of a record; return False if its time shows that the stream's clock was set back.

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
        """Take note of a record whose time may be late, but never means that a clock was set back."""
        if record_time >= self.latest:
            self.latest = record_time
            self._arrived = now

    def at(self, now: int) -> int:
        """Return the stream's time at ``now``, by the same clock."""
        return self.latest + max(0, now - self._arrived)

    def when(self, time: int) -> int:
        """Return when, by the clock of ``now``, the stream's time will be ``time`` if no further record comes."""
        return self._arrived + max(0, time - self.latest)
