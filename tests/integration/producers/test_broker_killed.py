"""A real broker killed under load and brought back: ``make outage``, short."""

from __future__ import annotations

from pathlib import Path

import pytest

from alphapulse import topics
from alphapulse.brokers.kafka.cluster import KafkaCluster
from alphapulse.config import KafkaSettings, PublisherSettings
from schemas.codec import Codec
from schemas.records import Event
from tests.fixtures.kafka_cluster import ON_KAFKA
from tests.outage.observed import Plan
from tests.outage.scenario import play
from tests.outage.verdict import Promises, judge, report

pytestmark = ON_KAFKA

BOUNDS = PublisherSettings(max_in_flight=300, max_in_flight_bytes=262_144, broker_patience_s=0.5)
GENEROUS = Promises(soon=60.0, gaps=5, allowance_bytes=40_000_000)  # on a busy machine


@pytest.mark.unmeasured
async def test_a_killed_broker_costs_a_counted_gap_and_all_books_come_back(
    kafka_cluster: KafkaCluster, real_kafka: KafkaSettings, tmp_path: Path
) -> None:
    plan = Plan(
        away=0.0,
        until_closed=True,
        rate=600.0,
        symbols=("BTC-USD", "ETH-USD"),
        before=1.0,
        after=0.5,
        publisher=BOUNDS,
    )
    seen = await play(plan, tmp_path, kafka_cluster)
    verdict = judge(seen, GENEROUS)
    print("\n".join(report(seen, verdict)))  # noqa: T201 what a failure is about
    assert not verdict.broken
    assert all(book.compared > 100 for book in verdict.books.values())
    codec = Codec()
    values = [value for (topic, _), found in seen.arrived.items() if topic == topics.EVENTS for _, value in found]
    lost = [event for event in map(codec.decode, values) if isinstance(event, Event) and event.kind == "disconnected"]
    assert len(lost) >= plan.connections * len(plan.venues)
    assert {(event.severity, event.message) for event in lost} == {
        ("WARNING", "the broker acknowledged nothing for 0.5 s")
    }
