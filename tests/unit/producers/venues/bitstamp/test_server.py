"""producers.venues.bitstamp.server"""

from __future__ import annotations

import json
from typing import Any

import pytest

from producers.venues.bitstamp.server import BitstampSession, rest_fault, rest_refusal


def ask(session: BitstampSession, message: bytes) -> dict[str, Any]:
    (reply,) = session.received(message, 0).replies
    decoded: dict[str, Any] = json.loads(reply)
    return decoded


def channel(event: str, name: str) -> bytes:
    return json.dumps({"event": event, "data": {"channel": name}}).encode()


@pytest.fixture
def session() -> BitstampSession:
    return BitstampSession(["btcusd"])


def test_each_channel_is_confirmed_by_its_name(session: BitstampSession) -> None:
    name = "diff_order_book_btcusd"
    assert ask(session, channel("bts:subscribe", name)) == {
        "event": "bts:subscription_succeeded",
        "channel": name,
        "data": {},
    }
    assert list(session.subscriptions) == [("book", "btcusd")]
    answer = session.received(channel("bts:subscribe", name), 0)
    assert (len(answer.replies), answer.added) == (1, [])
    assert ask(session, channel("bts:unsubscribe", name))["event"] == "bts:unsubscription_succeeded"
    assert session.subscriptions == {}


def test_a_market_that_does_not_exist_is_confirmed_and_stays_silent(session: BitstampSession) -> None:
    assert ask(session, channel("bts:subscribe", "live_trades_nopeusd"))["event"] == "bts:subscription_succeeded"
    assert session.subscriptions == {}


@pytest.mark.parametrize(
    ("message", "text"),
    [
        (b"{", "Incorrect JSON format."),
        (b"[]", "Incorrect JSON format."),
        (b'{"event":"bts:subscribe"}', "Bad subscription string."),
        (b'{"event":"bts:ping","data":{"channel":"live_trades_btcusd"}}', "Bad subscription string."),
        (channel("bts:subscribe", "live_trades_BTCUSD"), "Invalid channel provided."),
        (channel("bts:subscribe", "live_trades_btc/usd"), "Invalid channel provided."),
        (channel("bts:subscribe", "ticker_btcusd"), "Invalid channel provided."),
    ],
)
def test_errors_do_not_name_the_channel(session: BitstampSession, message: bytes, text: str) -> None:
    assert ask(session, message) == {"event": "bts:error", "channel": "", "data": {"code": None, "message": text}}


def test_a_heartbeat_is_answered_and_counts_as_a_ping(session: BitstampSession) -> None:
    beat = b'{"event":"bts:heartbeat"}'
    assert session.is_ping(beat)
    assert not session.is_ping(channel("bts:subscribe", "live_trades_btcusd"))
    assert ask(session, beat) == {"event": "bts:heartbeat", "channel": "", "data": {"status": "success"}}


def test_what_the_rest_service_refuses() -> None:
    assert rest_fault("/api/v2/order_book/btcusd/", {}, ["btcusd"]) is None
    assert b"404.002" in (rest_fault("/api/v2/order_book/nope/", {}, ["btcusd"]) or b"")
    assert rest_fault("/api/v2/trading-pairs-info/", {}, ["btcusd"]) is None
    assert json.loads(rest_refusal(429))["response_code"] == "400.002"
    assert json.loads(rest_refusal(503))["response_code"] == "503.001"
