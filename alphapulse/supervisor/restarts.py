"""Restart policy for child processes. Pure: time is an argument."""

from __future__ import annotations

from collections import deque
from typing import Final

WINDOW_SECONDS: Final = 60.0
LIMIT: Final = 5
"""A process that dies more often than this within the window is given up."""
PROVEN_SECONDS: Final = 20.0
"""A process that refuses to run within this time of its start would refuse again; after this time, the cause may have
been temporary."""
FIRST_PAUSE_SECONDS: Final = 0.2
MOST_PAUSE_SECONDS: Final = 3.0
"""Short enough for a collector that waits for its broker to return within five seconds of it."""


class RestartPolicy:
    """Restart policy of one process.

    Args:
        patient: after it has run for ``PROVEN_SECONDS`` once, it is always restarted, however often it refuses: the
            cause, such as an unavailable broker, is temporary.
    """

    def __init__(self, *, patient: bool = False) -> None:
        self._patient = patient
        self._recent: deque[float] = deque(maxlen=LIMIT)
        self._proven = False
        self._refusals = 0

    def died(self, now: float, lived: float, *, refused: bool) -> float | None:
        """Record a death; return the delay before the restart in seconds, None: give up.

        The first death after a long time has no delay; each further one doubles it.

        Args:
            now: seconds on any clock.
            lived: seconds since its last start.
            refused: it ended with a message that says why it cannot run.
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
    # Bounded before the power is computed: a process may refuse for weeks.
    return min(FIRST_PAUSE_SECONDS * 2.0 ** min(deaths - 2, 10), MOST_PAUSE_SECONDS) if deaths > 1 else 0.0
