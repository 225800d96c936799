"""How a venue is doing: its rate, when it was last heard of, whether its collector is connected. Pure."""

from __future__ import annotations

from collections import deque
from typing import Final, Literal, TypeAlias

Status: TypeAlias = Literal["connected", "connecting", "disconnected", "stale"]

SECOND: Final = 1_000_000_000
RATE_SECONDS: Final = 5
"""Rates are means over this many whole seconds."""
STALE_AFTER: Final = 15 * SECOND
"""A connected venue that was not heard of for longer is stale; the quietest of ours beats every second."""


class Rate:
    """Events per second over the last few whole seconds; times are nanoseconds, as arguments."""

    __slots__ = ("_buckets", "_first", "_seconds")

    def __init__(self, seconds: int = RATE_SECONDS) -> None:
        self._seconds = seconds
        self._buckets: deque[list[int]] = deque()  # [second, count], seconds ascending
        self._first: int | None = None

    def add(self, count: int, time: int) -> None:
        """Count events of ``time``; those of a second older than the newest bucket's window are of no interest."""
        second = time // SECOND
        buckets = self._buckets
        if self._first is None:
            self._first = second
        if not buckets or second > buckets[-1][0]:
            buckets.append([second, count])
            while buckets[0][0] < second - self._seconds:
                buckets.popleft()
            return
        for bucket in reversed(buckets):
            if bucket[0] == second:
                bucket[1] += count
                return

    def per_second(self, now: int) -> float:
        """Return the mean over the whole seconds before ``now``'s; at first, over those there have been."""
        current = now // SECOND
        if self._first is None or current <= self._first:
            return 0.0
        span = min(self._seconds, current - self._first)
        return sum(count for second, count in self._buckets if current - span <= second < current) / span


class VenueActivity:
    """One venue, as its records and its collector's events tell."""

    __slots__ = ("_connected", "_connection_time", "last_received", "rate")

    def __init__(self) -> None:
        self.rate = Rate()
        self.last_received = 0
        """Largest ``received_time`` seen (ns), 0 before the first."""
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

    def status(self, now: int) -> Status:
        """Say how the venue is doing at ``now``.

        A record received after the connection was lost proves another connection (a collector has several).
        """
        if self._connected is False and self.last_received <= self._connection_time:
            return "disconnected"
        last_sign = max(self.last_received, self._connection_time)
        if last_sign == 0:
            return "connecting"
        return "connected" if now - last_sign <= STALE_AFTER else "stale"
