"""How a venue is doing: its rate, when it was last heard of, whether its collector is connected. Pure."""

from __future__ import annotations

from typing import Final, Literal, TypeAlias

Status: TypeAlias = Literal["connected", "connecting", "disconnected", "late", "stale"]

SECOND: Final = 1_000_000_000
RATE_SECONDS: Final = 5
"""Rates are means over this many whole seconds."""
SETTLE_SECONDS: Final = 1
"""A window is published, and read, at most so long after its end."""
KEPT_SECONDS: Final = 120
"""Seconds whose counts are kept: windows may come as late as that and still count in their own second."""
SILENT_AFTER: Final = 15 * SECOND
"""A venue without books (trades or quotes alone) that was not heard of for longer counts as stale."""


class Rate:
    """Events per second over the last few whole seconds, by the time of the events and not of hearing of them.

    So the windows of a stretch that is read afterwards, from a backlog, change no rate of now. Times are nanoseconds,
    as arguments.

    Args:
        seconds: how many seconds the mean is over.
    """

    __slots__ = ("_counts", "_first", "_seconds", "_width")

    def __init__(self, seconds: int = RATE_SECONDS) -> None:
        self._seconds = seconds
        self._counts: dict[int, float] = {}
        self._first: int | None = None
        self._width = 1  # of the windows, in seconds

    def add(self, count: int, start: int, end: int) -> None:
        """Count the events of a window, evenly spread over its seconds."""
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
        """Return the mean over the latest seconds whose windows have come; at first, over those there were."""
        end = now // SECOND - self._width - SETTLE_SECONDS + 1
        if self._first is None or end <= self._first:
            return 0.0
        span = min(self._seconds, end - self._first)
        return sum(self._counts.get(second, 0) for second in range(end - span, end)) / span


class VenueActivity:
    """One venue, as its records and its collector's events tell.

    Attributes:
        last_received: largest ``received_time`` of any record (ns), 0 before the first.
        late_time: when its collector last said that it reads its frames too late (ns), 0: never.
    """

    __slots__ = ("_connected", "_connection_time", "last_received", "late_time", "rate")

    def __init__(self) -> None:
        self.rate = Rate()
        self.last_received = 0
        self.late_time = 0
        self._connected: bool | None = None
        self._connection_time = 0

    def heard(self, received_time: int) -> None:
        """Note a record that the collector received then."""
        self.last_received = max(self.last_received, received_time)

    def connection(self, connected: bool, time: int) -> None:
        """Note that the collector connected or lost its connection; the latest word counts."""
        if time >= self._connection_time:
            self._connected = connected
            self._connection_time = time

    def late(self, time: int) -> None:
        """Note that the collector reads its frames too late: it has ended its books."""
        self.late_time = max(self.late_time, time)

    @property
    def disconnected(self) -> bool:
        """Whether its connection was lost and nothing has come since.

        A record received after the connection was lost proves another connection (a collector has several).
        """
        return self._connected is False and self.last_received <= self._connection_time

    def silent(self, now: int) -> bool | None:
        """Return whether nothing was heard of the venue for ``SILENT_AFTER``; None: nothing ever was."""
        last_sign = max(self.last_received, self._connection_time)
        return now - last_sign > SILENT_AFTER if last_sign else None
