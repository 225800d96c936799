"""When a process that has died is started again: a rule that reads no clock."""

from __future__ import annotations

from collections import deque
from typing import Final

WINDOW_SECONDS: Final = 60.0
LIMIT: Final = 5
"""A process that dies more often than this within the window is not started again."""
PROVEN_SECONDS: Final = 20.0
"""One that refuses to run within this time of its start would refuse again; one that has worked may find things
mended."""
FIRST_PAUSE_SECONDS: Final = 0.2
MOST_PAUSE_SECONDS: Final = 3.0
"""Short enough that a collector which waits for its broker is back within five seconds of it."""


class RestartPolicy:
    """One process's deaths.

    Args:
        patient: once it has run for ``PROVEN_SECONDS`` it is started again however often it refuses: what it lacks, a
            broker that is away, will come back.
    """

    def __init__(self, *, patient: bool = False) -> None:
        self._patient = patient
        self._recent: deque[float] = deque(maxlen=LIMIT)
        self._proven = False
        self._refusals = 0

    def died(self, now: float, lived: float, *, refused: bool) -> float | None:
        """Note a death; return the seconds to wait before the next start, None if there shall be none.

        The first death for a long time needs no pause; each that follows doubles it.

        Args:
            now: on any clock, seconds.
            lived: seconds since its last start.
            refused: it has said why it cannot run.
        """
        lasted = lived >= PROVEN_SECONDS
        self._proven = self._proven or lasted
        if refused and not lasted and not (self._patient and self._proven):
            return None
        if refused and self._patient:
            self._refusals = 1 if lasted else self._refusals + 1
            return _pause(self._refusals)
        if len(self._recent) == LIMIT and now - self._recent[0] < WINDOW_SECONDS:
            return None
        self._recent.append(now)
        return _pause(sum(now - death < WINDOW_SECONDS for death in self._recent))


def _pause(deaths: int) -> float:
    # Bounded before the power is taken: somebody may refuse for weeks.
    return min(FIRST_PAUSE_SECONDS * 2.0 ** min(deaths - 2, 10), MOST_PAUSE_SECONDS) if deaths > 1 else 0.0
