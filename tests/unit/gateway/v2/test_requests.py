from __future__ import annotations

import contextlib
import json
import re
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from alphapulse.errors import RequestRefused
from gateway.v2.requests import (
    CHANNELS,
    MAX_LIST,
    MAX_MESSAGE,
    OPERATIONS,
    Auth,
    Ping,
    SubscribeBook,
    SubscribeStatus,
    SubscribeTrades,
    check_length,
    parse,
)

BOOK = {"op": "subscribe", "channel": "book", "venue": "kraken", "symbol": "BTC-USD"}


def refusal(fields: Any) -> RequestRefused:
    with pytest.raises(RequestRefused) as refused:
        parse(fields)
    return refused.value


def test_what_is_left_out_has_its_default() -> None:
    found = parse(BOOK)
    assert isinstance(found, SubscribeBook)
    assert (found.id, found.levels, found.interval_ms, found.checksum, found.since) == (None, 20, 0, False, [])
    status = parse({"op": "subscribe", "channel": "status"})
    assert isinstance(status, SubscribeStatus)
    assert status.venue == "*"


def test_all_options_are_read() -> None:
    since = [{"venue": "kraken", "symbol": "BTC-USD", "epoch": "17", "sequence": 4}]
    found = parse(
        BOOK | {"id": "a", "venue": ["kraken", "c*"], "levels": 5, "interval_ms": 250, "checksum": True, "since": since}
    )
    assert isinstance(found, SubscribeBook)
    assert (found.id, found.venue, found.levels, found.interval_ms) == ("a", ["kraken", "c*"], 5, 250)
    assert (found.since[0].epoch, found.since[0].sequence) == ("17", 4)
    trades = parse(BOOK | {"channel": "trades", "since": [{"venue": "k", "symbol": "S", "trade_id": "9"}]})
    assert isinstance(trades, SubscribeTrades)
    assert trades.since[0].trade_id == "9"
    assert isinstance(parse({"op": "ping", "id": 7}), Ping)
    assert isinstance(parse({"op": "auth", "token": "t"}), Auth)


@pytest.mark.parametrize(
    ("fields", "code", "words"),
    [
        ([], "bad_value", "expected an object"),
        ({1: 2}, "bad_value", "text as keys"),
        ({}, "missing_key", "op"),
        ({"op": 1}, "bad_value", "op: expected text, found 1"),
        ({"op": "leap"}, "unknown_op", "'leap' unknown; known: subscribe"),
        ({"op": "subscribe"}, "missing_key", "channel"),
        (BOOK | {"channel": "boks"}, "unknown_channel", "'boks'"),
        ({"op": "snapshot", "channel": "alerts"}, "unknown_channel", "for snapshot"),
        ({"op": "subscribe", "channel": "book", "venue": "kraken"}, "missing_key", "symbol"),
        (BOOK | {"level": 5}, "unknown_key", "'level': not a key of subscribe book; known:"),
        (BOOK | {"channel": "bbo", "levels": 5}, "unknown_key", "'levels'"),
        ({"op": "subscribe", "channel": "arbitrage", "symbol": "*", "venue": "k"}, "unknown_key", "'venue'"),
        ({"op": "subscribe", "channel": "status", "symbol": "*"}, "unknown_key", "'symbol'"),
        ({"op": "ping", "channel": "book"}, "unknown_key", "not a key of ping"),
        ({"op": "ping", "": 1}, "unknown_key", "'': not a key of ping"),
        (BOOK | {"levels": 7}, "bad_value", "levels: .*7"),
        (BOOK | {"levels": True}, "bad_value", "levels"),
        (BOOK | {"interval_ms": 50}, "bad_value", "interval_ms"),
        (BOOK | {"checksum": 1}, "bad_value", "checksum"),
        (BOOK | {"venue": []}, "bad_value", "venue"),
        (BOOK | {"venue": ["*"] * (MAX_LIST + 1)}, "bad_value", "venue"),
        (BOOK | {"venue": "x" * 65}, "bad_value", "venue"),
        (BOOK | {"venue": [1]}, "bad_value", r"venue\[0\]"),
        (BOOK | {"since": [{"venue": "k", "symbol": "S"}]}, "bad_value", "since.*epoch"),
        (BOOK | {"since": [{"venue": "k", "symbol": "S", "epoch": 1, "sequence": 1}]}, "bad_value", "since"),
        (BOOK | {"since": [{"venue": "k", "symbol": "S", "epoch": "1", "sequence": 1, "x": 1}]}, "bad_value", "since"),
        (BOOK | {"id": 2**63}, "bad_value", "id: "),
        (BOOK | {"id": "x" * 65}, "bad_value", "id: "),
        (BOOK | {"id": True}, "bad_value", "id: "),
        ({"op": "auth", "token": ""}, "bad_value", "token"),
    ],
)
def test_what_is_wrong_is_named(fields: Any, code: str, words: str) -> None:
    refused = refusal(fields)
    assert refused.code == code
    assert re.search(words, str(refused)), str(refused)


@pytest.mark.parametrize("key", [None, "id", "op", "channel", "symbol", "levels", "since"])
def test_a_deeply_nested_value_is_refused(key: str | None) -> None:
    deep: Any = []
    for _ in range(1000):
        deep = [deep]
    found = refusal(deep if key is None else BOOK | {key: deep})
    assert found.code == "bad_value"
    assert len(str(found)) < 300


def test_an_error_has_the_id_of_its_message() -> None:
    assert refusal(BOOK | {"id": 12, "levels": 7}).request_id == 12
    assert refusal(BOOK | {"id": []}).request_id is None


def test_messages_have_a_maximum_length() -> None:
    check_length(MAX_MESSAGE)
    with pytest.raises(RequestRefused, match="32769") as refused:
        check_length(MAX_MESSAGE + 1)
    assert refused.value.code == "too_long"


def test_a_list_of_positions_fits_a_message() -> None:
    position = {
        "venue": "venue" * 2,
        "symbol": "SYMBOL-USDT" * 2,
        "epoch": "1763628000000000000",
        "sequence": 12_345_678_901,
    }
    assert len(json.dumps(BOOK | {"since": [position] * MAX_LIST})) < MAX_MESSAGE


_VALUES = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text()
    | st.sampled_from((*OPERATIONS, *CHANNELS, "*")),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=9), inner, max_size=4),
    max_leaves=6,
)
_KEYS = st.sampled_from(("op", "id", "channel", "venue", "symbol", "levels", "since", "token", "x"))


@given(st.dictionaries(_KEYS, _VALUES) | _VALUES)
def test_anything_is_parsed_or_refused(value: Any) -> None:
    with contextlib.suppress(RequestRefused):
        parse(value)
