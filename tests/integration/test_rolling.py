"""Every service replaced once under load; ``make rolling`` does it twice, with more of everything, on three nodes."""

from __future__ import annotations

from pathlib import Path

import pytest

from alphapulse.config import KafkaSettings
from tests.fixtures.kafka_cluster import ON_KAFKA
from tests.rolling.play import Plan, Stage
from tests.rolling.verdict import broken, report


@ON_KAFKA
@pytest.mark.slow
@pytest.mark.unmeasured
async def test_a_rolling_restart_ends_no_epoch_and_loses_no_row(real_kafka: KafkaSettings, tmp_path: Path) -> None:
    plan = Plan(rate=100.0, clients=8, rounds=1, before=2.0, between=2.0, symbols=("BTC-USD", "ETH-USD"))
    seen, watch = await Stage(plan, tmp_path, real_kafka, print).run()
    for line in report(seen, watch):
        print(line)  # noqa: T201 shown when it fails
    assert broken(seen, watch) == []
    assert [restart.service for restart in seen.restarts] == [
        "sink-clickhouse",
        "sink-parquet",
        "gateway",
        "processors",
        "collector-kraken",
        "collector-binance_us",
    ]
