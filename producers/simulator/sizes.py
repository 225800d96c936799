"""Sizes of orders and levels: log-normal, so that a few are a hundred times the usual size; some are round. Pure."""

from __future__ import annotations

from math import exp
from typing import Final

from producers.simulator.draws import DRAWS, NORMAL

_ROUND_SHARE: Final = 0.3
_ROUND_DRAWS: Final = int(DRAWS * _ROUND_SHARE / (1.0 - _ROUND_SHARE))
SIZE_DRAWS: Final = DRAWS + _ROUND_DRAWS
"""Draw with ``number = int(random() * SIZE_DRAWS)``; results from index ``DRAWS`` on are to be :func:`rounded`."""


def _heavy_tailed(deviation: float) -> tuple[float, ...]:
    """Return draws from a log-normal distribution with mean 1, followed by those to be rounded."""
    draws = [exp(deviation * value) for value in NORMAL]
    mean = sum(draws) / DRAWS
    draws = [draw / mean for draw in draws]
    return (*draws, *(draws[number * DRAWS // _ROUND_DRAWS] for number in range(_ROUND_DRAWS)))


LEVEL_SIZES: Final = _heavy_tailed(1.8)
BEST_SIZES: Final = _heavy_tailed(1.0)
"""Of the level at the best price, which consists of many orders."""
ORDER_SIZES: Final = _heavy_tailed(2.2)
"""Of aggressive orders."""


def rounded(lots: int) -> int:
    """Return ``lots`` with its two leading digits only."""
    unit: int = 10 ** max(len(str(lots)) - 2, 0)
    return lots - lots % unit
