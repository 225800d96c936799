"""Fixed point against :mod:`decimal`, which is exact and slow."""

from __future__ import annotations

from decimal import Context, Decimal, Inexact, InvalidOperation

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from alphapulse.errors import MantissaOverflow, NotANumber, PrecisionExceeded, ValueRefused
from alphapulse.fixed import INT64_MAX, INT64_MIN, decimal_text, mantissa, needed_exponent, rescale

EXACT = Context(prec=400, traps=[Inexact, InvalidOperation])

int64 = st.integers(INT64_MIN, INT64_MAX)
exponents = st.integers(-30, 6)


@st.composite
def decimal_texts(draw: st.DrawFn) -> str:
    """Decimal text in every form: signs, zeros at both ends, no digits on one side of the dot, scientific."""
    digits = st.text("0123456789", max_size=22)
    whole, fraction = draw(digits), draw(digits)
    dot = draw(st.sampled_from(["", "."]))
    if not dot:
        fraction = ""
    if not whole and not fraction:
        whole = "0"
    power = draw(st.one_of(st.just(""), st.integers(-30, 30).map(lambda n: f"e{n}"), st.just("E+2")))
    return draw(st.sampled_from(["", "-", "+"])) + whole + dot + fraction + power


@given(decimal_texts(), exponents)
@example("9223372036854775807", 0)
@example("-9223372036854775808", 0)
@example("9223372036854775808", 0)
@example(".5", -1)
@example("5.", 0)
def test_mantissa_is_what_decimal_says(text: str, exponent: int) -> None:
    exact = EXACT.scaleb(EXACT.create_decimal(text), -exponent)
    if exact != exact.to_integral_value():
        with pytest.raises(PrecisionExceeded) as caught:
            mantissa(text, exponent)
        # What the error says is needed is enough, and nothing coarser is.
        assert _is_integral(text, caught.value.needed)
        assert not _is_integral(text, caught.value.needed + 1)
    elif not INT64_MIN <= exact <= INT64_MAX:
        with pytest.raises(MantissaOverflow):
            mantissa(text, exponent)
    else:
        assert mantissa(text, exponent) == int(exact)


def _is_integral(text: str, exponent: int) -> bool:
    exact = EXACT.scaleb(EXACT.create_decimal(text), -exponent)
    return exact == exact.to_integral_value()


@given(decimal_texts())
def test_needed_exponent_is_the_coarsest_that_is_exact(text: str) -> None:
    needed = needed_exponent(text)
    assert needed <= 0
    assert _is_integral(text, needed)
    assert needed == 0 or not _is_integral(text, needed + 1)


@given(int64, st.integers(-100, 100))
def test_round_trip(value: int, exponent: int) -> None:
    text = decimal_text(value, exponent)
    assert mantissa(text, exponent) == value
    assert EXACT.create_decimal(text) == EXACT.scaleb(Decimal(value), exponent)


@given(int64, exponents)
def test_text_is_canonical(value: int, exponent: int) -> None:
    text = decimal_text(value, exponent)
    digits = text.removeprefix("-")
    assert digits == "0" or digits[0] != "0" or digits.startswith("0.")
    assert "." not in text or text[-1] not in "0."
    assert text != "-0"


@given(int64, exponents, st.integers(0, 25))
def test_rescale_keeps_the_number_or_refuses(value: int, exponent: int, finer: int) -> None:
    exact = value * 10**finer
    if INT64_MIN <= exact <= INT64_MAX:
        assert rescale(value, exponent, exponent - finer) == exact
        assert decimal_text(exact, exponent - finer) == decimal_text(value, exponent)
    else:
        with pytest.raises(MantissaOverflow):
            rescale(value, exponent, exponent - finer)


@given(st.text(st.sampled_from("0123456789.eE+-_ ٣x\n"), max_size=12), exponents)
def test_any_text_is_a_number_exactly_or_refused(text: str, exponent: int) -> None:
    """What is accepted is what decimal accepts, less its liberties: underscores, blanks, other scripts, names."""
    try:
        value = mantissa(text, exponent)
    except NotANumber:
        plain = text.isascii() and not set(text) & set("_ \n")
        assert not plain or not _is_decimal(text) or len(text.lower().partition("e")[2].lstrip("+-")) > 4
    except ValueRefused:
        assert _is_decimal(text)
    else:
        assert EXACT.create_decimal(text) == EXACT.scaleb(Decimal(value), exponent)


def _is_decimal(text: str) -> bool:
    try:
        Decimal(text)
    except InvalidOperation:
        return False
    return True
