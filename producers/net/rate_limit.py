"""A venue's limits: so much in any stretch of so many seconds, kept exactly and used up to the last.

:class:`SlidingWindow` is pure (time comes as an argument); :class:`RateLimiter` waits in front of one, first come,
first served.
"""

from __future__ import annotations

import asyncio
import math
from collections import deque
from collections.abc import Callable
from typing import Final

from producers.feed.venue import Limit

SLACK: Final = 1.02
"""What leaves evenly may arrive bunched: windows are kept this much longer than the venue's own."""


PAUSING: Final = (418, 429, 503)
"""After these statuses ``Retry-After`` is heeded by all who ask the venue the same."""


class SlidingWindow:
    """Tokens that come back ``seconds`` after they were spent.

    A bucket that refills steadily lets nearly twice its limit through in the first window, its burst and what came in
    meanwhile; venues ban for that. Here each token returns a full window after it was used, so that no window,
    wherever it begins, holds more than the limit, while the first burst may use all of it at once.

    Args:
        limit: what is allowed.
    """

    def __init__(self, limit: Limit) -> None:
        self._limit = limit
        self._spent: deque[tuple[float, float]] = deque()
        self._total = 0.0
        self._closed_until = -math.inf

    def wait(self, now: float, weight: float = 1.0) -> float:
        """Return how many seconds from ``now`` on ``weight`` can be spent; 0: now.

        A weight beyond the whole limit is let through when nothing else is counted: it could never pass otherwise.
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
        """Note that ``weight`` was spent at ``now``, which never goes back."""
        self._forget(now)
        self._spent.append((now, weight))
        self._total += weight

    def close(self, until: float) -> None:
        """Allow nothing before ``until``: the venue said so."""
        self._closed_until = max(self._closed_until, until)

    def _forget(self, now: float) -> None:
        while self._spent and self._spent[0][0] + self._limit.seconds <= now:
            self._total -= self._spent.popleft()[1]
        if not self._spent:
            self._total = 0.0  # no rest of sums of floats


class Allowance:
    """A connection's requests within a longer time, so dealt that the repairs of one book leave enough for the others.

    First subscriptions may use all of it. A repair leaves a tenth for them; one of a book that was repaired often
    within that time leaves half, for the books that seldom need one, and so does asking again for what was refused.

    Args:
        limit: what is allowed; None: anything.
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
        """Return how many seconds from ``now`` on one more request can be sent; 0: now."""
        return self._budget.wait(now)

    def spend(self, now: float) -> None:
        """Count a request."""
        self._budget.spend(now)

    def wait_to_repair(self, now: float, symbol: str, messages: int) -> float:
        """Return how many seconds from ``now`` on ``symbol`` may be repaired with so many ``messages``; 0: now."""
        times = self._repairs.get(symbol, ())
        often = sum(now - time < self._seconds for time in times) >= self.OFTEN
        return self._wait_leaving(now, messages, self._half if often else self._tenth)

    def repaired(self, now: float, symbol: str) -> None:
        """Take note that ``symbol`` is being repaired; its messages are counted as they are sent."""
        self._repairs.setdefault(symbol, deque(maxlen=self.OFTEN)).append(now)

    def wait_to_retry(self, now: float) -> float:
        """Return how many seconds from ``now`` on what was refused may be asked for again; 0: now."""
        return self._wait_leaving(now, 1, self._half)

    def _wait_leaving(self, now: float, messages: int, reserve: float) -> float:
        return self._budget.wait(now, messages + reserve) if math.isfinite(reserve) else 0.0


class RateLimiter:
    """Lets through what a budget allows, in the order of asking. Whoever is cancelled while waiting spends nothing.

    Args:
        limit: None lets everything through, but for times of :meth:`close`.
        clock: monotonic seconds.
    """

    def __init__(self, limit: Limit | None, clock: Callable[[], float] | None = None) -> None:
        kept = Limit(limit.amount, limit.seconds * SLACK) if limit is not None else Limit(math.inf, 1.0)
        self._budget = SlidingWindow(kept)
        self._spare = math.floor(kept.amount / 2) if limit is not None else 0
        self._clock = clock if clock is not None else asyncio.get_running_loop().time
        self._turn = asyncio.Lock()
        self.repairs = asyncio.Lock()
        """Held by the one repair whose turn it is."""

    async def enter(self, weight: float = 1.0) -> None:
        """Wait until ``weight`` may be spent, and spend it."""
        budget = self._budget
        async with self._turn:
            delay = budget.wait(self._clock(), weight)
            while delay > 0:
                await asyncio.sleep(delay)
                delay = budget.wait(self._clock(), weight)
            budget.spend(self._clock(), weight)

    async def idle(self) -> None:
        """Wait until those have passed who wait now."""
        async with self._turn:
            return

    def enter_if_idle(self) -> bool:
        """Let one through if nobody waits and half of the limit is left after it: for what may be left out."""
        if self._turn.locked():
            return False
        now = self._clock()
        if self._budget.wait(now, 1.0 + self._spare) > 0:
            return False
        self._budget.spend(now)
        return True

    def close(self, seconds: float) -> None:
        """Let nothing through for so long."""
        self._budget.close(self._clock() + seconds)


def stated_seconds(text: str | None) -> float | None:
    """Return the seconds that a ``Retry-After`` header states, an hour at most; None if it states none."""
    return float(min(int(text), 3600)) if text is not None and text.isascii() and text.isdigit() else None
