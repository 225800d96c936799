"""Pauses while ClickHouse refuses access: each attempt is a failed login, which the server logs and counts."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from gateway.tables.errors import TablesUnavailable

PAUSE_SECONDS: Final = (0.5, 1.0, 2.0, 5.0, 10.0)
"""From one attempt to the next; the last one is repeated."""
_MOST_QUERIES: Final = 100
"""Bound of the queries that are remembered: texts are few, their values are bound separately."""

REASON: Final = "ClickHouse refuses the gateway's access (the gateway's log names the setting)"
"""What clients learn: the message with the key names user and server."""

_ALL: Final = ""


@dataclass(slots=True)
class _Pause:
    attempts: int
    until: float


class RefusedAccess:
    """Which queries are not sent for now: all after a refused login, one after a right was missing for it.

    Args:
        clock: monotonic seconds.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._pauses: dict[str, _Pause] = {}

    def check(self, query: str) -> None:
        """Return if ``query`` may be sent.

        Raises:
            TablesUnavailable: access was refused a moment ago.
        """
        now = self._clock()
        if any(now < pause.until for key in (_ALL, query) if (pause := self._pauses.get(key)) is not None):
            raise TablesUnavailable(REASON)

    def refused(self, query: str | None) -> None:
        """Note that access was refused: for ``query``, or (None) altogether."""
        key = _ALL if query is None else query
        if key not in self._pauses and len(self._pauses) >= _MOST_QUERIES:
            self._pauses.clear()
        pause = self._pauses.setdefault(key, _Pause(0, 0.0))
        pause.until = self._clock() + PAUSE_SECONDS[min(pause.attempts, len(PAUSE_SECONDS) - 1)]
        pause.attempts += 1

    def answered(self, query: str) -> None:
        """Note that ``query`` was answered: a later refusal is a new one."""
        self._pauses.pop(_ALL, None)
        self._pauses.pop(query, None)
