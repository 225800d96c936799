"""Tables of normal and exponential random numbers: approximate, but each draw costs only one uniform number."""

from __future__ import annotations

from math import log
from statistics import NormalDist
from typing import Final

DRAWS: Final = 8192
_MIDDLES: Final = tuple((number + 0.5) / DRAWS for number in range(DRAWS))

NORMAL: Final = tuple(NormalDist().inv_cdf(middle) for middle in _MIDDLES)
"""Standard normal; draw with ``NORMAL[int(random() * DRAWS)]``."""
EXPONENTIAL: Final = tuple(-log(1.0 - middle) for middle in _MIDDLES)
"""Exponential with mean 1; drawn in the same way."""
