"""Exponents of a source: one of prices and one of sizes for each instrument, the same for the whole file.

An exponent never changes within an epoch of a book, and nothing is rounded, so they are found in the survey. As in
collectors it is at least eight decimals, so that loaded and collected rows mostly have the same; where that does not
fit 64 bits, it is the least that is exact.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final

import numpy as np

from alphapulse.errors import ValueRefused
from alphapulse.fixed import INT64_MAX
from alphapulse.instruments import Instrument
from sinks.load.fields import Integers
from sinks.load.numbers import Decimals
from sinks.load.rows import Codes

USUAL: Final = 8
"""Decimals, if more are neither needed nor too many."""
_POWERS: Final = np.array([10**power for power in range(19)], np.int64)


@dataclass(slots=True)
class _Need:
    scale: int = 0
    whole: int = 0


@dataclass(slots=True)
class Scales:
    """What the numbers of each instrument need: decimals, and digits before the point."""

    _prices: dict[int, _Need] = field(default_factory=dict)
    _sizes: dict[int, _Need] = field(default_factory=dict)

    def add(self, instruments: Codes, prices: Decimals, sizes: Decimals) -> None:
        """Count the numbers of rows."""
        for numbers, needs in ((prices, self._prices), (sizes, self._sizes)):
            if not len(instruments):
                continue
            # Only numbers with more decimals than usual may need a finer exponent.
            scales = numbers.needed() if numbers.scales.max(initial=0) > USUAL else numbers.scales
            wholes = numbers.mantissas // _POWERS[numbers.scales]
            for code in np.unique(instruments).tolist():
                mine, need = instruments == code, needs.setdefault(code, _Need())
                need.scale = max(need.scale, int(scales[mine].max()))
                need.whole = max(need.whole, int(wholes[mine].max()))

    def chosen(self, named: Sequence[Instrument]) -> tuple[Integers, Integers]:
        """Return the decimals of prices and of sizes, by number of the instrument.

        Raises:
            ValueRefused: an instrument's numbers have no common exponent in 64 bits.
        """
        made = []
        for what, needs in (("prices", self._prices), ("sizes", self._sizes)):
            scales = np.full(len(named), USUAL, np.int64)
            for code, need in needs.items():
                wanted = max(need.scale, USUAL)
                if (need.whole + 1) * 10**wanted > INT64_MAX:
                    wanted = need.scale
                if (need.whole + 1) * 10**wanted > INT64_MAX:
                    raise ValueRefused(
                        f"{what} of {named[code].key} have up to {need.scale} decimals and are as large as "
                        f"{need.whole:,}: no exponent has them all in 64 bits"
                    )
                scales[code] = wanted
            made.append(scales)
        return made[0], made[1]
