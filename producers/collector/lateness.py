"""Whether a collector reads its frames too late: they wait in its socket because it was stopped or starved. Pure.

Such frames get a ``received_time`` that has nothing to do with what they tell, so that their books would look young.
How late they are shows in the difference between that time and the venue's own, against the smallest difference of the
last minutes. The venue's clock may be wrong, and may jump; therefore a large difference counts only while bytes wait to
be read, and one that stays without that is taken for the venue's clock. A clock that stands still says nothing: frames
with the time of the one before are not judged. All times are in nanoseconds.
"""

from __future__ import annotations

from collections import deque
from typing import Final

MINUTE_NS: Final = 60_000_000_000
MINUTES: Final = 5
"""How far back the smallest difference is looked for."""
LOOKS: Final = 10
"""So many looks in a row at which nothing waits say that the venue's clock is what makes frames seem old."""


class FeedDelay:
    """How much later than at best a venue's frames are read."""

    def __init__(self) -> None:
        self._least: deque[tuple[int, int]] = deque()  # (minute, smallest difference in it)

    def excess(self, received_time: int, exchange_time: int) -> int:
        """Take note of a frame; return by how much its difference of times is above the smallest one."""
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
        """Begin anew: the venue's clock is another than it was."""
        self._least.clear()


class Lateness:
    """Whether one connection's frames are read too late.

    Args:
        limit: how late they may be; 0: never mind.

    Attributes:
        late: whether they are. It is set by :meth:`stood_still` and :meth:`look`, reset by :meth:`look` and
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
        """Take note of a new connection."""
        self.late = False
        self._excess = None
        self._idle_looks = 0

    def stood_still(self) -> None:
        """Take note that nothing was read for longer than the limit, though frames may have come."""
        self.late = self.limit > 0
        self._excess = None
        self._idle_looks = 0

    def look(self, newest: tuple[int, int] | None, waiting: int) -> bool:
        """Judge anew; return whether :attr:`late` has changed.

        Args:
            newest: received_time and exchange_time of the newest frame since the last look that tells its time.
            waiting: bytes that have come and are not read.
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
            # Without a frame that tells its time, what is still on its way might be as old as what was read last.
            self.late = old if self._excess is not None else self._idle_looks < LOOKS
        return self.late != before
