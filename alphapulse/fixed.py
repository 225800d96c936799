"""Exact fixed-point numbers: decimal text to integer mantissas and back.

A price or size is ``mantissa × 10**exponent`` with both integers; floats are never used. The mantissa must fit
a signed 64-bit integer, as Avro's ``long`` and ClickHouse's ``Int64`` do.
"""

from __future__ import annotations

import re

from alphapulse.errors import MantissaOverflow, NotANumber, PrecisionExceeded, ValueRefused

INT64_MAX = 2**63 - 1
INT64_MIN = -(2**63)

EXPONENT_LIMIT = 100
"""Largest absolute exponent on the wire: it fits a byte, and no text made of it is longer than a line."""

TEXT_EXPONENT_LIMIT = 3 * EXPONENT_LIMIT
"""The same for results computed from several such numbers, such as a price times a size times a fee."""

_DECIMAL = re.compile(r"([+-]?)(\d*)(?:\.(\d*))?(?:[eE]([+-]?\d{1,4}))?", re.ASCII)


def mantissa(text: str, exponent: int) -> int:
    """Return the integer m with ``text == m × 10**exponent``, exactly.

    Raises:
        NotANumber: ``text`` is not a plain decimal number (``1_0``, ``nan``, blanks and hexadecimal are refused).
        PrecisionExceeded: a non-zero digit lies beyond the exponent.
        MantissaOverflow: the result does not fit a signed 64-bit integer.
    """
    # Nearly all texts are unsigned decimals without an exponent: moving the dot is enough. ``isdigit`` excludes
    # everything else (signs, blanks, letters); it is also true for digits of other scripts, hence ``isascii``.
    if exponent <= 0:
        whole, _, fraction = text.partition(".")
        surplus = len(fraction) + exponent
        if not surplus:
            digits = whole + fraction
        elif surplus < 0:
            digits = f"{whole}{fraction}{'0' * -surplus}"
        elif not fraction[-exponent:].strip("0"):
            digits = whole + fraction[:-exponent]
        else:
            return _mantissa_of_any_form(text, exponent)
        if (whole or fraction) and len(digits) < 19 and digits.isdigit() and digits.isascii():
            return int(digits)
    return _mantissa_of_any_form(text, exponent)


def _mantissa_of_any_form(text: str, exponent: int) -> int:
    digits, power, negative = _significant(text)
    if not digits:
        return 0
    shift = power - exponent
    if shift < 0:
        raise PrecisionExceeded(text, exponent, power)
    # Compute 10**shift only once it is known to be small.
    if len(digits) + shift > 19:
        raise MantissaOverflow(text, exponent)
    value = int(digits) * int(10**shift)
    if negative:
        value = -value
    if not INT64_MIN <= value <= INT64_MAX:
        raise MantissaOverflow(text, exponent)
    return value


def _significant(text: str) -> tuple[str, int, bool]:
    """Split into significant digits (no zeros at either end; empty for zero), power of ten, and sign."""
    match = _DECIMAL.fullmatch(text)
    if match is None:
        raise NotANumber(text)
    sign, whole, fraction, scientific = match.groups()
    fraction = fraction or ""
    if not whole and not fraction:
        raise NotANumber(text)
    digits = (whole + fraction).lstrip("0")
    stripped = digits.rstrip("0")
    power = int(scientific or 0) - len(fraction) + len(digits) - len(stripped)
    return stripped, power, sign == "-"


def needed_exponent(text: str) -> int:
    """Return the largest exponent ≤ 0 at which ``text`` is exact: ``"1.50"`` → -1, ``"1e-8"`` → -8, ``"200"`` → 0.

    Raises:
        NotANumber: ``text`` is not a plain decimal number.
        PrecisionExceeded: the exponent is beyond :data:`EXPONENT_LIMIT`.
    """
    digits, power, _ = _significant(text)
    if not digits:
        return 0
    if power < -EXPONENT_LIMIT:
        raise PrecisionExceeded(text, -EXPONENT_LIMIT, power)
    return min(power, 0)


def decimal_text(value: int, exponent: int) -> str:
    """Return ``value × 10**exponent`` as plain decimal text without trailing zeros: (61686000, -3) → ``"61686"``.

    Raises:
        ValueRefused: ``exponent`` is beyond :data:`TEXT_EXPONENT_LIMIT`; the text could fill the memory.
    """
    # Nearly all numbers are above one, so that the dot falls between digits, and most have others than zeros after it.
    if value > 0 > exponent and len(digits := str(value)) > -exponent:
        if digits[-1] != "0":
            return f"{digits[:exponent]}.{digits[exponent:]}"
        fraction = digits[exponent:].rstrip("0")
        return f"{digits[:exponent]}.{fraction}" if fraction else digits[:exponent]
    return _decimal_text_of_any(value, exponent)


def _decimal_text_of_any(value: int, exponent: int) -> str:
    if value == 0:
        return "0"
    if not -TEXT_EXPONENT_LIMIT <= exponent <= TEXT_EXPONENT_LIMIT:
        raise ValueRefused(f"exponent {exponent} is beyond ±{TEXT_EXPONENT_LIMIT}")
    if exponent >= 0:
        return str(value * 10**exponent)
    sign = "-" if value < 0 else ""
    digits = str(abs(value)).rjust(1 - exponent, "0")
    fraction = digits[exponent:].rstrip("0")
    whole = digits[:exponent]
    return f"{sign}{whole}.{fraction}" if fraction else f"{sign}{whole}"


def rescale(value: int, exponent: int, target: int) -> int:
    """Return the mantissa of the same number at exponent ``target``.

    Raises:
        ValueError: ``target`` is too coarse and would lose digits.
        MantissaOverflow: the result does not fit a signed 64-bit integer.
    """
    if value == 0:
        return 0
    if target > exponent:
        # No 64-bit number has more digits.
        quotient, rest = divmod(value, int(10 ** min(target - exponent, 20)))
        if rest:
            raise ValueError(f"{decimal_text(value, exponent)} has digits beyond the coarser exponent {target}")
        return quotient
    # 10**19 alone exceeds an int64; a power of millions would take minutes to compute.
    result = value * int(10 ** min(exponent - target, 19))
    if not INT64_MIN <= result <= INT64_MAX:
        raise MantissaOverflow(decimal_text(value, exponent), target)
    return result


def surplus_digits(*values: int) -> int:
    """Return how many digits to drop from the right of ``values`` so that all fit an int64, rounded up or down; ≥ 0."""
    largest = max(map(abs, values), default=0)
    digits = 0
    while largest > INT64_MAX:
        largest = -(-largest // 10)
        digits += 1
    return digits


def divided(dividend: int, divisor: int) -> int:
    """Return the quotient by ``divisor`` > 0, rounded half to even."""
    quotient, rest = divmod(dividend, divisor)
    twice = 2 * rest
    if twice > divisor or (twice == divisor and quotient % 2):
        return quotient + 1
    return quotient
