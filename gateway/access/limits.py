"""Limits per identity and per address: token buckets, connections, a growing pause after failed authentications. Pure.

Own buckets, of forty lines: the library ``limits`` (5.8) has none, only windows. Its fair ones take 7 µs (moving: a
list of all requests in memory) and 17 µs (sliding counter) for one limit with its state, a bucket 1.5 µs, on the same
machine, and a request is charged to two. Times are monotonic seconds.
"""

from __future__ import annotations

import math
from collections import Counter, OrderedDict
from collections.abc import Hashable
from dataclasses import dataclass
from typing import Final, Generic, NamedTuple, TypeVar

MAX_TRACKED: Final = 10_000
"""Maximum identities or addresses remembered by one limit; the least recently seen are forgotten first."""
FREE_FAILURES: Final = 5
"""Failed authentications of an address before it has to pause."""
LONGEST_PAUSE: Final = 60.0
"""Seconds."""
FORGET_FAILURES: Final = 900.0
"""Seconds without a failure after which an address has a clean slate."""

K = TypeVar("K", bound=Hashable)


class Allowance(NamedTuple):
    """State of a bucket after a request.

    Attributes:
        granted: whether the request may be served.
        limit: size of the bucket.
        remaining: requests that could follow at once.
        reset: seconds until the bucket is full again.
        retry_after: seconds until the next request could be granted; 0 if one could be now.
    """

    granted: bool
    limit: int
    remaining: int
    reset: float
    retry_after: float


@dataclass(slots=True)
class _Level:
    tokens: float
    at: float


class Buckets(Generic[K]):
    """Token buckets: ``rate`` requests a second each, up to ``burst`` at once.

    Args:
        rate: tokens that come back in a second.
        burst: size of a bucket.
    """

    def __init__(self, rate: float, burst: int) -> None:
        self._rate = rate
        self._burst = burst
        self._levels: OrderedDict[K, _Level] = OrderedDict()

    def spend(self, owner: K, now: float) -> Allowance:
        """Take one token of ``owner`` if there is one."""
        level = self._levels.get(owner)
        if level is None:
            level = self._levels[owner] = _Level(float(self._burst), now)
            if len(self._levels) > MAX_TRACKED:
                self._levels.popitem(last=False)
        else:
            self._levels.move_to_end(owner)
            level.tokens = min(self._burst, level.tokens + max(0.0, now - level.at) * self._rate)
            level.at = now
        granted = level.tokens >= 1
        if granted:
            level.tokens -= 1
        missing = 1 - level.tokens
        return Allowance(
            granted,
            self._burst,
            int(level.tokens),
            (self._burst - level.tokens) / self._rate,
            max(0.0, missing / self._rate),
        )


class Connections(Generic[K]):
    """Open connections, at most ``most`` of each owner."""

    def __init__(self, most: int) -> None:
        self.most = most
        self._open: Counter[K] = Counter()

    def full(self, owner: K) -> bool:
        """Return whether ``owner`` has as many as it may."""
        return self._open[owner] >= self.most if owner in self._open else False

    def opened(self, owner: K) -> None:
        """Count a connection."""
        self._open[owner] += 1

    def closed(self, owner: K) -> None:
        """Count it no longer."""
        self._open[owner] -= 1
        if self._open[owner] <= 0:
            del self._open[owner]


@dataclass(slots=True)
class _Failures:
    count: int
    last: float
    until: float


class FailedAttempts:
    """Failed authentications by address: after the first few, a pause that doubles with each further one."""

    def __init__(self) -> None:
        self._failures: OrderedDict[str, _Failures] = OrderedDict()

    def pause(self, address: str, now: float) -> float:
        """Return the seconds that ``address`` still has to wait; 0: none."""
        found = self._failures.get(address)
        return 0.0 if found is None else max(0.0, found.until - now)

    def failed(self, address: str, now: float) -> float:
        """Count a failure; return the pause that follows, seconds."""
        found = self._failures.pop(address, None)
        if found is None or now - found.last > FORGET_FAILURES:
            found = _Failures(0, now, now)
        found.count += 1
        found.last = now
        if found.count > FREE_FAILURES:
            found.until = now + min(LONGEST_PAUSE, math.ldexp(1.0, min(found.count - FREE_FAILURES - 1, 10)))
        self._failures[address] = found
        if len(self._failures) > MAX_TRACKED:
            self._failures.popitem(last=False)
        return max(0.0, found.until - now)
