"""Sliding-window rate limiter for WebSocket and REST requests.

:class:`SlidingWindow` is pure (time is an argument); :class:`RateLimiter` waits for one, first come, first served.
"""

from __future__ import annotations

import asyncio
import math
from collections import deque
from collections.abc import Callable
from typing import Final

from producers.feed.venue import Limit

SLACK: Final = 1.02
"""Windows are this much longer than the venue's: requests sent evenly may arrive in bursts."""


PAUSING: Final = (418, 429, 503)
"""Statuses whose ``Retry-After`` applies to all requests of the same kind."""


class SlidingWindow:
    """Tokens that return ``seconds`` after they were spent.

    A token bucket passes nearly twice its limit in the first window, its burst plus the refill; venues ban for that.
    Here each token returns a full window after its use, so that no window, wherever it begins, exceeds the limit, while
    the first burst may use all of it.

    Args:
        limit: the limit.
    """

    def __init__(self, limit: Limit) -> None:
        self._limit = limit
        self._spent: deque[tuple[float, float]] = deque()
        self._total = 0.0
        self._closed_until = -math.inf

    def wait(self, now: float, weight: float = 1.0) -> float:
        """Return the seconds from ``now`` until ``weight`` can be spent; 0: now.

        A weight above the whole limit passes when nothing else is counted: it could never pass otherwise.
        """
        self._forget(now)
        delay = max(0.0, self._closed_until - now)
        excess = self._total + min(weight, self._limit.amount) - self._limit.amount
        for time, spent in self._spent:
            if excess <= 0:
                break
            excess -= spent
            delay = max(delay, time + self._limit.seconds - now)
        return delay

    def spend(self, now: float, weight: float = 1.0) -> None:
        """Record that ``weight`` was spent at ``now``; ``now`` must not decrease."""
        self._forget(now)
        self._spent.append((now, weight))
        self._total += weight

    def left(self, now: float) -> float:
        """Return the share of the limit, 0 to 1, that could be spent at ``now``."""
        self._forget(now)
        return 0.0 if now < self._closed_until else max(0.0, 1.0 - self._total / self._limit.amount)

    def close(self, until: float) -> None:
        """Allow nothing before ``until``, as the venue demanded."""
        self._closed_until = max(self._closed_until, until)

    def _forget(self, now: float) -> None:
        while self._spent and self._spent[0][0] + self._limit.seconds <= now:
            self._total -= self._spent.popleft()[1]
        if not self._spent:
            self._total = 0.0  # discard rounding errors


class Allowance:
    """Request limit of a connection over a longer time; repairs of one book leave enough of it for the others.

    First subscriptions may use all of it. A repair leaves a tenth for them. A repair of a book already repaired often
    in that time leaves half, for the other books; so does a retry of a refused request.

    Args:
        limit: the limit; None: unlimited.
    """

    OFTEN: Final = 3

    def __init__(self, limit: Limit | None) -> None:
        limit = limit if limit is not None else Limit(math.inf, 1.0)
        kept = Limit(limit.amount, limit.seconds * SLACK)
        self._budget = SlidingWindow(kept)
        self._seconds = kept.seconds
        self._half, self._tenth = limit.amount / 2, limit.amount / 10
        self._repairs: dict[str, deque[float]] = {}

    def wait(self, now: float) -> float:
        """Return the seconds from ``now`` until one more request can be sent; 0: now."""
        return self._budget.wait(now)

    def spend(self, now: float) -> None:
        """Count a request."""
        self._budget.spend(now)

    def wait_to_repair(self, now: float, symbol: str, messages: int) -> float:
        """Return the seconds from ``now`` until ``symbol`` may be repaired with ``messages`` requests; 0: now."""
        times = self._repairs.get(symbol, ())
        often = sum(now - time < self._seconds for time in times) >= self.OFTEN
        return self._wait_leaving(now, messages, self._half if often else self._tenth)

    def repaired(self, now: float, symbol: str) -> None:
        """Record a repair of ``symbol``; its requests are counted when they are sent."""
        self._repairs.setdefault(symbol, deque(maxlen=self.OFTEN)).append(now)

    def wait_to_retry(self, now: float) -> float:
        """Return the seconds from ``now`` until a refused request may be retried; 0: now."""
        return self._wait_leaving(now, 1, self._half)

    def _wait_leaving(self, now: float, messages: int, reserve: float) -> float:
        return self._budget.wait(now, messages + reserve) if math.isfinite(reserve) else 0.0


class RateLimiter:
    """Queue in front of a sliding window, first come, first served. A cancelled caller spends nothing.

    Args:
        limit: None: no limit, except during :meth:`close`.
        clock: monotonic seconds.
    """

    def __init__(self, limit: Limit | None, clock: Callable[[], float] | None = None) -> None:
        kept = Limit(limit.amount, limit.seconds * SLACK) if limit is not None else Limit(math.inf, 1.0)
        self._budget = SlidingWindow(kept)
        self._spare = math.floor(kept.amount / 2) if limit is not None else 0
        self._clock = clock if clock is not None else asyncio.get_running_loop().time
        self._turn = asyncio.Lock()
        self.repairs = asyncio.Lock()
        """Held by the repair whose turn it is."""

    async def enter(self, weight: float = 1.0) -> None:
        """Wait until ``weight`` can be spent, and spend it."""
        budget = self._budget
        async with self._turn:
            delay = budget.wait(self._clock(), weight)
            while delay > 0:
                await asyncio.sleep(delay)
                delay = budget.wait(self._clock(), weight)
            budget.spend(self._clock(), weight)

    async def idle(self) -> None:
        """Wait until all current callers have passed."""
        async with self._turn:
            return

    def enter_if_idle(self) -> bool:
        """Pass if nobody waits and half of the limit is left afterwards: for optional requests."""
        if self._turn.locked():
            return False
        now = self._clock()
        if self._budget.wait(now, 1.0 + self._spare) > 0:
            return False
        self._budget.spend(now)
        return True

    @property
    def left(self) -> float:
        """Share of the limit, 0 to 1, that could be spent now."""
        return self._budget.left(self._clock())

    def close(self, seconds: float) -> None:
        """Pass nothing for ``seconds``."""
        self._budget.close(self._clock() + seconds)


def stated_seconds(text: str | None) -> float | None:
    """Return the seconds in a ``Retry-After`` header, an hour at most; None if there are none."""
    return float(min(int(text), 3600)) if text is not None and text.isascii() and text.isdigit() else None
