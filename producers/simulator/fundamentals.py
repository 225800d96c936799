"""What everybody agrees the symbols are worth, and who has not heard of it yet. Pure and seeded.

A symbol's fundamental price is a mean-reverting random walk that shares a common factor with the other symbols. A few
times a minute a symbol jumps, and one venue follows late: until it does, its prices stand apart from the others' by
more than the fees of trading on both.
"""

from __future__ import annotations

import math
import random
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass

from producers.simulator.draws import DRAWS, NORMAL

STEP_NS = 10_000_000
"""The walk's step."""

_BASIS_POINT = 1e-4
_STEP_SECONDS = STEP_NS / 1e9
_VOLATILITY = 0.9 * _BASIS_POINT * math.sqrt(_STEP_SECONDS)  # of a step; 0.9 bp a second is about 50 % a year
_COMMON_SHARE = 0.7  # correlation with the common factor
_COMMON = _VOLATILITY * _COMMON_SHARE
_OWN = _VOLATILITY * math.sqrt(1 - _COMMON_SHARE**2)
_KEPT = 1.0 - _STEP_SECONDS / 600.0  # back to the start within some ten minutes
_HISTORY_STEPS = 500  # five seconds: more than any latency

_FIRST_SHOCK_SECONDS = (3.0, 7.0)
_SHOCK_GAP_SECONDS = (6.0, 18.0)
_SHOCK_SIZE = (95 * _BASIS_POINT, 145 * _BASIS_POINT)
_SHOCK_LAG_SECONDS = (0.6, 2.8)
_SHOCK_RAMP_STEPS = 10
_CATCH_UP_NS = 150_000_000
_TURN_BACK = 100 * _BASIS_POINT  # this far from the start a shock leads back


@dataclass(frozen=True, slots=True)
class Shock:
    """A jump that one venue follows late.

    Attributes:
        start_ns: since the market's start.
        size: of the jump, in log price.
        laggard: the venue that does not follow until ``end_ns``.
    """

    symbol: str
    laggard: str
    start_ns: int
    end_ns: int
    size: float

    def done(self, time_ns: int) -> float:
        """Return which part of the jump has happened at ``time_ns``."""
        return min(max((time_ns - self.start_ns) / (_SHOCK_RAMP_STEPS * STEP_NS), 0.0), 1.0)

    def withheld(self, time_ns: int) -> float:
        """Return the part of the jump, in log price, that the laggard does not know of at ``time_ns``."""
        known = min(max((time_ns - self.end_ns) / _CATCH_UP_NS, 0.0), 1.0)
        return self.size * self.done(time_ns) * (1.0 - known)


class Fundamentals:
    """The symbols' fundamental prices, relative to their start, as log prices.

    Times are nanoseconds since the market's start and must not run back by more than five seconds.

    Args:
        symbols: their names.
        venues: who may lag.
        seed: the same seed, the same prices.
    """

    def __init__(self, symbols: Sequence[str], venues: Sequence[str], seed: int) -> None:
        self._symbols = list(symbols)
        self._venues = list(venues)
        self._walk = random.Random(f"{seed}/walk")  # noqa: S311 a simulation
        self._shock_random = random.Random(f"{seed}/shocks")  # noqa: S311
        self._paths: dict[str, deque[float]] = {symbol: deque([0.0], _HISTORY_STEPS) for symbol in symbols}
        self._step = 0
        self._next_shock_ns = round(self._shock_random.uniform(*_FIRST_SHOCK_SECONDS) * 1e9)
        self._shocks: deque[Shock] = deque(maxlen=16)
        self._calm_from = 0  # nobody lags any more
        self._jumping_until = 0  # the last shock has fully happened

    def log_price(self, symbol: str, venue: str, time_ns: int) -> float:
        """Return what ``venue`` takes for the log price of ``symbol`` at ``time_ns``."""
        step = max(time_ns, 0) // STEP_NS
        if step > self._step:
            self._extend(step)
        path = self._paths[symbol]
        price = path[max(len(path) - 1 - (self._step - step), 0)]
        if time_ns < self._calm_from:
            for shock in self._shocks:
                if shock.laggard == venue and shock.symbol == symbol:
                    price -= shock.withheld(time_ns)
        return price

    def unchanged_until(self, time_ns: int) -> int:
        """Return up to when prices stay what they are at ``time_ns``, which was asked for: the walk goes by steps."""
        return time_ns if time_ns < self._calm_from else max(time_ns, 0) // STEP_NS * STEP_NS + STEP_NS

    @property
    def shocks(self) -> Sequence[Shock]:
        """The latest shocks, oldest first."""
        return tuple(self._shocks)

    def _extend(self, step: int) -> None:
        chance, paths = self._walk.random, list(self._paths.values())
        while self._step < step:
            self._step += 1
            now = self._step * STEP_NS
            if now >= self._next_shock_ns:
                self._shock(now)
            common = _COMMON * NORMAL[int(chance() * DRAWS)]
            for path in paths:
                path.append(path[-1] * _KEPT + common + _OWN * NORMAL[int(chance() * DRAWS)])
            if now <= self._jumping_until:
                for symbol in {shock.symbol for shock in self._shocks}:
                    self._paths[symbol][-1] += self._jump(symbol, now)

    def _jump(self, symbol: str, now: int) -> float:
        """Return what the shocks under way add in the step that ends at ``now``."""
        return sum(
            shock.size * (shock.done(now) - shock.done(now - STEP_NS))
            for shock in self._shocks
            if shock.symbol == symbol
        )

    def _shock(self, now: int) -> None:
        chance = self._shock_random
        symbol = chance.choice(self._symbols)
        size, sign = chance.uniform(*_SHOCK_SIZE), chance.choice((-1.0, 1.0))
        away = self._paths[symbol][-1]
        if abs(away) > _TURN_BACK:
            sign = -math.copysign(1.0, away)
        end = now + round(chance.uniform(*_SHOCK_LAG_SECONDS) * 1e9)
        self._shocks.append(Shock(symbol, chance.choice(self._venues), now, end, sign * size))
        self._jumping_until = now + (_SHOCK_RAMP_STEPS + 1) * STEP_NS
        self._calm_from = max(self._calm_from, end + _CATCH_UP_NS)
        self._next_shock_ns = now + round(chance.uniform(*_SHOCK_GAP_SECONDS) * 1e9)
