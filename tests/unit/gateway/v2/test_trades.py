from __future__ import annotations

from typing import Any

from tests.fixtures import market
from tests.fixtures.gateway_v2 import BenchV2
from tests.fixtures.market import START

TRADES: dict[str, Any] = {"op": "subscribe", "channel": "trades", "venue": "kraken", "symbol": "BTC-USD"}


def since(trade_id: str) -> dict[str, Any]:
    return {"since": [{"venue": "kraken", "symbol": "BTC-USD", "trade_id": trade_id}]}


def put(bench: BenchV2, *ids: int) -> None:
    bench.put(*(market.trade(str(one), exchange_time=START + one) for one in ids))


def ids(messages: list[dict[str, Any]]) -> list[list[str]]:
    return [[trade["id"] for trade in each["trades"]] for each in messages if "trades" in each]


def test_the_latest_then_each_new_one() -> None:
    bench = BenchV2()
    put(bench, *range(60))
    client = bench.client()
    (snapshot,) = client.say(**TRADES)[2:]
    assert (len(snapshot["trades"]), "gap" in snapshot) == (50, False)
    assert snapshot["trades"][-1] == {
        "id": "59",
        "side": "buy",
        "price": "1.01",
        "size": "2.5",
        "time": START // 1000,
        "received_time": START // 1000 + 5,
    }
    put(bench, 60, 60)
    put(bench, 61)
    assert ids(client.read()) == [["60"], ["61"]]


def test_an_interval_gathers_and_drops_nothing() -> None:
    bench = BenchV2()
    put(bench, 1)
    client, later = bench.client(), bench.client()
    client.say(**TRADES | {"interval_ms": 100})
    put(bench, 2, 3)
    assert ids(later.say(**TRADES | {"interval_ms": 100})) == [["1"]], "what the others know"
    put(bench, 4)
    bench.tick.advance(0.1)
    assert ids(client.read()) == ids(later.read()) == [["2", "3", "4"]]


def test_no_snapshot_if_none_is_wanted() -> None:
    bench = BenchV2()
    put(bench, 1)
    client = bench.client()
    assert len(client.say(**TRADES | {"snapshot": False})) == 2
    put(bench, 2)
    assert ids(client.read()) == [["2"]]


def test_a_client_gets_what_it_missed() -> None:
    bench = BenchV2()
    put(bench, *range(1200))
    for last, missed in (("1100", 99), ("200", 999), ("1199", 0)):
        found = bench.client().say(**TRADES | since(last))
        assert found[1]["feeds"][0]["recovered"] is True
        assert [len(each) for each in ids(found)] == ([missed] if missed else [])
    for last in ("199", "x", ""):
        found = bench.client().say(**TRADES | since(last) | {"snapshot": False})
        assert found[1]["feeds"][0]["recovered"] is False
        assert found[2]["type"] == "snapshot", "it is needed, whatever was wished"


def test_pending_trades_are_not_told_twice_to_one_who_comes_back() -> None:
    bench = BenchV2()
    client, other = bench.client(), bench.client()
    client.say(**TRADES | {"interval_ms": 1000})
    put(bench, 1, 2)
    assert ids(other.say(**TRADES | {"interval_ms": 1000} | since("1"))) == [["2"]]
    bench.tick.advance(1)
    assert ids(client.read()) == [["1", "2"]]
    assert ids(other.read()) == []


def test_a_trade_out_of_order_is_no_position() -> None:
    bench = BenchV2()
    put(bench, 10, 8, 9, 11)
    recovered = [
        bench.client().say(**TRADES | since(last))[1]["feeds"][0]["recovered"] for last in ("10", "8", "9", "11")
    ]
    assert recovered == [True, False, False, True]


def test_a_slow_client_is_told_of_the_gap() -> None:
    bench = BenchV2(queue_bytes=1024)
    client = bench.client()
    client.say(**TRADES)
    client.wire.clogged = True
    put(bench, *range(100))
    bench.tick.run()
    client.wire.clogged = False
    bench.hub.waiting(client.session)
    (snapshot,) = client.read()
    assert (snapshot["type"], snapshot["gap"], len(snapshot["trades"])) == ("snapshot", True, 50)
