"""Lateness detection: frames that waited in the socket because the collector was stopped or starved. Pure.

Such frames get a ``received_time`` much later than their content, so that their books would look fresh. The delay is
the difference between that time and the venue's own, relative to the smallest difference of the last minutes. The
venue's clock may be wrong and may jump, so a large difference counts only while bytes wait in the socket, and one that
persists without waiting bytes is attributed to the venue's clock. Frames with the same time as the one before are not
judged: the venue's clock may stand still. All times are in nanoseconds.
"""

from __future__ import annotations

from collections import deque
from typing import Final

MINUTE_NS: Final = 60_000_000_000
MINUTES: Final = 5
"""Window in which the smallest difference is searched."""
LOOKS: Final = 10
"""Consecutive checks without waiting bytes after which a large difference is attributed to the venue's clock."""


class FeedDelay:
    """Delay of a venue's frames relative to the smallest delay in the window."""

    def __init__(self) -> None:
        self._least: deque[tuple[int, int]] = deque()  # (minute, smallest difference in it)

    def excess(self, received_time: int, exchange_time: int) -> int:
        """Record a frame; return by how much its delay exceeds the smallest one."""
        difference, minute = received_time - exchange_time, received_time // MINUTE_NS
        least = self._least
        while least and least[0][0] <= minute - MINUTES:
            least.popleft()
        if not least or least[-1][0] != minute:
            least.append((minute, difference))
        elif difference < least[-1][1]:
            least[-1] = (minute, difference)
        return difference - min(known for _, known in least)

    def forget(self) -> None:
        """Reset: the venue's clock has changed."""
        self._least.clear()


class Lateness:
    """Lateness of one connection's frames.

    Args:
        limit: maximum delay; 0: not checked.

    Attributes:
        late: whether frames are late. Set by :meth:`stood_still` and :meth:`look`, reset by :meth:`look` and
            :meth:`begin`.
    """

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self.late = False
        self._delay = FeedDelay()
        self._excess: int | None = None
        self._exchange_time = 0
        self._idle_looks = 0

    def begin(self) -> None:
        """Start on a new connection."""
        self.late = False
        self._excess = None
        self._idle_looks = 0

    def stood_still(self) -> None:
        """Record that nothing was read for longer than the limit, although frames may have arrived."""
        self.late = self.limit > 0
        self._excess = None
        self._idle_looks = 0

    def look(self, newest: tuple[int, int] | None, waiting: int) -> bool:
        """Check again; return whether :attr:`late` has changed.

        Args:
            newest: received_time and exchange_time of the newest timestamped frame since the last call.
            waiting: bytes received and not read.
        """
        if newest is not None and newest[1] != self._exchange_time:
            self._exchange_time = newest[1]
            self._excess = self._delay.excess(*newest)
        self._idle_looks = 0 if waiting else self._idle_looks + 1
        old = self._excess is not None and self._excess > self.limit
        if old and self._idle_looks >= LOOKS:
            self._delay.forget()
            self._excess, old = None, False
        before = self.late
        if not self.limit:
            self.late = False
        elif not self.late:
            self.late = old and waiting > 0
        elif not waiting:
            # Without a timestamped frame, what is still waiting may be as old as what was read last.
            self.late = old if self._excess is not None else self._idle_looks < LOOKS
        return self.late != before
