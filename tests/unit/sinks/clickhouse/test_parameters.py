from __future__ import annotations

from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sinks.clickhouse.parameters import Parameter, ParametersRefused, bound, parameters_of, placeholders

HEADER = """\
-- What it answers.
--
-- parameter symbol String: the symbol, a text
-- parameter at DateTime64(9, 'UTC') = 2200-01-01: the instant; by default now
SELECT {symbol:String}, { at : DateTime64(9, 'UTC') }, {count:UInt8}, '{no:String}', "{no:String}" -- {no:String}
/* {no:String} */
"""


def test_parameters_are_those_of_header_and_text() -> None:
    assert parameters_of(HEADER) == (
        Parameter("symbol", "String", None, "the symbol, a text"),
        Parameter("at", "DateTime64(9, 'UTC')", "2200-01-01", "the instant; by default now"),
        Parameter("count", "UInt8"),
    )
    assert placeholders("SELECT 1") == {}


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("-- parameter x String\nSELECT {x:String}", "not a parameter line"),
        ("-- parameter x String: a\nSELECT 1", "parameter x is described, but the query does not use it"),
        ("-- parameter x String: a\nSELECT {x:UInt8}", "parameter x is described as String, but is UInt8"),
        ("-- parameter x UInt8: a\n-- parameter x UInt8: b\nSELECT {x:UInt8}", "parameter x is described twice"),
        ("SELECT {x:UInt8}, {x:String}", "parameter x is UInt8 and String"),
    ],
)
def test_a_header_that_does_not_fit_is_refused(text: str, told: str) -> None:
    with pytest.raises(ParametersRefused, match=told):
        parameters_of(text)


@pytest.mark.parametrize(
    ("kind", "text", "value"),
    [
        ("String", "it's {x}\t\\", "it's {x}\t\\"),
        ("UInt64", "18446744073709551615", "18446744073709551615"),
        ("Int8", "-128", "-128"),
        ("Float64", "1e3", "1000.0"),
        ("Decimal(18, 3)", "0.250", "0.250"),
        ("Decimal64(2)", "1e2", "100"),
        ("Array(String)", "['a']", "['a']"),
        ("DateTime64(9, 'UTC')", "2026-01-31", "2026-01-31 00:00:00"),
        ("DateTime64(9, 'UTC')", "2026-01-31T12:00Z", "2026-01-31 12:00:00"),
        ("DateTime64(9, 'UTC')", "2026-01-31 12:00:00.123456789", "2026-01-31 12:00:00.123456789"),
        ("DateTime64(9, 'UTC')", "2026-01-31T01:00:00.5+02:30", "2026-01-30 22:30:00.5"),
        ("DateTime64(9, 'UTC')", "-90m", "2026-01-30 22:30:00.000000"),
        ("DateTime64(9, 'UTC')", "-1d", "2026-01-30 00:00:00.000000"),
    ],
)
def test_values_become_what_clickhouse_reads(kind: str, text: str, value: str) -> None:
    now = 1_769_817_600.0  # 2026-01-31
    assert bound([Parameter("x", kind)], {"x": text}, lambda: now) == {"x": value}


@pytest.mark.parametrize(
    ("kind", "text", "told"),
    [
        ("UInt8", "256", "a whole number from 0 to 255"),
        ("Int64", "1.0", "a whole number from -9223372036854775808 to 9223372036854775807"),
        ("Int64", "²", "a whole number"),
        ("Float64", "x", "a number"),
        ("Decimal(18, 3)", "0.0001", "a number of at most 15 digits and 3 decimals"),
        ("Decimal(18, 3)", "1e15", "a number of at most 15 digits"),
        ("Decimal(18, 3)", "NaN", "a number of at most 15 digits"),
        ("DateTime64(9, 'UTC')", "yesterday", "a time such as"),
        ("DateTime64(9, 'UTC')", "2026-02-30", "a time such as"),
        ("DateTime64(9, 'UTC')", "9999-01-01", "a time from 1900 to 2261"),
    ],
)
def test_a_value_of_another_type_is_named(kind: str, text: str, told: str) -> None:
    with pytest.raises(ParametersRefused, match=rf"^parameter x \(.*\): '.*' is not {told}"):
        bound([Parameter("x", kind)], {"x": text})


def test_missing_and_unknown_ones_are_named() -> None:
    one = Parameter("symbol", "String", None, "the symbol")
    with pytest.raises(
        ParametersRefused, match=r"^parameter symbol \(String, the symbol\) has no value: add -p symbol=…$"
    ):
        bound([one], {})
    with pytest.raises(
        ParametersRefused, match=r"^no parameter 'symbl', did you mean symbol\? \(parameters: symbol\)$"
    ):
        bound([one], {"symbl": "x"})
    with pytest.raises(ParametersRefused, match=r"\(parameters: it has none\)"):
        bound([], {"x": "1"})


@given(st.decimals(allow_nan=False, allow_infinity=False, places=18, min_value=-(10**19), max_value=10**19))
def test_a_decimal_stays_exact(value: Decimal) -> None:
    assert Decimal(bound([Parameter("x", "Decimal(38, 18)")], {"x": str(value)})["x"]) == value
