"""The codec over the whole range of every field, and against bytes of every kind."""

from __future__ import annotations

import dataclasses
import struct
import tracemalloc
import typing
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from alphapulse.errors import RecordRefused
from alphapulse.fixed import INT64_MAX, INT64_MIN
from schemas.codec import Codec
from schemas.definitions import definitions
from schemas.records import TOPIC_OF, Record
from schemas.registry import LocalRegistry
from tests.fixtures.any_record import records

CODEC = Codec()
REGISTRY = LocalRegistry()

any_record = st.sampled_from(list(TOPIC_OF)).flatmap(records)


@pytest.mark.parametrize("kind", TOPIC_OF)
@given(data=st.data())
def test_round_trip(kind: type[Record], data: st.DataObject) -> None:
    record = data.draw(records(kind))
    decoded = CODEC.decode_as(kind, CODEC.encode(record))
    assert decoded == record
    for field in dataclasses.fields(decoded):
        # 1 == True == 1.0: equality alone would not see a changed type.
        assert type(getattr(decoded, field.name)) is type(getattr(record, field.name))


@given(any_record, st.data())
def test_what_is_cut_off_is_refused(record: Record, data: st.DataObject) -> None:
    value = CODEC.encode(record)
    with pytest.raises(RecordRefused):
        CODEC.decode(value[: data.draw(st.integers(0, len(value) - 1))])


@given(any_record, st.binary(min_size=1))
def test_what_has_a_tail_is_refused(record: Record, tail: bytes) -> None:
    with pytest.raises(RecordRefused):
        CODEC.decode(CODEC.encode(record) + tail)


@given(any_record, st.data())
def test_a_changed_byte_gives_a_sound_record_or_a_refusal(record: Record, data: st.DataObject) -> None:
    value = bytearray(CODEC.encode(record))
    value[data.draw(st.integers(5, len(value) - 1))] = data.draw(st.integers(0, 255))
    check_decoding(bytes(value))


@given(st.sampled_from(definitions()), st.binary(max_size=200))
def test_any_bytes_give_a_sound_record_or_a_refusal(found: Any, body: bytes) -> None:
    check_decoding(struct.pack(">bI", 0, REGISTRY.register(found)) + body)


@given(st.binary(max_size=40))
def test_any_bytes_at_all(value: bytes) -> None:
    with pytest.raises(RecordRefused):
        CODEC.decode(value)


counts = st.sampled_from([0x7F, 0xFF, 0x80, 0xFE, 0x01, 0x00])


@given(st.sampled_from(definitions()), st.lists(counts, max_size=60).map(bytes))
def test_malicious_lengths_take_no_memory(found: Any, body: bytes) -> None:
    """Bodies made of huge, negative and endless variable-length integers."""
    value = struct.pack(">bI", 0, REGISTRY.register(found)) + body
    tracemalloc.start()
    try:
        check_decoding(value)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < 2**20


def check_decoding(value: bytes) -> None:
    """Decode ``value``: it is refused, or gives a record that can be encoded and has the types it should have."""
    try:
        record = CODEC.decode(value)
    except RecordRefused:
        return
    hints = typing.get_type_hints(type(record))
    for field in dataclasses.fields(record):
        if hints[field.name] is int:
            assert INT64_MIN <= getattr(record, field.name) <= INT64_MAX
    again = CODEC.decode(CODEC.encode(record))
    assert repr(again) == repr(record)  # by text: a double may be no number, which equals nothing
