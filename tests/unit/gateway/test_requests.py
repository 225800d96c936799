from __future__ import annotations

import json
from typing import Any

import pytest

from alphapulse.errors import RequestRefused
from gateway import protocol
from gateway.protocol import Subscription
from gateway.requests import Ping, Subscribe, Unsubscribe, parse


def say(**fields: Any) -> str:
    return json.dumps(fields)


def test_the_clients_messages_are_read() -> None:
    book = Subscription("book", "kraken", "BTC-USD")
    fields = {"channel": "book", "venue": "kraken", "symbol": "BTC-USD"}
    assert parse(say(op="subscribe", id=7, **fields)) == Subscribe(7, book)
    assert parse(say(op="unsubscribe", id="x", **fields)) == Unsubscribe("x", book)
    assert parse(say(op="ping", id=8)) == Ping(8)
    assert parse(say(op="ping")) == Ping(None)


def test_arbitrage_takes_a_symbol_or_all_and_no_venue() -> None:
    for symbol in ("*", "BTC-USD"):
        message = parse(say(op="subscribe", id=1, channel="arbitrage", symbol=symbol))
        assert message == Subscribe(1, Subscription("arbitrage", None, symbol))


def test_fields_of_later_versions_are_ignored() -> None:
    assert parse(say(op="ping", id=1, color="red")) == Ping(1)


@pytest.mark.parametrize(
    ("text", "code", "named"),
    [
        ("{", "bad_json", "'{'"),
        ("[1]", "bad_json", "expected a JSON object"),
        (None, "not_text", "binary"),
        ("x" * 5000, "too_long", "5000"),
        (say(id=1), "missing_key", "op"),
        (say(op="buy"), "unknown_op", "'buy'"),
        (say(op=5), "bad_value", "op"),
        (say(op="ping", id=True), "bad_value", "id"),
        (say(op="ping", id="x" * 65), "bad_value", "id"),
        (say(op="ping", id=[1]), "bad_value", "id"),
        (say(op="subscribe"), "missing_key", "channel"),
        (say(op="subscribe", channel="boks"), "unknown_channel", "'boks'"),
        (say(op="subscribe", channel="book", symbol="A-B"), "missing_key", "venue"),
        (say(op="subscribe", channel="book", venue="kraken"), "missing_key", "symbol"),
        (say(op="subscribe", channel="book", venue="kraken", symbol=3), "bad_value", "symbol"),
        (say(op="subscribe", channel="arbitrage", venue="kraken", symbol="*"), "bad_value", "venue"),
    ],
)
def test_what_is_no_message_is_refused_by_name(text: str | None, code: str, named: str) -> None:
    with pytest.raises(RequestRefused) as refused:
        parse(text)
    assert refused.value.code == code
    assert named in str(refused.value)


@pytest.mark.parametrize("key", ["id", "op", "symbol"])
def test_a_deeply_nested_value_is_refused(key: str) -> None:
    deep = "[" * 1000 + "]" * 1000
    fields = {"op": '"subscribe"', "id": "1", "channel": '"book"', "venue": '"kraken"', "symbol": '"A-B"'} | {key: deep}
    with pytest.raises(RequestRefused, match=key) as refused:
        parse("{" + ",".join(f'"{name}":{value}' for name, value in fields.items()) + "}")
    assert refused.value.code == "bad_value"


def test_a_refusal_carries_the_request_id() -> None:
    with pytest.raises(RequestRefused) as refused:
        parse(say(op="subscribe", id=9, channel="boks"))
    message = json.loads(protocol.error(refused.value))
    assert message["type"] == "error"
    assert (message["id"], message["code"]) == (9, "unknown_channel")
    assert "book, trades" in message["message"]
