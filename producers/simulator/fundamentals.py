"""Simulated fair prices: correlated random walks with stochastic volatility and jumps. Pure and seeded.

Venues see not the walk itself but a *consensus*, which stays constant until the walk has left it by about a basis point
and then follows at once: quotes are not moved for less, and the best price of a liquid market changes every second or
two, not with every order (the recorded BTC-USDT did not change in 92 % of all tenths of a second,
docs/simulated-market.md). One venue at first misses a jump, which creates an arbitrage.
"""

from __future__ import annotations

import math
import random
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final

from producers.simulator.draws import DRAWS, EXPONENTIAL, NORMAL
from producers.simulator.liquidity import volatility

STEP_NS: Final = 50_000_000
"""Time step of the walk, seconds."""

_STEP_SECONDS: Final = STEP_NS / 1e9
_STEP_DEVIATION: Final = math.sqrt(_STEP_SECONDS)  # as a fraction of a second's
_STEPS_A_SECOND: Final = round(1 / _STEP_SECONDS)
_COMMON_SHARE: Final = 0.85  # correlation with the common factor
_OWN_SHARE: Final = math.sqrt(1 - _COMMON_SHARE**2)
_KEPT: Final = 1.0 - _STEP_SECONDS / 10_800.0  # reversion to the start within some hours
_HISTORY_STEPS: Final = round(6 / _STEP_SECONDS)  # six seconds: more than the sum of any latency and lag

# Volatility: the logarithm of its factor is the sum of a slow and a fast part; half of either is common to all symbols.
_SLOW_DEVIATION: Final = 0.55
_SLOW_KEPT: Final = math.exp(-1.0 / 150.0)  # after a second
_QUICK_DEVIATION: Final = 0.6
_QUICK_KEPT: Final = math.exp(-1.0 / 4.0)
_FACTOR_MEAN: Final = -(_SLOW_DEVIATION**2) - _QUICK_DEVIATION**2  # makes the mean of the factor's square 1

# The consensus follows when the walk has left it by this many standard deviations of a second, drawn anew each time. At
# high volatility the threshold is higher, but less than proportionally: prices change more often then, and by more.
_PATIENCE: Final = (0.3, 0.8)  # minimum, and mean of the addition

_FIRST_SHOCK_SECONDS: Final = (20.0, 40.0)
_SHOCK_GAP_SECONDS: Final = 300.0  # mean, of one symbol
# The first ones follow each other quickly, on any symbol: the user of a demo should not wait for minutes.
_OPENING_NS: Final = 60_000_000_000
_OPENING_GAP_SECONDS: Final = (15.0, 35.0)
_SHOCK_SIZE: Final = (13.0, 21.0)  # standard deviations of a second: 9 to 15 basis points of BTC
_SHOCK_LAG_SECONDS: Final = (0.6, 2.8)
_SHOCK_RAMP_STEPS: Final = 8
_CATCH_UP_NS: Final = 150_000_000


@dataclass(frozen=True, slots=True)
class Shock:
    """A jump that one venue misses at first: from ``start_ns`` to ``end_ns`` its price is unchanged.

    Attributes:
        start_ns, end_ns: since the market's start.
        size: of the jump, in log price.
    """

    symbol: str
    laggard: str
    start_ns: int
    end_ns: int
    size: float

    def missed(self, time_ns: int) -> float:
        """Return the fraction of the jump that the lagging venue has not followed at ``time_ns``."""
        if time_ns <= self.start_ns:
            return 0.0
        return min(max(1.0 - (time_ns - self.end_ns) / _CATCH_UP_NS, 0.0), 1.0)


class _Volatility:
    """One part of the logarithm of the volatility factor: a symbol's own part, or the common one."""

    __slots__ = ("_quick", "_slow")

    def __init__(self, chance: Callable[[], float]) -> None:
        self._slow = _SLOW_DEVIATION * NORMAL[int(chance() * DRAWS)]
        self._quick = 0.0

    def next(self, chance: Callable[[], float]) -> float:
        """Return the value for the next second."""
        news = _SLOW_DEVIATION * math.sqrt(1.0 - _SLOW_KEPT**2) * NORMAL[int(chance() * DRAWS)]
        self._slow = self._slow * _SLOW_KEPT + news
        news = _QUICK_DEVIATION * math.sqrt(1.0 - _QUICK_KEPT**2) * NORMAL[int(chance() * DRAWS)]
        self._quick = self._quick * _QUICK_KEPT + news
        return math.sqrt(0.5) * (self._slow + self._quick)


