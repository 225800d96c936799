"""Columns of decimal texts to integer mantissas, exactly; no float anywhere.

A number is ``mantissa × 10**-scale``. All rows are read digit by digit at once; what is not a plain decimal of at most
18 digits is read by :mod:`alphapulse.fixed`, which also has the reasons.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt

from alphapulse.errors import ValueRefused
from alphapulse.fixed import INT64_MAX, mantissa, needed_exponent
from sinks.load.faults import shown
from sinks.load.fields import Fields, Integers

DIGITS: Final = 18
_POWERS: Final = np.array([10**power for power in range(DIGITS + 1)], np.int64)
_ZERO, _NINE, _DOT = 48, 57, 46


@dataclass(frozen=True, slots=True)
class Decimals:
    """A column of numbers.

    Attributes:
        mantissas, scales: by row; 0 where a text is no number.
        reasons: row → why it is no number.
    """

    mantissas: Integers
    scales: Integers
    reasons: dict[int, str]

    def needed(self) -> Integers:
        """Return the least scale at which each number is exact: ``1.500`` needs 1, ``200`` needs 0."""
        scales, rest = self.scales.copy(), self.mantissas.copy()
        scales[rest == 0] = 0
        while (surplus := (scales > 0) & (rest % 10 == 0)).any():
            scales[surplus] -= 1
            rest[surplus] //= 10
        return scales

    def at(self, scale: Integers) -> tuple[Integers, npt.NDArray[np.bool_]]:
        """Return the mantissas at another scale for each row, and which are exact and fit 64 bits."""
        shift = scale - self.scales
        up = _POWERS[np.clip(shift, 0, DIGITS)]
        down = _POWERS[np.clip(-shift, 0, DIGITS)]
        fits = (np.abs(self.mantissas) <= INT64_MAX // up) & (np.abs(shift) <= DIGITS)
        exact = (self.mantissas % down == 0) & (fits | (self.mantissas == 0))
        return np.where(exact, self.mantissas // down * up, 0), exact


def decimals(fields: Fields, column: int) -> Decimals:
    """Return a column of unsigned decimal numbers."""
    starts, ends = fields.starts[:, column], fields.ends[:, column]
    rows = len(fields)
    values, scales, digits = (np.zeros(rows, np.int64) for _ in range(3))
    plain = ends > starts
    dots = np.zeros(rows, np.int64)
    data = np.frombuffer(fields.data, np.uint8)
    width = min(int((ends - starts).max(initial=0)), DIGITS + 1)
    for back in range(width, 0, -1):
        at = ends - back
        inside = at >= starts
        char = data[np.where(inside, at, 0)].astype(np.int64)
        digit = inside & (char >= _ZERO) & (char <= _NINE)
        dot = inside & (char == _DOT)
        plain &= digit | dot | ~inside
        # The 19th digit would overflow: such a row is no plain one, whatever becomes of its value.
        values = np.where(digit & (digits < DIGITS), values * 10 + (char - _ZERO), values)
        scales += digit & (dots > 0)
        digits += digit
        dots += dot
    plain &= (digits > 0) & (digits <= DIGITS) & (dots <= 1) & (ends - starts <= width)
    reasons: dict[int, str] = {}
    for row in np.flatnonzero(~plain).tolist():
        values[row], scales[row] = 0, 0
        text = fields.bytes_of(row, column)
        try:
            exponent = needed_exponent(text.decode())
            if exponent < -DIGITS:
                raise ValueRefused(f"more than {DIGITS} decimals: {shown(text)}")  # noqa: TRY301 one place for reasons
            value = mantissa(text.decode(), exponent)
        except ValueRefused as error:
            reasons[row] = str(error)
            continue
        if value < 0:
            reasons[row] = f"less than 0: {shown(text)}"
            continue
        values[row], scales[row] = value, -exponent
    return Decimals(values, scales, reasons)


def integers(fields: Fields, column: int) -> Decimals:
    """Return a column of whole numbers; others have a reason."""
    found = decimals(fields, column)
    for row in np.flatnonzero(found.needed() > 0).tolist():
        found.reasons[row] = f"not a whole number: {shown(fields.bytes_of(row, column))}"
    whole, _ = found.at(np.zeros(len(fields), np.int64))
    return Decimals(whole, np.zeros(len(fields), np.int64), found.reasons)
