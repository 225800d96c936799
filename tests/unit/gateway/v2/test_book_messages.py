from __future__ import annotations

import pytest
from msgspec import UNSET, to_builtins

from gateway.v2.book_messages import BboMessage, BookMessage, Head

HEAD = Head("kraken", "BTC-USD", 17, 4, 5_000_999, -2, -3)


def test_a_delta_in_both_forms() -> None:
    message = BookMessage("l2", HEAD, [(100, 5)], [(101, 0)], previous_sequence=3, best=([(100, 5)], []))
    common = {
        "type": "delta",
        "channel": "l2",
        "venue": "kraken",
        "symbol": "BTC-USD",
        "epoch": "17",
        "previous_sequence": 3,
        "sequence": 4,
        "time": 5000,
    }
    assert to_builtins(message.written(packed=False, checksum=False)) == common | {
        "bids": [["1", "0.005"]],
        "asks": [["1.01", "0"]],
    } or to_builtins(message.written(packed=False, checksum=False))["bids"] == [("1", "0.005")]
    assert to_builtins(message.written(packed=True, checksum=False)) == common | {
        "price_exponent": -2,
        "size_exponent": -3,
        "bids": [100, 5],
        "asks": [101, 0],
    }
    proofs = [to_builtins(message.written(packed=packed, checksum=True))["checksum"] for packed in (True, False)]
    assert proofs[0] == proofs[1]


def test_a_fault_has_no_levels_and_no_checksum() -> None:
    message = BookMessage("book", HEAD, (), (), fault="stale")
    for packed in (True, False):
        found = to_builtins(message.written(packed=packed, checksum=True))
        assert (found["valid"], found["reason"], list(found["bids"])) == (False, "stale", [])
        assert "checksum" not in found
        assert "id" not in found


@pytest.mark.parametrize("request_id", [7, "x", None])
def test_an_answer_has_the_requests_id(request_id: int | str | None) -> None:
    for message in (BookMessage("book", HEAD, (), ()), BboMessage(HEAD, None, (100, 5), None)):
        assert message.request_id is UNSET
        answer = message.answering(request_id)
        assert to_builtins(answer.written(packed=False, checksum=False))["id"] == request_id


def test_quotes_in_both_forms() -> None:
    message = BboMessage(HEAD, None, (100, 5), None)
    found = to_builtins(message.written(packed=False, checksum=False))
    assert (list(found["bid"]), found["ask"], found["valid"]) == (["1", "0.005"], None, True)
    packed = to_builtins(message.written(packed=True, checksum=False))
    assert (list(packed["bid"]), packed["price_exponent"], packed["size_exponent"]) == ([100, 5], -2, -3)
