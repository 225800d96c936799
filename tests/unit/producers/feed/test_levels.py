from __future__ import annotations

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from alphapulse.errors import PrecisionExceeded, ValueRefused
from alphapulse.fixed import mantissa
from producers.feed.levels import (
    PAIRS,
    LevelFormat,
    LevelParser,
    TextLevels,
    fitting,
    stated_decimals,
    tightest_exponent,
)
from producers.venues.kraken.messages import LEVELS


def pairs(*levels: tuple[str, str]) -> msgspec.Raw:
    return msgspec.Raw(msgspec.json.encode(list(levels)))


def kraken(*levels: tuple[str, str]) -> msgspec.Raw:
    return msgspec.Raw(f"[{','.join(_level(*level) for level in levels)}]".encode())


def _level(price: str, size: str) -> str:
    return f'{{"price":{price},"qty":{size}}}'


def test_uniform_levels_give_their_mantissas() -> None:
    levels = LevelParser(PAIRS).levels("bids", pairs(("61737.63000000", "0.50000000"), ("5.00000000", "0.00000000")))
    assert levels.mantissas(-8, -8) == ([6173763000000, 500000000], [50000000, 0])
    assert levels.texts() == (["61737.63000000", "5.00000000"], ["0.50000000", "0.00000000"])


def test_fewer_decimals_than_the_exponent_are_scaled() -> None:
    levels = LevelParser(LEVELS).levels("asks", kraken(("56119.00000", "0.14375128"), ("56120.10000", "1.00000000")))
    assert levels.mantissas(-8, -10) == ([5611900000000, 5612010000000], [1437512800, 10000000000])


@pytest.mark.parametrize(
    ("form", "raw"),
    [
        (PAIRS, b'[["1.5","2"],["1.25","20.125"],["3","4e-1"]]'),
        (LEVELS, b'[{"price":1.5,"qty":2},{"price":1.25,"qty":20.125},{"price":3,"qty":4e-1}]'),
        (LEVELS, b'[ {"qty":2, "price":1.5},{"price":1.25,"qty":20.125},{"price": "3","qty":4E-1, "more":[]} ]'),
    ],
)
def test_levels_of_any_other_shape_are_read_exactly(form: LevelFormat, raw: bytes) -> None:
    levels = LevelParser(form).levels("bids", msgspec.Raw(raw))
    assert levels.mantissas(-3, -3) == ([1500, 1250, 3000], [2000, 20125, 400])


def test_no_levels() -> None:
    assert LevelParser(PAIRS).levels("bids", msgspec.Raw(b"[]")).mantissas(-8, -8) == ([], [])
    assert LevelParser(PAIRS).levels("bids", msgspec.Raw(b"[ ]")).mantissas(-8, -8) == ([], [])


def test_a_parser_learns_new_decimals() -> None:
    parser = LevelParser(PAIRS)
    for raw in (pairs(("1.00", "2")), pairs(("1.000", "2.0")), pairs(("1", "2.00000000"))):
        assert parser.levels("bids", raw).mantissas(-8, -8) == ([100000000], [200000000])


@pytest.mark.parametrize(
    ("raw", "told"),
    [
        (b'[["1","-2"]]', "bids size: negative: '-2'"),
        (b'[["x","2"]]', "bids price: not a decimal number: 'x'"),
        (b'[["1_0","2"]]', "bids price: not a decimal number: '1_0'"),
        (b'[["1"]]', "bids: "),
        (b"[[1,2]]", "bids: "),
        (b'{"a":1}', "bids: "),
        (b'[["\xff","2"]]', "bids: "),
        (b'[["' + b"9" * 19 + b'","2"]]', "bids price: '9999999999999999999' at exponent -8"),
    ],
)
def test_a_refusal_names_side_field_and_value(raw: bytes, told: str) -> None:
    with pytest.raises(ValueRefused) as caught:
        LevelParser(PAIRS).levels("bids", msgspec.Raw(raw)).mantissas(-8, -8)
    assert told in str(caught.value)


def test_more_decimals_than_the_exponent_are_told_apart() -> None:
    with pytest.raises(PrecisionExceeded):
        LevelParser(PAIRS).levels("bids", pairs(("0.123456789", "1"))).mantissas(-8, -8)
    assert LevelParser(PAIRS).levels("bids", pairs(("0.120000000", "1"))).mantissas(-8, -8) == ([12000000], [100000000])


@pytest.mark.parametrize("exponent", [-18, -20, 0, 2])
def test_exponents_out_of_the_ordinary(exponent: int) -> None:
    levels = LevelParser(PAIRS).levels("bids", pairs(("0", "0")))
    assert levels.mantissas(exponent, exponent) == ([0], [0])


decimals = st.builds(
    lambda whole, fraction: f"{whole}.{fraction}" if fraction else str(whole),
    st.integers(0, 10**9),
    st.text("0123456789", max_size=8),
)


@given(st.lists(st.tuples(decimals, decimals), max_size=8))
def test_both_paths_agree(levels: list[tuple[str, str]]) -> None:
    expected = [mantissa(p, -8) for p, _ in levels], [mantissa(q, -8) for _, q in levels]
    assert LevelParser(PAIRS).levels("b", pairs(*levels)).mantissas(-8, -8) == expected
    assert LevelParser(LEVELS).levels("b", kraken(*levels)).mantissas(-8, -8) == expected
    assert TextLevels("b", [p for p, _ in levels], [q for _, q in levels]).mantissas(-8, -8) == expected


def test_stated_decimals_count_trailing_zeros() -> None:
    assert stated_decimals([]) == 0
    assert stated_decimals(["1", "2.50", "0.1"]) == 2
    assert stated_decimals(["1e-8", "+1.5"]) == 8


def test_fitting_takes_the_tightest_exponent_when_the_wanted_one_overflows() -> None:
    assert tightest_exponent(["1.50", "2"]) == -1
    assert fitting(["1.5"], -8, "price") == ([150000000], -8)
    assert fitting(["123456789012.5"], -8, "size") == ([1234567890125], -1)
    with pytest.raises(ValueRefused, match="size"):
        fitting(["123456789012345678901", "0.5"], -8, "size")
