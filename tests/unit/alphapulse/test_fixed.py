"""Exact fixed-point numbers from text and back."""

from __future__ import annotations

import pytest

from alphapulse.errors import MantissaOverflow, NotANumber, PrecisionExceeded, ValueRefused
from alphapulse.fixed import (
    EXPONENT_LIMIT,
    INT64_MAX,
    INT64_MIN,
    TEXT_EXPONENT_LIMIT,
    decimal_text,
    divided,
    mantissa,
    needed_exponent,
    rescale,
    surplus_digits,
)


@pytest.mark.parametrize(
    ("text", "exponent", "expected"),
    [
        ("61685.99", -2, 6168599),
        ("61685.9", -2, 6168590),
        ("61685.990000", -2, 6168599),
        ("61685", -2, 6168500),
        ("61685", 0, 61685),
        ("61685.", 0, 61685),
        ("61685.000", 0, 61685),
        ("61000", 3, 61),
        ("61000.0", 3, 61),
        (".5", -1, 5),
        (".5", -2, 50),
        ("0", -8, 0),
        ("0.000000", -2, 0),
        ("-0", -2, 0),
        ("0e99", 0, 0),
        ("-1.5", -1, -15),
        ("+1.5", -1, 15),
        ("1e-8", -8, 1),
        ("1E+2", 0, 100),
        ("1.50e1", 0, 15),
        ("000000000000000000000001.5", -1, 15),
        ("9223372036854775807", 0, INT64_MAX),
        ("-9223372036854775808", 0, INT64_MIN),
        ("92233720368547758.07", -2, INT64_MAX),
    ],
)
def test_mantissa(text: str, exponent: int, expected: int) -> None:
    assert mantissa(text, exponent) == expected


@pytest.mark.parametrize(
    "text",
    [
        "",
        ".",
        "-",
        "-.",
        "e5",
        ".e5",
        "1_0",
        "nan",
        "Infinity",
        "0x10",
        " 1",
        "1 ",
        "1\n",
        "1,5",
        "1.2.3",
        "١",
        "1.٥",
        "²",
    ],
)
@pytest.mark.parametrize("exponent", [0, -1, -2, -3, 1])
def test_what_is_no_number_is_refused(text: str, exponent: int) -> None:
    with pytest.raises(NotANumber) as caught:
        mantissa(text, exponent)
    assert caught.value.text == text


def test_a_digit_beyond_the_exponent_is_never_rounded() -> None:
    with pytest.raises(PrecisionExceeded) as caught:
        mantissa("61685.991", -2)
    assert (caught.value.exponent, caught.value.needed) == (-2, -3)
    assert str(caught.value) == "'61685.991' needs exponent -3, but the exponent is -2"
    with pytest.raises(PrecisionExceeded):
        mantissa("61685", 1)
    with pytest.raises(PrecisionExceeded):
        mantissa("1e-9", -8)


@pytest.mark.parametrize(
    ("text", "exponent"),
    [
        ("9223372036854775808", 0),
        ("-9223372036854775809", 0),
        ("92233720368547758.08", -2),
        ("10000000000", -10),
        ("1e9999", 0),
        ("1" * 1_000_000, 0),
    ],
)
def test_what_does_not_fit_is_refused_at_once(text: str, exponent: int) -> None:
    with pytest.raises(MantissaOverflow) as caught:
        mantissa(text, exponent)
    assert len(str(caught.value)) < 160


@pytest.mark.parametrize(
    ("text", "expected"),
    [("1.50", -1), ("1e-8", -8), ("200", 0), ("2e5", 0), ("0.000", 0), ("0.00000100", -6), ("-3.14", -2)],
)
def test_needed_exponent(text: str, expected: int) -> None:
    assert needed_exponent(text) == expected


def test_an_exponent_beyond_the_limit_is_refused() -> None:
    assert needed_exponent(f"1e-{EXPONENT_LIMIT}") == -EXPONENT_LIMIT
    with pytest.raises(PrecisionExceeded):
        needed_exponent(f"1e-{EXPONENT_LIMIT + 1}")
    with pytest.raises(NotANumber):
        needed_exponent("one")


@pytest.mark.parametrize(
    ("value", "exponent", "expected"),
    [
        (61686000, -3, "61686"),
        (61685990, -3, "61685.99"),
        (5, -8, "0.00000005"),
        (-5, -1, "-0.5"),
        (-15, -1, "-1.5"),
        (0, -8, "0"),
        (0, 10**9, "0"),
        (7, 0, "7"),
        (7, 2, "700"),
        (INT64_MIN, -19, "-0.9223372036854775808"),
        (1, -EXPONENT_LIMIT, "0." + "0" * 99 + "1"),
        (1, EXPONENT_LIMIT, "1" + "0" * 100),
    ],
)
def test_decimal_text(value: int, exponent: int, expected: str) -> None:
    assert decimal_text(value, exponent) == expected


@pytest.mark.parametrize("exponent", [TEXT_EXPONENT_LIMIT + 1, -TEXT_EXPONENT_LIMIT - 1, 2**31 - 1, -(2**31)])
def test_an_absurd_exponent_makes_no_text(exponent: int) -> None:
    with pytest.raises(ValueRefused, match=f"exponent {exponent} is beyond"):
        decimal_text(1, exponent)


def test_rescale() -> None:
    assert rescale(15, -1, -3) == 1500
    assert rescale(15, -1, -1) == 15
    assert rescale(0, 0, -(10**9)) == 0
    assert rescale(-9, 0, -18) == -9 * 10**18
    assert rescale(-1500, -3, -1) == -15
    assert rescale(0, 0, 10**9) == 0
    for target in (0, 10**9):
        with pytest.raises(ValueError, match="coarser"):
            rescale(1500, -3, target)
    with pytest.raises(MantissaOverflow):
        rescale(10, 0, -18)


def test_rescale_refuses_the_absurd_at_once() -> None:
    with pytest.raises(MantissaOverflow):
        rescale(1, 0, -(10**9))


@pytest.mark.parametrize(
    ("dividend", "divisor", "quotient"), [(5, 2, 2), (7, 2, 4), (1, 3, 0), (2, 3, 1), (6, 3, 2), (0, 7, 0), (-5, 2, -2)]
)
def test_half_goes_to_the_even_neighbour(dividend: int, divisor: int, quotient: int) -> None:
    assert divided(dividend, divisor) == quotient


@pytest.mark.parametrize(
    ("values", "digits"),
    [
        ((), 0),
        ((INT64_MAX, 0), 0),
        ((INT64_MAX + 1,), 1),
        ((-(10**20), 7), 2),
        ((INT64_MAX * 10,), 1),
        ((10 * INT64_MAX + 1,), 2),
    ],
)
def test_surplus_digits(values: tuple[int, ...], digits: int) -> None:
    assert surplus_digits(*values) == digits
    assert all(-(-abs(value) // 10**digits) <= INT64_MAX for value in values)
