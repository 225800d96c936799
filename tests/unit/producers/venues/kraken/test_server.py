"""producers.venues.kraken.server"""

from __future__ import annotations

import json
from typing import Any

import pytest

from producers.venue_server.session import SessionAnswer
from producers.venues.kraken.server import HEARTBEAT, KrakenSession

NOW = 1_618_678_133_710_264_000


def ask(session: KrakenSession, **message: Any) -> tuple[list[dict[str, Any]], SessionAnswer]:
    answer = session.received(json.dumps(message).encode(), NOW)
    return [json.loads(reply) for reply in answer.replies], answer


def subscribe(session: KrakenSession, channel: str, *symbols: str, **params: Any) -> list[dict[str, Any]]:
    replies, _ = ask(
        session, method="subscribe", params={"channel": channel, "symbol": list(symbols), **params}, req_id=3
    )
    return replies


@pytest.fixture
def session() -> KrakenSession:
    return KrakenSession(["BTC/USD", "ETH/USD"])


def test_the_venue_greets_with_its_status(session: KrakenSession) -> None:
    (status,) = map(json.loads, session.greeting(NOW))
    assert status["channel"] == "status"
    assert status["data"][0]["api_version"] == "v2"


def test_each_symbol_is_acknowledged(session: KrakenSession) -> None:
    replies, answer = ask(
        session,
        method="subscribe",
        params={"channel": "book", "symbol": ["BTC/USD", "ETH/USD"], "depth": 100},
        req_id=9,
    )
    assert replies[0] == {
        "method": "subscribe",
        "req_id": 9,
        "result": {"channel": "book", "snapshot": True, "depth": 100, "symbol": "BTC/USD"},
        "success": True,
        "time_in": "2021-04-17T16:48:53.710264Z",
        "time_out": "2021-04-17T16:48:53.710264Z",
    }
    assert [reply["result"]["symbol"] for reply in replies] == ["BTC/USD", "ETH/USD"]
    assert [(new.key, new.depth, new.snapshot) for new in answer.added] == [
        (("book", "BTC/USD"), 100, True),
        (("book", "ETH/USD"), 100, True),
    ]


def test_what_is_wrong_is_refused_symbol_by_symbol(session: KrakenSession) -> None:
    first, second = subscribe(session, "book", "XYZ/USD", "BTC/USD")
    assert (first["success"], first["error"], first["symbol"]) == (
        False,
        "Currency pair not supported XYZ/USD",
        "XYZ/USD",
    )
    assert second["success"]
    (again,) = subscribe(session, "book", "BTC/USD")
    assert again["error"] == "Already subscribed"
    assert subscribe(session, "book", "ETH/USD", depth=7)[0]["error"] == "Subscription depth not supported"
    assert subscribe(session, "books", "ETH/USD")[0]["error"] == "Unsupported channel: books"


@pytest.mark.parametrize("message", [b"{", b"[]", b'"x"', b"\xff"])
def test_what_is_no_object_is_malformed(session: KrakenSession, message: bytes) -> None:
    assert json.loads(session.received(message, NOW).replies[0])["error"] == "Malformed request"


def test_other_wrong_requests_are_refused(session: KrakenSession) -> None:
    assert ask(session, method="dance")[0][0]["error"] == "Unsupported method: dance"
    assert ask(session, method="subscribe")[0][0]["error"] == "Channel field must be a string"
    assert ask(session, method="subscribe", params={"channel": "book"})[0][0]["error"].startswith("Currency pair")


def test_trades_come_without_a_snapshot_unless_asked(session: KrakenSession) -> None:
    assert subscribe(session, "trade", "BTC/USD")[0]["result"]["snapshot"] is False
    assert subscribe(session, "trade", "ETH/USD", snapshot=True)[0]["result"]["snapshot"] is True


def test_instruments_have_no_symbol(session: KrakenSession) -> None:
    replies, answer = ask(session, method="subscribe", params={"channel": "instrument"})
    assert replies[0]["result"] == {"channel": "instrument", "snapshot": True}
    assert answer.added[0].key == ("instruments", "")
    replies, answer = ask(session, method="unsubscribe", params={"channel": "instrument"})
    assert replies[0]["result"] == {"channel": "instrument"}
    assert [gone.key for gone in answer.removed] == [("instruments", "")]


def test_unsubscribe_and_subscribe_again(session: KrakenSession) -> None:
    subscribe(session, "book", "BTC/USD")
    replies, answer = ask(session, method="unsubscribe", params={"channel": "book", "symbol": ["BTC/USD", "ETH/USD"]})
    assert replies[0]["success"]
    assert replies[1]["error"] == "Subscription Not Found"
    assert [gone.key for gone in answer.removed] == [("book", "BTC/USD")]
    assert subscribe(session, "book", "BTC/USD")[0]["success"]


def test_ping(session: KrakenSession) -> None:
    (reply,), _ = ask(session, method="ping", req_id=101)
    assert (reply["method"], reply["req_id"]) == ("pong", 101)


def test_heartbeats_come_to_idle_subscribers_only(session: KrakenSession) -> None:
    assert session.heartbeat(NOW, idle=True) == []
    subscribe(session, "ticker", "BTC/USD")
    assert session.heartbeat(NOW, idle=True) == [HEARTBEAT]
    assert session.heartbeat(NOW, idle=False) == []
