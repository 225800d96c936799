"""Normally distributed numbers at the price of one uniform one: the simulation draws many, and none has to be exact."""

from __future__ import annotations

from statistics import NormalDist
from typing import Final

DRAWS: Final = 8192
NORMAL: Final = tuple(NormalDist().inv_cdf((number + 0.5) / DRAWS) for number in range(DRAWS))
"""Draw with ``NORMAL[int(random() * DRAWS)]``."""
