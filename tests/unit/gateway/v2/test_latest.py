from __future__ import annotations

from typing import Any

from tests.fixtures import market
from tests.fixtures.gateway_v2 import BenchV2
from tests.fixtures.market import SECOND, START


def subscribe(channel: str, **options: Any) -> dict[str, Any]:
    return {"op": "subscribe", "channel": channel, "venue": "kraken", "symbol": "BTC-USD"} | options


def test_statistics_are_the_latest_window_then_each_new_one() -> None:
    bench = BenchV2()
    client, paced = bench.client(), bench.client()
    assert len(client.say(**subscribe("stats"))) == 2, "there is none yet"
    bench.put(market.statistics(1))
    (stats,) = client.read()
    assert (stats["type"], stats["best_bid"], stats["latency_max"]) == ("stats", "1", 9)
    assert "price_exponent" not in stats
    assert paced.say(**subscribe("stats", interval_ms=1000))[-1]["window_start"] == stats["window_start"]
    bench.put(market.statistics(2), market.statistics(3))
    assert [each["window_start"] - stats["window_start"] for each in client.read()] == [1_000_000, 2_000_000]
    assert paced.read() == []
    bench.tick.advance(1)
    assert [each["window_start"] - stats["window_start"] for each in paced.read()] == [2_000_000]


def test_candles_of_one_interval_or_of_all() -> None:
    bench = BenchV2()
    every, minutes = bench.client(), bench.client()
    bench.put(market.candle(1), market.candle(0, interval=60 * SECOND))
    found = every.say(**subscribe("candles"))
    assert found[1]["candle_interval"] is None
    assert [each["interval"] for each in found[2:]] == [1, 60]
    found = minutes.say(**subscribe("candles", candle_interval=60))
    assert (found[1]["candle_interval"], [each["interval"] for each in found[2:]]) == (60, [60])
    bench.put(market.candle(2), market.candle(0, interval=60 * SECOND, revision=1))
    assert [(each["interval"], each["revision"]) for each in every.read()] == [(1, 0), (60, 1)]
    assert [each["interval"] for each in minutes.read()] == [60]
    assert len(bench.client().say(**subscribe("candles", snapshot=False))) == 2


def test_opportunities_come_and_go_with_their_books() -> None:
    bench = BenchV2(configured={"kraken": ("BTC-USD", "ETH-USD"), "coinbase": ("BTC-USD",)})
    client = bench.client()
    answer, *snapshots = client.say(op="subscribe", channel="arbitrage", symbol="*")[1:]
    assert answer["feeds"] == [{"recovered": None, "symbol": symbol} for symbol in ("BTC-USD", "ETH-USD")]
    assert [(each["symbol"], each["opportunities"]) for each in snapshots] == [("BTC-USD", []), ("ETH-USD", [])]
    bench.put(market.depth(), market.depth(venue="coinbase"), market.opportunity("a"))
    (opened,) = [each for each in client.read() if each["type"] == "opportunity"]
    assert (opened["opportunity_id"], opened["state"], opened["net_profit"]) == ("a", "opened", "0.05")
    bench.put(market.depth((), (), sequence=2, valid=False))
    assert [each["opportunities"] for each in client.read()] == [[]]
    bench.put(market.opportunity("b"))
    assert client.read() == [], "one with an invalid book is not shown"
    bench.put(market.depth(epoch=START + 1))
    (snapshot,) = client.read()
    assert [each["opportunity_id"] for each in snapshot["opportunities"]] == ["a", "b"]
    bench.put(market.opportunity("a", state="CLOSED", updated_time=START + 1))
    assert [each["state"] for each in client.read()] == ["closed"]
