"""What must not stop the streams: events of venues without records, lost records, a fault in one client's session."""

from __future__ import annotations

from typing import Any

import pytest

from alphapulse import topics
from gateway.access.identity import Identity
from gateway.close_codes import INTERNAL
from gateway.v2.session import Session
from tests.fixtures import market
from tests.fixtures.gateway_v2 import BenchV2

TRADES: dict[str, Any] = {"op": "subscribe", "channel": "trades", "venue": "kraken", "symbol": "BTC-USD"}


def test_an_event_of_a_venue_without_records_makes_it_known() -> None:
    bench = BenchV2()
    client = bench.client()
    client.say(op="subscribe", channel="status", venue="*")
    bench.put(market.event(kind="gap", venue="okx", severity="WARNING"))
    told = [each for each in client.read() if each["type"] == "status"]
    assert [(each["venue"], each["status"]) for each in told] == [("okx", "connecting")]
    later = bench.client()
    later.say(op="subscribe", channel="status", venue="*")
    assert later.wire.closed_with is None


def test_after_lost_trades_nobody_continues_as_if_nothing_was_missed() -> None:
    bench = BenchV2()
    client = bench.client()
    client.say(**TRADES)
    bench.put(market.trade("1"))
    client.read()
    bench.hub.lost(topics.TRADES)
    (snapshot,) = client.read()
    assert (snapshot["type"], snapshot["gap"], [each["id"] for each in snapshot["trades"]]) == ("snapshot", True, ["1"])
    bench.put(market.trade("2"))
    position = {"venue": "kraken", "symbol": "BTC-USD", "trade_id": "1"}
    answer, *_ = bench.client().say(**TRADES | {"since": [position]})[1:]
    assert answer["feeds"][0]["recovered"] is False
    answer, *_ = bench.client().say(**TRADES | {"since": [position | {"trade_id": "2"}]})[1:]
    assert answer["feeds"][0]["recovered"] is True


def test_lost_records_of_other_topics_change_nothing() -> None:
    bench = BenchV2()
    client = bench.client()
    client.say(**TRADES)
    bench.hub.lost(topics.STATS)
    assert client.read() == []


def test_a_fault_in_one_session_ends_that_one_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    bench = BenchV2()
    broken, whole = bench.client(), bench.client()
    for client in (broken, whole):
        client.say(op="subscribe", channel="trades", venue="*", symbol="*")
    appeared = Session.appeared

    def fail(self: Session, keys: Any) -> None:
        if self is broken.session:
            raise KeyError("a fault")
        appeared(self, keys)

    monkeypatch.setattr(Session, "appeared", fail)
    bench.put(market.trade("1", symbol="ETH-USD"))
    assert broken.wire.closed_with is INTERNAL
    assert [each["type"] for each in whole.read()] == ["subscribed", "snapshot"]


def test_an_error_names_no_instruments_of_forbidden_venues() -> None:
    bench = BenchV2(configured={"kraken": ("BTC-USD",), "binance": ("PEPE-USDT",)})
    client = bench.client(identity=Identity("desk", frozenset({"stream:book:kraken"}), None))
    request = {"op": "subscribe", "channel": "book", "venue": ["kraken", "bin*"], "symbol": "NOPE"}
    (error,) = client.say(**request)[1:]
    assert error["code"] == "unknown_instrument"
    assert "BTC-USD" in error["message"]
    assert "PEPE" not in error["message"]
    (error,) = client.say(**request | {"symbol": "PEPE-USDT"})
    assert error["code"] == "unknown_instrument"


def test_patterns_are_few() -> None:
    client = BenchV2().client()
    (error,) = client.say(**TRADES | {"symbol": [f"A{number}*" for number in range(21)]})[1:]
    assert (error["code"], "at most 20" in error["message"]) == ("bad_value", True)
