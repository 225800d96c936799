"""Both encodings."""

from __future__ import annotations

import msgspec
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from alphapulse.client.errors import ProtocolError
from alphapulse.client.wire import Encoding, decode, encode
from tests.fixtures.examples import examples

VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**63), 2**64 - 1) | st.floats(allow_nan=False) | st.text() | st.binary(),
    lambda inner: st.lists(inner, max_size=20) | st.dictionaries(st.text(max_size=40), inner, max_size=20),
    max_leaves=5,
)
MAPS = st.lists(
    st.dictionaries(st.text(max_size=3), VALUES, max_size=3).map(lambda fields: fields | {"type": "t"}),
    min_size=1,
    max_size=3,
)


@given(MAPS)
@settings(max_examples=examples(50), deadline=None, suppress_health_check=[HealthCheck.too_slow])
def test_maps_one_after_the_other_are_told_apart(messages: list[dict[str, object]]) -> None:
    assert decode(b"".join(map(msgspec.msgpack.encode, messages)), "msgpack") == messages


@given(MAPS, st.integers(1))
@settings(max_examples=examples(50), deadline=None, suppress_health_check=[HealthCheck.too_slow])
def test_cut_data_is_refused(messages: list[dict[str, object]], cut: int) -> None:
    whole = b"".join(map(msgspec.msgpack.encode, messages))
    last = len(msgspec.msgpack.encode(messages[-1]))
    if last > 1:
        with pytest.raises(ProtocolError, match="not msgpack"):
            decode(whole[: -1 - cut % (last - 1)], "msgpack")


@pytest.mark.parametrize("values", [["x" * 300], list(range(70_000)), [b"y" * 70_000, "z" * 70_000], [{"k": -(2**40)}]])
def test_long_values(values: list[object]) -> None:
    message = {"type": "t", "values": values}
    assert decode(msgspec.msgpack.encode(message) * 2, "msgpack") == [message, message]


def test_extensions_are_passed_over() -> None:
    message = {"type": "t", "of": msgspec.msgpack.Ext(1, b"abc")}
    assert len(decode(msgspec.msgpack.encode(message) * 2, "msgpack")) == 2


@pytest.mark.parametrize(
    ("data", "encoding", "reason"),
    [
        (b"{}", "json", "a binary WebSocket message; the encoding is json"),
        ("{}", "msgpack", "a text WebSocket message; the encoding is msgpack"),
        ("{", "json", "not json"),
        (b"\xc1", "msgpack", "0xc1 at 0 begins no value"),
        ("[]", "json", r"expected an object with a type, found \[\]"),
        ('{"type":1}', "json", "expected an object with a type"),
        ("[" * 5_000 + "]" * 5_000, "json", "not json: maximum recursion depth exceeded"),
        ('{"type":' + "[" * 900 + "]" * 900 + "}", "json", r"found {'type': \[\[\[\[\.\.\."),
        (b"\x91" * 900 + b"\x01", "msgpack", "expected an object with a type, found"),
    ],
)
def test_other_data_is_refused(data: str | bytes, encoding: Encoding, reason: str) -> None:
    with pytest.raises(ProtocolError, match=reason):
        decode(data, encoding)


@pytest.mark.parametrize("encoding", ["json", "msgpack"])
def test_messages_to_the_gateway(encoding: Encoding) -> None:
    message = {"op": "ping", "id": 3, "type": "t"}
    assert decode(encode(message, encoding), encoding) == [message]