class _Path:
    """One symbol's walk and its consensus."""

    __slots__ = (
        "chance",
        "consensus",
        "factor",
        "history",
        "jump",
        "jump_steps",
        "patience",
        "scale",
        "shock",
        "volatility",
        "walk",
    )

    def __init__(self, symbol: str, seed: int) -> None:
        self.chance = random.Random(f"{seed}/{symbol}/walk").random  # noqa: S311 a simulation
        self.scale = volatility(symbol)  # standard deviation of a second
        self.factor = 1.0
        self.volatility = _Volatility(self.chance)
        self.walk = self.consensus = 0.0
        self.patience = 0.0
        self.history: deque[float] = deque([0.0], _HISTORY_STEPS)
        self.shock: Shock | None = None  # the last
        self.jump = 0.0  # added to each of the next ``jump_steps`` steps
        self.jump_steps = 0

    def change_volatility(self, common: float) -> None:
        """Draw the next second's volatility; ``common`` is the part shared with the other symbols."""
        self.factor = math.exp(_FACTOR_MEAN + common + self.volatility.next(self.chance))

    def step(self, common: float) -> None:
        """Advance one step; ``common`` is the standard normal shock shared by all symbols."""
        chance = self.chance
        news = _COMMON_SHARE * common + _OWN_SHARE * NORMAL[int(chance() * DRAWS)]
        self.walk = walk = self.walk * _KEPT + _STEP_DEVIATION * self.scale * self.factor * news
        if self.jump_steps:
            self.jump_steps -= 1
            self.walk = walk = walk + self.jump
        if abs(walk - self.consensus) > self.patience:
            self.consensus = walk
            self.patience = (
                self.scale * math.sqrt(self.factor) * (_PATIENCE[0] + _PATIENCE[1] * EXPONENTIAL[int(chance() * DRAWS)])
            )
        self.history.append(self.consensus)


class Fundamentals:
    """Fair prices of the symbols, as log prices relative to their start.

    Times are nanoseconds since the market's start and must not go back by more than five seconds.

    Args:
        symbols: their names.
        venues: venues that may miss a jump.
        seed: the same seed gives the same prices.
    """

    def __init__(self, symbols: Sequence[str], venues: Sequence[str], seed: int) -> None:
        self._venues = list(venues)
        self._paths = {symbol: _Path(symbol, seed) for symbol in symbols}
        self._chance = random.Random(f"{seed}/market").random  # noqa: S311
        self._shock_random = random.Random(f"{seed}/shocks")  # noqa: S311
        self._volatility = _Volatility(self._chance)
        self._step = 0
        self._shocks: deque[Shock] = deque(maxlen=64)
        self._gap_seconds = _SHOCK_GAP_SECONDS / len(symbols)
        self._next_shock_ns = round(self._shock_random.uniform(*_FIRST_SHOCK_SECONDS) * 1e9)

    def log_price(self, symbol: str, venue: str, time_ns: int) -> float:
        """Return the log price of ``symbol`` as ``venue`` sees it at ``time_ns``."""
        step = max(time_ns, 0) // STEP_NS
        if step > self._step:
            self._extend(step)
        path = self._paths[symbol]
        price = self._at(path, step)
        shock = path.shock
        if shock is not None and shock.laggard == venue and (missed := shock.missed(time_ns)):
            price += missed * (self._at(path, shock.start_ns // STEP_NS) - price)
        return price

    def unchanged_until(self, time_ns: int) -> int:
        """Return how long prices stay those at ``time_ns``, which was queried before: they move in steps."""
        return max(time_ns, 0) // STEP_NS * STEP_NS + STEP_NS

    @property
    def shocks(self) -> Sequence[Shock]:
        """The latest shocks, oldest first."""
        return tuple(self._shocks)

    def _at(self, path: _Path, step: int) -> float:
        history = path.history
        return history[max(len(history) - 1 - (self._step - step), 0)]

    def _extend(self, step: int) -> None:
        chance, paths = self._chance, list(self._paths.values())
        while self._step < step:
            if self._step % _STEPS_A_SECOND == 0:
                volatile = self._volatility.next(chance)
                for path in paths:
                    path.change_volatility(volatile)
            self._step += 1
            if self._step * STEP_NS >= self._next_shock_ns:
                self._shock(self._step * STEP_NS)
            common = NORMAL[int(chance() * DRAWS)]
            for path in paths:
                path.step(common)

    def _shock(self, now: int) -> None:
        chance = self._shock_random
        symbol = chance.choice(list(self._paths))
        path = self._paths[symbol]
        size = path.scale * chance.uniform(*_SHOCK_SIZE) * chance.choice((-1.0, 1.0))
        end = now + round(chance.uniform(*_SHOCK_LAG_SECONDS) * 1e9)
        gap = chance.expovariate(1.0 / self._gap_seconds)
        if now < _OPENING_NS:
            gap = min(gap, chance.uniform(*_OPENING_GAP_SECONDS))
        self._next_shock_ns = now + round(gap * 1e9)
        if path.shock is not None and path.shock.missed(now):
            return  # the last shock is too recent
        path.shock = Shock(symbol, chance.choice(self._venues), now, end, size)
        path.jump, path.jump_steps = size / _SHOCK_RAMP_STEPS, _SHOCK_RAMP_STEPS
        self._shocks.append(path.shock)
