"""Backoff: delays before retries."""

from __future__ import annotations

import random


class Backoff:
    """Capped exponential backoff with full jitter: uniform between 0 and ``base × 2^failures``, at most ``cap``.

    Full jitter spreads the clients of a venue that recovers
    (https://aws.amazon.com/blogs/architecture/exponential-backoff-and-jitter/). Seconds throughout.

    Args:
        base: upper end of the first delay.
        cap: upper end of any delay.
        chance: source of randomness.
        least: lower end of each delay, as a fraction of its upper end.
    """

    def __init__(
        self, base: float = 0.5, cap: float = 30.0, chance: random.Random | None = None, *, least: float = 0.0
    ) -> None:
        self._base = base
        self._cap = cap
        self._chance = chance if chance is not None else random.Random()  # noqa: S311 not used as a secret
        self._least = least
        self.failures = 0

    def next(self) -> float:
        """Return the delay before the next attempt and count one failure."""
        # 2**1000 overflows a float.
        ceiling = min(self._cap, self._base * 2 ** min(self.failures, 60))
        self.failures += 1
        return self._chance.uniform(self._least * ceiling, ceiling)

    def reset(self) -> None:
        """Reset after a success."""
        self.failures = 0


class Pace:
    """Delays between repairs of one thing: the first few at once, then exponentially longer while they do not help.

    After ``window`` seconds without a repair the count restarts.

    Args:
        free: repairs without a delay.
        window: seconds, from the last repair, not from its request.
        cap: maximum delay, seconds.
    """

    def __init__(self, free: int = 3, window: float = 60.0, cap: float = 30.0) -> None:
        self._free = free
        self._window = window
        self._cap = cap
        self._repairs = 0
        self._last = 0.0

    def delay(self, now: float) -> float:
        """Return the delay of a repair requested at ``now``."""
        if now - self._last > self._window:
            self._repairs = 0
        self._repairs += 1
        # 2**1000 overflows a float.
        excess = min(self._repairs - self._free, 60)
        delay = min(self._cap, 0.5 * 2.0 ** (excess - 1)) if excess > 0 else 0.0
        self._last = now + delay
        return delay
