from __future__ import annotations

from tests.fixtures import market
from tests.fixtures.gateway_v2 import BenchV2


def test_warnings_and_errors_of_venues_and_services() -> None:
    bench = BenchV2()
    bench.put(
        market.event("gap", severity="WARNING"),
        market.event("connected"),
        *(market.event("late", severity="ERROR", message=str(number), venue=None) for number in range(60)),
    )
    client = bench.client()
    answer, *snapshots = client.say(op="subscribe", channel="alerts")[1:]
    assert [each["venue"] for each in answer["feeds"]] == ["kraken", None]
    assert [(each["venue"], len(each["alerts"])) for each in snapshots] == [("kraken", 1), (None, 50)]
    (alert,) = snapshots[0]["alerts"]
    assert (alert["kind"], alert["severity"], alert["symbol"]) == ("gap", "warning", None)
    assert snapshots[1]["alerts"][-1]["detail"] == "59"
    bench.put(market.event("gap", severity="ERROR"), market.event("connected"))
    (alert,) = client.read()
    assert (alert["type"], alert["channel"], alert["venue"], alert["severity"]) == (
        "alert",
        "alerts",
        "kraken",
        "error",
    )


def test_a_venue_that_appears_with_an_alert_tells_it_once() -> None:
    bench = BenchV2()
    client = bench.client()
    client.say(op="subscribe", channel="alerts", venue="coin*")
    bench.put(market.event("gap", severity="ERROR", venue="coinbase"))
    subscribed, snapshot = client.read()
    assert (subscribed["feeds"][0]["venue"], len(snapshot["alerts"])) == ("coinbase", 1)


def test_a_slow_client_is_told_of_the_gap() -> None:
    bench = BenchV2(queue_bytes=1024)
    client = bench.client()
    client.say(op="subscribe", channel="alerts", venue="kraken")
    client.wire.clogged = True
    bench.put(*(market.event("gap", severity="ERROR") for _ in range(20)))
    bench.tick.run()
    client.wire.clogged = False
    bench.hub.waiting(client.session)
    (snapshot,) = client.read()
    assert (snapshot["gap"], len(snapshot["alerts"])) == (True, 20)
