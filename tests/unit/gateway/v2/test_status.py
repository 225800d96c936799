from __future__ import annotations

from gateway.v2.status import ServiceCondition
from tests.fixtures import market
from tests.fixtures.gateway_v2 import BenchV2


def test_venues_at_each_change_and_once_in_five_seconds() -> None:
    bench = BenchV2()
    bench.put(market.depth(received_time=bench.tick.clock()))
    client = bench.client()
    (status,) = client.say(op="subscribe", channel="status", venue="kraken")[2:]
    assert status == {
        "type": "status",
        "channel": "status",
        "venue": "kraken",
        "status": "connected",
        "valid_books": 1,
        "stale_books": 0,
        "invalid_books": 0,
        "book_age_ms": 0,
        "time": bench.tick.clock() // 1000,
    }
    bench.tick.advance(1)
    bench.hub.check()
    assert client.read() == [], "its age alone is no change"
    bench.tick.advance(1)
    bench.put(market.event("disconnected", time=bench.tick.clock()))
    bench.hub.check()
    assert [each["status"] for each in client.read()] == ["disconnected"]
    bench.tick.advance(4)
    bench.hub.check()
    found = [each for each in client.read() if each["type"] == "status"]
    assert [each["stale_books"] for each in found] == [1]
    bench.tick.advance(5)
    bench.hub.check()
    assert [each["type"] for each in client.read()] == ["status"]


def test_services_are_a_feed_of_their_own() -> None:
    bench = BenchV2()
    conditions = {"processors": ServiceCondition("ok", 3, 0.5)}
    bench.streams.services = lambda: conditions
    client = bench.client()
    wanted = [bench.streams.services_wanted]
    answer, *found = client.say(op="subscribe", channel="status")[1:]
    wanted.append(bench.streams.services_wanted)
    assert [each["venue"] for each in answer["feeds"]] == ["kraken", None]
    service = found[1]
    assert (service["service"], service["status"], service["lag_records"], service["lag_seconds"]) == (
        "processors",
        "ok",
        3,
        0.5,
    )
    assert "venue" not in service
    conditions["processors"] = ServiceCondition("down", None, None)
    bench.tick.advance(1)
    bench.hub.check()
    assert [(each["service"], each["status"]) for each in client.read()] == [("processors", "down")]
    bench.hub.closed(client.session)
    assert [*wanted, bench.streams.services_wanted] == [False, True, False]
