"""Sinks on a real broker, killed at any moment under full load: ``make kills``, short."""

from __future__ import annotations

from pathlib import Path

import pytest

from alphapulse.config import KafkaSettings
from tests.fixtures.kafka_cluster import ON_KAFKA
from tests.kills.__main__ import report
from tests.kills.plan import Plan
from tests.kills.scenario import play


@pytest.mark.slow
@pytest.mark.unmeasured
@pytest.mark.timeout(900)
@ON_KAFKA
async def test_all_that_is_stored_equals_the_source(real_kafka: KafkaSettings, tmp_path: Path) -> None:
    plan = Plan(records=40_000, kills=3, outages=1, away=1.0, session_ms=3_000)
    seen = await play(plan, tmp_path, real_kafka, print)
    print("\n".join(report(seen)))  # noqa: T201 what a failure is about
    assert seen.differences == {"server": [], "embedded": [], "parquet": [], "dead letters": []}
    assert {name: kills.total() for name, kills in seen.kills.items()} == dict.fromkeys(plan.sinks, 3)
    assert seen.outages == 1
    assert seen.damaged == plan.damaged
    assert all(moves > 0 for moves in seen.moves.values())
