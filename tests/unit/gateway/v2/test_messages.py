from __future__ import annotations

import inspect

import msgspec
import pytest

from gateway.v2.document import PACKED, SENT, UNPACKED
from gateway.v2.messages import BookSnapshot, TradesSnapshot, with_id


@pytest.mark.parametrize("request_id", [7, "x", None])
def test_an_answer_has_the_requests_id_and_others_have_none(request_id: int | str | None) -> None:
    message = TradesSnapshot("trades", "kraken", "BTC-USD", [])
    assert "id" not in msgspec.to_builtins(message)
    assert "gap" not in msgspec.to_builtins(message)
    assert msgspec.to_builtins(with_id(message, request_id))["id"] == request_id


def test_the_type_comes_first_and_every_message_is_documented() -> None:
    text = msgspec.json.encode(BookSnapshot("book", "k", "S", "1", 1, 1, True, None, [], []))
    assert text.startswith(b'{"type":"snapshot","channel":"book"')
    for kind in SENT:
        assert inspect.getdoc(kind), kind


def test_both_forms_have_the_same_fields_but_for_the_exponents() -> None:
    for packed, unpacked in zip(PACKED, UNPACKED, strict=True):
        assert set(packed.__struct_fields__) - set(unpacked.__struct_fields__) == {"price_exponent", "size_exponent"}
        assert set(unpacked.__struct_fields__) <= set(packed.__struct_fields__)
