"""producers.venues.coinbase.server"""

from __future__ import annotations

import json
from typing import Any

import pytest

from producers.venue_server.session import SessionAnswer
from producers.venues.coinbase.server import CoinbaseSession

NOW = 1_618_678_133_710_264_999


def ask(session: CoinbaseSession, **message: Any) -> tuple[dict[str, Any], SessionAnswer]:
    answer = session.received(json.dumps(message).encode(), NOW)
    (reply,) = answer.replies
    return json.loads(reply), answer


@pytest.fixture
def session() -> CoinbaseSession:
    return CoinbaseSession(["BTC-USD", "ETH-USD"])


def test_the_answer_lists_all_subscriptions(session: CoinbaseSession) -> None:
    reply, answer = ask(session, type="subscribe", product_ids=["BTC-USD"], channels=["level2_batch", "matches"])
    assert [new.key for new in answer.added] == [("book", "BTC-USD"), ("trades", "BTC-USD")]
    reply, answer = ask(session, type="subscribe", channels=[{"name": "heartbeat", "product_ids": ["ETH-USD"]}])
    assert reply == {
        "type": "subscriptions",
        "channels": [
            {"name": "level2_batch", "product_ids": ["BTC-USD"], "account_ids": None},
            {"name": "matches", "product_ids": ["BTC-USD"], "account_ids": None},
            {"name": "heartbeat", "product_ids": ["ETH-USD"], "account_ids": None},
        ],
    }
    _, answer = ask(session, type="subscribe", product_ids=["BTC-USD"], channels=["matches"])
    assert answer.added == []


@pytest.mark.parametrize(
    ("message", "reason"),
    [
        (
            {"type": "subscribe", "product_ids": ["BTC-USD", "NO-PE"], "channels": ["matches"]},
            "NO-PE is not a valid product",
        ),
        ({"type": "subscribe", "channels": ["matches"]}, " is not a valid product"),
        ({"type": "subscribe", "product_ids": ["BTC-USD"], "channels": ["books"]}, "books is not a valid channel"),
        ({"type": "subscribe", "product_ids": ["BTC-USD"], "channels": ["level2"]}, "level2 requires authentication"),
        ({"type": "subscribe", "product_ids": ["BTC-USD"]}, "No channels provided"),
        ({"type": "dance"}, "Type has to be either subscribe or unsubscribe"),
    ],
)
def test_one_fault_refuses_the_whole_message(session: CoinbaseSession, message: dict[str, Any], reason: str) -> None:
    reply, answer = ask(session, **message)
    assert (reply["type"], reply["message"], reply["reason"]) == ("error", "Failed to subscribe", reason)
    assert answer.added == []
    assert session.subscriptions == {}


def test_malformed_messages(session: CoinbaseSession) -> None:
    assert json.loads(session.received(b"{", NOW).replies[0]) == {"type": "error", "message": "Malformed JSON"}


def test_a_signed_message_gets_level2(session: CoinbaseSession) -> None:
    _, answer = ask(session, type="subscribe", product_ids=["BTC-USD"], channels=["level2"], signature="x")
    assert answer.added[0].key == ("book", "BTC-USD")


def test_unsubscribe_by_product_and_by_channel(session: CoinbaseSession) -> None:
    ask(session, type="subscribe", product_ids=["BTC-USD", "ETH-USD"], channels=["level2_batch", "matches"])
    reply, answer = ask(session, type="unsubscribe", product_ids=["BTC-USD"], channels=["level2_batch"])
    assert [gone.key for gone in answer.removed] == [("book", "BTC-USD")]
    assert reply["channels"][0]["product_ids"] == ["ETH-USD"]
    reply, answer = ask(session, type="unsubscribe", channels=["matches"])
    assert len(answer.removed) == 2
    assert [channel["name"] for channel in reply["channels"]] == ["level2_batch"]
    assert ask(session, type="unsubscribe")[0]["message"] == "Failed to unsubscribe"


def test_heartbeats_repeat_the_last_trade_that_was_sent(session: CoinbaseSession) -> None:
    ask(session, type="subscribe", product_ids=["BTC-USD", "ETH-USD"], channels=["heartbeat", "matches"])
    assert session.heartbeat(NOW, idle=True) == []
    match = b'{"type":"match","trade_id":5,"sequence":77,"product_id":"BTC-USD"}'
    assert session.outgoing(match) is match
    session.outgoing(b'{"type":"match","trade_id":broken}')
    (beat,) = map(json.loads, session.heartbeat(NOW, idle=False))
    assert beat == {
        "type": "heartbeat",
        "last_trade_id": 5,
        "sequence": 77,
        "product_id": "BTC-USD",
        "time": "2021-04-17T16:48:53.710264Z",
    }
    session.outgoing(b'{"type":"heartbeat","last_trade_id":6,"sequence":80,"product_id":"BTC-USD"}')
    (beat,) = map(json.loads, session.heartbeat(NOW, idle=False))
    assert (beat["last_trade_id"], beat["sequence"]) == (6, 80)


def test_heartbeats_tell_of_trades_that_were_not_sent_where_they_are_known(session: CoinbaseSession) -> None:
    ask(session, type="subscribe", product_ids=["BTC-USD"], channels=["heartbeat"])
    session.last_trade = lambda product: (9, 90)
    session.outgoing(b'{"type":"match","trade_id":5,"sequence":77,"product_id":"BTC-USD"}')
    (beat,) = map(json.loads, session.heartbeat(NOW, idle=False))
    assert (beat["last_trade_id"], beat["sequence"]) == (9, 90)
