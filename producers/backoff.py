"""How long to wait before the next attempt."""

from __future__ import annotations

import random
from collections import deque


class Backoff:
    """Capped exponential backoff with full jitter: uniformly between 0 and ``base × 2^failures``, at most ``cap``.

    Full jitter spreads the clients of a venue that comes back
    (https://aws.amazon.com/blogs/architecture/exponential-backoff-and-jitter/). Seconds throughout.

    Args:
        base: upper end of the first delay.
        cap: upper end of any.
        chance: source of randomness.
        least: lower end of each, as a part of its upper end.
    """

    def __init__(
        self, base: float = 0.5, cap: float = 30.0, chance: random.Random | None = None, *, least: float = 0.0
    ) -> None:
        self._base = base
        self._cap = cap
        self._chance = chance if chance is not None else random.Random()  # noqa: S311 no secret
        self._least = least
        self.failures = 0

    def next(self) -> float:
        """Return the delay before the next attempt, one failure more being known."""
        # 2**1000 is no float any more.
        ceiling = min(self._cap, self._base * 2 ** min(self.failures, 60))
        self.failures += 1
        return self._chance.uniform(self._least * ceiling, ceiling)

    def reset(self) -> None:
        """Forget the failures: it works again."""
        self.failures = 0


class Pace:
    """Spaces out repairs of one thing: the first few at once, then ever further apart while they go on.

    Args:
        free: repairs within ``window`` seconds that need not wait.
        window: how far back repairs count.
    """

    def __init__(self, free: int = 3, window: float = 60.0, cap: float = 30.0) -> None:
        self._free = free
        self._window = window
        self._cap = cap
        self._times: deque[float] = deque(maxlen=64)

    def delay(self, now: float) -> float:
        """Return how long the repair asked for at ``now`` has to wait."""
        while self._times and self._times[0] < now - self._window:
            self._times.popleft()
        self._times.append(now)
        excess = len(self._times) - self._free
        return min(self._cap, 0.5 * 2.0 ** (excess - 1)) if excess > 0 else 0.0
