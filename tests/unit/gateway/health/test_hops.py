from __future__ import annotations

from dataclasses import dataclass

from gateway.health.hops import HOPS, Hops
from tests.fixtures import market
from tests.fixtures.market import START

MS = 1_000_000


@dataclass
class Consumed:
    timestamp: int | None


def test_each_hop_is_measured_between_its_two_times() -> None:
    hops = Hops()
    trade = market.trade(exchange_time=START, received_time=START + 3 * MS)
    book = market.depth(exchange_time=START + 2 * MS, received_time=START)
    at = START // MS
    hops.read([Consumed(at + 5)], 0, trade, START + 9 * MS)
    hops.read([Consumed(at + 11)], 0, book, START + 12 * MS)
    hops.sent(START + 12 * MS, START + 14 * MS)
    found = hops.percentiles(START)
    assert found.keys() == HOPS.keys()
    assert {hop: (each.count, each.max) for hop, each in found.items() if each} == {
        "venue_to_collector": (2, 3000),
        "collector_to_broker": (1, 2000),
        "collector_to_processor": (1, 11_000),
        "broker_to_gateway": (2, 4000),
        "gateway_to_sent": (1, 2000),
    }
    venue = found["venue_to_collector"]
    assert venue is not None
    assert venue.p50 < 0, "the venue's clock is ahead: shown as it is"


def test_a_sample_is_looked_at_and_missing_times_are_left_out() -> None:
    hops = Hops()
    batch = [Consumed(None)] * 20
    for number in range(20):
        hops.read(batch, number, market.trade(exchange_time=0), START)
        hops.read(batch, number, market.event(), START)
    assert hops.percentiles(START)["venue_to_collector"] is None
    for number in range(20):
        hops.read(batch, number, market.trade(exchange_time=START - 5, received_time=START), START)
    found = hops.percentiles(START)["venue_to_collector"]
    assert found is not None
    assert found.count == 3
