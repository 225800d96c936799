"""How often, and for how long, one venue's best bid is above another's best ask. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import permutations

NOTHING: Mapping[str, float] = {}


@dataclass(slots=True)
class Crosses:
    """The crosses of one symbol between venues.

    Args:
        fees: basis points that a taker pays, by venue; none: every cross counts.
    """

    fees: Mapping[str, float] = field(default_factory=dict)
    crossed_ns: int = 0
    """How long there was a cross between any two."""
    lives_ns: list[int] = field(default_factory=list)
    """How long each cross that is over lasted."""
    first_ns: int | None = None
    """When the first began."""
    _began: dict[tuple[str, str], int] = field(default_factory=dict)
    _best: dict[str, tuple[float, float]] = field(default_factory=dict)
    begin_ns: int | None = None
    """When the first quote came."""
    _last_ns: int = 0

    def quote(self, venue: str, time_ns: int, bid: float, ask: float) -> None:
        """Take a venue's best bid and ask from ``time_ns`` on; times must not run back."""
        self.finish(time_ns)
        if self._best.get(venue) == (bid, ask):
            return
        self._best[venue] = bid, ask
        for buy, sell in permutations(self._best, 2):
            if venue in (buy, sell):
                self._compare(buy, sell, time_ns)

    def finish(self, time_ns: int) -> None:
        """Let the quotes stand until ``time_ns``."""
        if self.begin_ns is None:
            self.begin_ns = time_ns
        elif self._began:
            self.crossed_ns += time_ns - self._last_ns
        self._last_ns = time_ns

    def share(self) -> float:
        """Return the share of time with a cross."""
        return self.crossed_ns / max(self._last_ns - (self.begin_ns or 0), 1)

    def per_minute(self) -> float:
        """Return how many crosses ended a minute."""
        return len(self.lives_ns) / max(self._last_ns - (self.begin_ns or 0), 1) * 60e9

    def first_seconds(self) -> float | None:
        """Return when the first cross began, in seconds after the first quote; None: there was none."""
        return None if self.first_ns is None else (self.first_ns - (self.begin_ns or 0)) / 1e9

    def _compare(self, buy: str, sell: str, time_ns: int) -> None:
        cost = 1 + self.fees.get(buy, 0.0) * 1e-4
        proceeds = 1 - self.fees.get(sell, 0.0) * 1e-4
        key = buy, sell
        if self._best[sell][0] * proceeds > self._best[buy][1] * cost:
            self._began.setdefault(key, time_ns)
            if self.first_ns is None:
                self.first_ns = time_ns
        elif key in self._began:
            self.lives_ns.append(time_ns - self._began.pop(key))


def lives_seconds(crosses: Sequence[Crosses]) -> list[float]:
    """Return how long the crosses lasted, shortest first."""
    return sorted(life / 1e9 for one in crosses for life in one.lives_ns)
