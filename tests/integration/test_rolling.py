"""Every service replaced once under load, a release beside another one; ``make rolling`` does more, on three nodes."""

from __future__ import annotations

from pathlib import Path

import pytest

from alphapulse.config import KafkaSettings
from tests.fixtures.kafka_cluster import ON_KAFKA
from tests.rolling.blue_green import BlueGreen
from tests.rolling.play import Plan, Stage
from tests.rolling.verdict import broken, report

PLAN = Plan(rate=100.0, clients=8, rounds=1, warm_up=0.0, before=2.0, between=2.0, symbols=("BTC-USD", "ETH-USD"))


async def restarts(stage: Stage) -> list[str]:
    """Let it happen, check what must hold, and return what was restarted."""
    seen, watch = await stage.run()
    for line in report(seen, watch):
        print(line)  # noqa: T201 shown when it fails
    assert broken(seen, watch) == []
    return [restart.service for restart in seen.restarts]


@ON_KAFKA
@pytest.mark.slow
@pytest.mark.unmeasured
async def test_a_rolling_restart_ends_no_epoch_and_loses_no_row(real_kafka: KafkaSettings, tmp_path: Path) -> None:
    assert await restarts(Stage(PLAN, tmp_path, real_kafka, print)) == [
        "sink-clickhouse",
        "sink-parquet",
        "gateway",
        "processors",
        "collector-kraken",
        "collector-binance_us",
    ]


@ON_KAFKA
@pytest.mark.slow
@pytest.mark.unmeasured
async def test_a_second_release_beside_the_first_goes_and_stays_unnoticed(
    real_kafka: KafkaSettings, tmp_path: Path
) -> None:
    assert await restarts(BlueGreen(PLAN, tmp_path, real_kafka, print)) == [
        "green beside blue",
        "green gone",
        "green again",
        "blue gone",
        "sink-clickhouse moved",
        "sink-parquet moved",
    ]
