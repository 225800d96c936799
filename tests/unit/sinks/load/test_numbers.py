from __future__ import annotations

import numpy as np
import pytest

from sinks.load.fields import Fields, split
from sinks.load.numbers import decimals, integers
from sinks.load.source import Block


def column(*texts: str) -> Fields:
    fields, faults = split(Block("".join(f"{text},x\n" for text in texts).encode(), 1, 0), ("a", "b"))
    assert not faults
    return fields


@pytest.mark.parametrize(
    ("text", "value", "scale"),
    [
        ("0", 0, 0),
        ("33136.6", 331366, 1),
        ("0.00000001", 1, 8),
        (".5", 5, 1),
        ("5.", 5, 0),
        ("007", 7, 0),
        ("1.500", 1500, 3),
        ("123456789.123456789", 123456789123456789, 9),
        ("1e-7", 1, 7),
        ("1.5E3", 1500, 0),
        ("9223372036854775807", 2**63 - 1, 0),
        ("0.000000000000000001", 1, 18),
        ("000000000000000000000000000001.25", 125, 2),
    ],
)
def test_texts_are_read_exactly(text: str, value: int, scale: int) -> None:
    found = decimals(column(text), 0)
    assert (found.mantissas.tolist(), found.scales.tolist(), found.reasons) == ([value], [scale], {})


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", "not a decimal number: ''"),
        (".", "not a decimal number"),
        ("1.2.3", "not a decimal number: '1.2.3'"),
        ("nan", "not a decimal number: 'nan'"),
        ("1_0", "not a decimal number"),
        (" 1", "not a decimal number"),
        ("٣", "not a decimal number"),
        ("-1", "less than 0: '-1'"),
        ("9223372036854775808", "does not fit a signed 64-bit mantissa"),
        ("1e400", "does not fit"),
        ("1e-19", "more than 18 decimals"),
        ("1e-101", "needs exponent -101"),
    ],
)
def test_what_is_no_number_has_a_reason(text: str, reason: str) -> None:
    found = decimals(column("1.5", text, "2"), 0)
    assert found.mantissas.tolist() == [15, 0, 2]
    assert list(found.reasons) == [1]
    assert reason in found.reasons[1]


def test_needed_decimals_are_those_without_zeros_at_the_end() -> None:
    found = decimals(column("1.500", "200", "0.00", "0.10000001"), 0)
    assert found.needed().tolist() == [1, 0, 0, 8]


def test_numbers_at_another_scale_are_exact_or_told() -> None:
    found = decimals(column("1.50", "1.55", "92233720368.54775807", "9223372036.854775807", "0"), 0)
    values, exact = found.at(np.array([1, 1, 8, 10, 18]))
    assert values.tolist() == [15, 0, 2**63 - 1, 0, 0]
    assert exact.tolist() == [True, False, True, False, True]


def test_whole_numbers_may_have_a_point_but_no_fraction() -> None:
    found = integers(column("12", "12.0", "12.5", "x"), 0)
    assert found.mantissas.tolist()[:2] == [12, 12]
    assert found.reasons[2] == "not a whole number: '12.5'"
    assert "not a decimal number" in found.reasons[3]
