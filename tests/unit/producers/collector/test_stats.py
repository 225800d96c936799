from __future__ import annotations

from collections import Counter
from types import SimpleNamespace
from typing import Any

from prometheus_client import REGISTRY

from alphapulse import metrics
from producers.collector.stats import CollectorStats

SECOND = 1_000_000_000


def shard(*, connected: bool = True, times: tuple[tuple[int, int], ...] = ()) -> Any:
    def newest(since: int) -> tuple[int, int] | None:
        return max((pair for pair in times if pair[0] > since), default=None)

    protocol = SimpleNamespace(ignored=Counter(), refused=0, newest=newest)
    return SimpleNamespace(connected=connected, protocol=protocol)


def value(name: str, venue: str, **labels: str) -> float | None:
    return REGISTRY.get_sample_value(name, {"venue": venue, **labels})


def test_every_kind_of_loss_begins_at_none() -> None:
    CollectorStats("stats-kinds")
    told = [value("alphapulse_gaps_total", "stats-kinds", kind=kind) for kind in metrics.GAP_KINDS]
    assert told == [0.0] * len(metrics.GAP_KINDS)


def test_each_connections_newest_frame_is_observed_once() -> None:
    stats = CollectorStats("stats-ages")
    frames = (
        shard(times=((100 * SECOND, 90 * SECOND), (101 * SECOND, 100 * SECOND))),
        shard(times=((102 * SECOND, 103 * SECOND),)),
    )
    stats.count(3, frames)
    stats.count(3, frames)
    assert value("alphapulse_frames_total", "stats-ages") == 3.0
    assert value("alphapulse_exchange_age_seconds_count", "stats-ages") == 2.0
    assert value("alphapulse_exchange_age_seconds_bucket", "stats-ages", le="0.5") == 1.0
    assert value("alphapulse_exchange_age_seconds_bucket", "stats-ages", le="1.0") == 2.0
    assert value("alphapulse_exchange_age_last_seconds", "stats-ages") == -1.0


def test_a_venue_is_connected_while_any_of_its_connections_is() -> None:
    stats = CollectorStats("stats-connected")
    stats.count(0, [shard(connected=False), shard()])
    assert value("alphapulse_connected", "stats-connected") == 1.0
    stats.count(0, [shard(connected=False)])
    assert value("alphapulse_connected", "stats-connected") == 0.0
    stats.count_budgets({"rest": 0.25})
    assert value("alphapulse_request_budget_ratio", "stats-connected", limit="rest") == 0.25
