from __future__ import annotations

import json

import pytest

from alphapulse.freshness import Fault
from gateway import protocol
from gateway.protocol import Subscription
from tests.fixtures import market


def test_messages_about_the_connection() -> None:
    assert json.loads(protocol.hello(5000, 3000, 7_000_999)) == {
        "type": "hello",
        "version": 1,
        "heartbeat_ms": 5000,
        "max_book_age_ms": 3000,
        "time": 7000,
    }
    assert json.loads(protocol.heartbeat(5_000_999)) == {"type": "heartbeat", "time": 5000}
    assert json.loads(protocol.pong("p", 5_000_999)) == {"type": "pong", "id": "p", "time": 5000}
    assert json.loads(protocol.shutdown()) == {"type": "shutdown"}
    assert json.loads(protocol.subscribed(1, Subscription("book", "kraken", "BTC-USD"))) == {
        "type": "subscribed",
        "id": 1,
        "channel": "book",
        "venue": "kraken",
        "symbol": "BTC-USD",
    }
    assert json.loads(protocol.unsubscribed(2, Subscription("arbitrage", None, "*"))) == {
        "type": "unsubscribed",
        "id": 2,
        "channel": "arbitrage",
        "symbol": "*",
    }


def test_a_book_is_decimal_text_best_first_with_its_head() -> None:
    assert json.loads(protocol.book_snapshot(market.depth(sequence=3), None)) == {
        "type": "snapshot",
        "channel": "book",
        "venue": "kraken",
        "symbol": "BTC-USD",
        "epoch": str(market.START),
        "sequence": 3,
        "time": market.START // 1000 + 3005,
        "valid": True,
        "bids": [["1", "0.005"], ["0.99", "0.006"]],
        "asks": [["1.01", "0.007"], ["1.02", "0.008"]],
        "reason": None,
    }


def test_mantissas_beyond_a_double_keep_every_digit() -> None:
    depth = market.depth(bids=[(9_007_199_254_740_993, 9_223_372_036_854_775_807)], asks=[])
    assert json.loads(protocol.book_snapshot(depth, None))["bids"] == [["90071992547409.93", "9223372036854775.807"]]


@pytest.mark.parametrize("fault", ["invalid", "stale"])
def test_a_book_that_is_not_good_has_a_reason_and_no_levels(fault: Fault) -> None:
    message = json.loads(protocol.book_snapshot(market.depth(sequence=3, valid=fault == "stale"), fault))
    assert (message["valid"], message["reason"], message["bids"], message["asks"]) == (False, fault, [], [])
    assert (message["epoch"], message["sequence"]) == (str(market.START), 3)
    missing = json.loads(protocol.no_book("kraken", "BTC-USD"))
    assert missing.keys() == message.keys()
    assert (missing["valid"], missing["reason"], missing["bids"], missing["asks"]) == (False, "no_book", [], [])


def test_a_delta_deletes_with_size_0_and_names_what_it_builds_on() -> None:
    message = json.loads(protocol.book_delta(market.depth(sequence=9), 5, [(98, 0)], [(103, 1)]))
    assert (message["type"], message["previous_sequence"], message["sequence"]) == ("delta", 5, 9)
    assert (message["bids"], message["asks"]) == ([["0.98", "0"]], [["1.03", "0.001"]])
    assert message["valid"] is True


def test_trades_tell_the_venues_time_or_else_the_receipt() -> None:
    of = [market.trade("7"), market.trade("8", side="UNKNOWN", exchange_time=0)]
    message = json.loads(protocol.trades("snapshot", "kraken", "BTC-USD", of))
    assert message["trades"] == [
        {"id": "7", "side": "buy", "price": "1.01", "size": "2.5", "time": market.START // 1000},
        {"id": "8", "side": "unknown", "price": "1.01", "size": "2.5", "time": market.START // 1000 + 5},
    ]


def test_statistics_have_the_records_names_and_times_in_microseconds() -> None:
    record = market.statistics(best_ask=None, latency_max=2_500_999, latency_mean=-1500)
    message = json.loads(protocol.stats(record))
    assert message["type"] == "stats"
    assert message["deltas"] == 40
    assert (message["latency_max"], message["latency_mean"]) == (2500, -2)
    assert (message["best_bid"], message["best_ask"]) == ("1", None)
    assert message["window_start"] == market.START // 1000
    assert record.best_bid == 100, "the record itself must stay as it is"


def test_a_venue_without_times_has_no_latency() -> None:
    message = json.loads(protocol.stats(market.statistics(latency_max=0, latency_mean=0)))
    assert (message["latency_max"], message["latency_mean"]) == (None, None)


def test_a_candle() -> None:
    message = json.loads(protocol.candle(market.candle(interval=60 * market.SECOND)))
    assert message["interval"] == 60
    assert [message[name] for name in ("open", "high", "low", "close")] == ["1", "1.03", "0.99", "1.02"]
    assert (message["volume"], message["vwap"], message["quote_volume"]) == ("1.5", "1.01", "1.515")


def test_an_opportunity_has_the_records_names_and_decimal_text() -> None:
    record = market.opportunity(state="CLOSED", close_reason="prices")
    message = json.loads(protocol.opportunity(record))
    assert (message["type"], message["state"], message["close_reason"]) == ("opportunity", "closed", "prices")
    assert (message["buy_price"], message["sell_limit_price"], message["size"]) == ("1.01", "1.04", "1.5")
    assert message["opened_time"] == market.START // 1000
    assert "price_exponent" not in message
    assert (record.state, record.size) == ("CLOSED", 1500), "the record itself must stay as it is"
    snapshot = json.loads(protocol.opportunities("*", [record]))
    assert snapshot["opportunities"][0]["net_profit"] == "0.05"
