"""Activity of a venue: rate, last record, connection state of its collector. Pure."""

from __future__ import annotations

from typing import Final, Literal, TypeAlias

Status: TypeAlias = Literal["connected", "connecting", "disconnected", "late", "stale"]

SECOND: Final = 1_000_000_000
RATE_SECONDS: Final = 5
"""Rates are means over this many whole seconds."""
SETTLE_SECONDS: Final = 1
"""Maximum delay of a window between its end and its being read."""
KEPT_SECONDS: Final = 120
"""Seconds whose counts are kept: windows this late still count in their own second."""
SILENT_AFTER: Final = 15 * SECOND
"""A venue without books (trades or quotes alone) and without records for longer counts as stale."""


class Rate:
    """Events per second over the last whole seconds, by event time.

    So windows read late from a backlog do not change the current rate. Times are nanoseconds, as arguments.

    Args:
        seconds: length of the mean.
    """

    __slots__ = ("_counts", "_first", "_seconds", "_width")

    def __init__(self, seconds: int = RATE_SECONDS) -> None:
        self._seconds = seconds
        self._counts: dict[int, float] = {}
        self._first: int | None = None
        self._width = 1  # width of the windows, in seconds

    def add(self, count: int, start: int, end: int) -> None:
        """Count the events of a window, spread evenly over its seconds."""
        first = start // SECOND
        width = self._width = max((end - start) // SECOND, 1)
        if self._first is None:
            self._first = first
        counts = self._counts
        for second in range(first, first + width):
            counts[second] = counts.get(second, 0) + count / width
        if len(counts) > KEPT_SECONDS + width:
            for second in sorted(counts)[:-KEPT_SECONDS]:
                del counts[second]

    def per_second(self, now: int) -> float:
        """Return the mean over the latest seconds whose windows have arrived; at first over fewer."""
        end = now // SECOND - self._width - SETTLE_SECONDS + 1
        if self._first is None or end <= self._first:
            return 0.0
        span = min(self._seconds, end - self._first)
        return sum(self._counts.get(second, 0) for second in range(end - span, end)) / span


class VenueActivity:
    """One venue, from its records and its collector's events.

    Attributes:
        last_received: largest ``received_time`` of any record (ns), 0 before the first.
        late_time: last event that it reads its frames too late (ns), 0: none.
    """

    __slots__ = ("_connected", "_connection_time", "last_received", "late_time", "rate")

    def __init__(self) -> None:
        self.rate = Rate()
        self.last_received = 0
        self.late_time = 0
        self._connected: bool | None = None
        self._connection_time = 0

    def heard(self, received_time: int) -> None:
        """Record that the collector received a record at ``received_time``."""
        self.last_received = max(self.last_received, received_time)

    def connection(self, connected: bool, time: int) -> None:
        """Record that the collector connected or lost its connection; the latest event counts."""
        if time >= self._connection_time:
            self._connected = connected
            self._connection_time = time

    def late(self, time: int) -> None:
        """Record that the collector reads its frames too late and has invalidated its books."""
        self.late_time = max(self.late_time, time)

    @property
    def disconnected(self) -> bool:
        """Whether its connection was lost and no record was received since.

        A record received after the connection was lost proves another connection (a collector has several).
        """
        return self._connected is False and self.last_received <= self._connection_time

    def silent(self, now: int) -> bool | None:
        """Return whether there was no record for ``SILENT_AFTER``; None: there never was one."""
        last_sign = max(self.last_received, self._connection_time)
        return now - last_sign > SILENT_AFTER if last_sign else None
