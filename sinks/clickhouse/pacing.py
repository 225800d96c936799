"""Interval between inserts, adapted to the arrival rate. Pure; the time is an argument.

An insert makes a part however few its rows. Where rows are many a batch waits ``shortest`` seconds; where they are few
it waits until it is worth its parts, :data:`WORTH_ROWS` for each of a table, but no longer than ``longest``.
"""

from __future__ import annotations

from typing import Final

WORTH_ROWS: Final = 1_000
"""Rows of a batch, over all tables, for each part that a table gets: the parts then cost less than the rows."""
_WEIGHT: Final = 0.5
"""Of the latest observation: the interval follows a change of the rate within three or four batches."""


class InsertPacing:
    """Estimates the rate from the sealed batches.

    Args:
        shortest: seconds that a batch waits at high rates, and until a rate is known.
        longest: seconds that a batch waits at most.

    Attributes:
        rate: rows per second; 0 before it is known.
    """

    def __init__(self, shortest: float, longest: float) -> None:
        self._shortest = shortest
        self._longest = max(shortest, longest)
        self._since: float | None = None
        self._rows = 0
        self._parts = 1
        self.rate = 0.0

    def sealed(self, rows: int, now: float, parts: int = 1) -> None:
        """Record a batch.

        Args:
            rows: of all tables.
            now: monotonic seconds.
            parts: inserts into the table that gets most of them.
        """
        self._parts = max(parts, 1)
        if self._since is None:
            # What was waiting at the start says nothing about the rate.
            self._since = now
            return
        self._rows += rows
        elapsed = now - self._since
        if elapsed < self._shortest:
            return  # sealed early: full, or a flush; it counts with the next one
        observed = self._rows / elapsed
        self.rate = observed if not self.rate else self.rate + _WEIGHT * (observed - self.rate)
        self._since, self._rows = now, 0

    @property
    def seconds(self) -> float:
        """How long a batch waits after its oldest record."""
        if not self.rate:
            return self._shortest
        return min(max(WORTH_ROWS * self._parts / self.rate, self._shortest), self._longest)
