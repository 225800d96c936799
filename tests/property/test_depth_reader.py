"""Depth records with levels left unread: the same records, and the same refusals, as decoded as a whole."""

from __future__ import annotations

import struct
from collections.abc import Callable
from dataclasses import fields, replace
from functools import partial

from hypothesis import given
from hypothesis import strategies as st

from alphapulse.errors import RecordRefused
from schemas.codec import Codec
from schemas.definitions import definition
from schemas.lazy_levels import LEVELS, best_prices
from schemas.records import Depth
from schemas.registry import LocalRegistry
from tests.fixtures.any_record import records
from tests.fixtures.records import DEPTH

CODEC = Codec()
CODEC.decode_depth(CODEC.encode(DEPTH))
HEAD = struct.pack(">bI", 0, LocalRegistry().register(definition(Depth)))


@st.composite
def books(draw: st.DrawFn) -> Depth:
    """Return a Depth as the processors write it."""
    made = draw(records(Depth))
    assert isinstance(made, Depth)
    for side in ("bid", "ask"):
        prices = draw(st.lists(st.integers(1, 2**62 - 1), max_size=70))
        setattr(made, f"{side}_prices", prices)
        sizes = st.one_of(st.integers(1, 300), st.integers(1, 2**62 - 1))
        setattr(made, f"{side}_sizes", draw(st.lists(sizes, min_size=len(prices), max_size=len(prices))))
    return made


def refusal_or_record(decode: Callable[[bytes], Depth], value: bytes) -> str | Depth:
    """Return the record, or why it is refused."""
    try:
        return decode(value)
    except RecordRefused as error:
        return str(error)


def check(value: bytes) -> None:
    """Decode in both ways and compare."""
    expected = refusal_or_record(partial(CODEC.decode_as, Depth), value)
    found = refusal_or_record(CODEC.decode_depth, value)
    if isinstance(found, Depth) and isinstance(expected, Depth):
        assert best_prices(found) == best_prices(expected)
        for field in fields(Depth):
            assert type(getattr(found, field.name)) is type(getattr(expected, field.name))
    assert found == expected


@given(st.one_of(books(), records(Depth)))
def test_the_same_record(record: Depth) -> None:
    check(CODEC.encode(record))


@given(books(), st.data())
def test_changed_bytes(record: Depth, data: st.DataObject) -> None:
    value = bytearray(CODEC.encode(record))
    for _ in range(data.draw(st.integers(1, 3))):
        value[data.draw(st.integers(5, len(value) - 1))] = data.draw(
            st.one_of(st.integers(0, 255), st.sampled_from([0, 1, 2, 0x80, 0xFF]))
        )
    check(bytes(value))


@given(books(), st.data())
def test_missing_and_surplus_bytes(record: Depth, data: st.DataObject) -> None:
    value = CODEC.encode(record)
    at = data.draw(st.integers(5, len(value)))
    gone = data.draw(st.integers(0, 3))
    check(value[:at] + data.draw(st.binary(max_size=3)) + value[at + gone :])


@given(st.lists(st.sampled_from([0, 0, 2, 4, 1, 3, 0x80, 0x81, 0xFF]), max_size=40).map(bytes))
def test_levels_of_any_bytes(tail: bytes) -> None:
    whole = CODEC.encode(DEPTH)
    bare = replace(DEPTH, bid_prices=[], bid_sizes=[], ask_prices=[], ask_sizes=[])
    at = len(CODEC.encode(bare)) - len(LEVELS)
    check(whole[:at] + tail)


@given(st.binary(max_size=80))
def test_bodies_of_any_bytes(body: bytes) -> None:
    check(HEAD + body)
