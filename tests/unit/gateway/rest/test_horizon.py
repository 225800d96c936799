"""Time up to which the tables are complete."""

from __future__ import annotations

import time
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from alphapulse.config import Settings
from gateway.fanout import Hub
from gateway.health import monitor
from gateway.health.monitor import HealthMonitor, ReadingProgress, _GroupLag
from gateway.rest.horizon import NOTHING_STORED, SETTLE, horizon_of
from gateway.state import MarketState
from tests.fixtures.gateway import NOBODY
from tests.fixtures.market import MAX_BOOK_AGE, SECOND, START


def test_the_lag_of_a_sink_moves_its_horizon() -> None:
    lag: list[float | None] = [0.0]
    horizon = horizon_of(lambda: START, lambda: lag[0])
    assert horizon() == START - SETTLE
    lag[0] = 2.5
    assert horizon() == START - SETTLE - 5 * SECOND // 2
    lag[0] = None
    assert horizon() == NOTHING_STORED


def test_what_is_not_known_of_the_sink_is_not_zero(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    settings = Settings(data_dir=tmp_path, kafka=NOBODY)
    state = MarketState(max_book_age=MAX_BOOK_AGE)
    hub = Hub(state, queue_bytes=1 << 20, clock=lambda: START)
    made = HealthMonitor(settings, "gateway", state, hub, lambda: ReadingProgress({}, {}))
    assert made.stored_lag_seconds() is None, "never read"
    made._lag.read_at = time.monotonic()
    assert made.stored_lag_seconds() is None, "never committed"
    made._lag.nothing_to_read = frozenset({settings.clickhouse.group})
    assert made.stored_lag_seconds() == 0.0, "nothing has ever been published"
    made._lag.groups[settings.clickhouse.group] = _GroupLag(12, 1.5)
    assert made.stored_lag_seconds() == 1.5
    read_at = made._lag.read_at
    clock: Any = SimpleNamespace(monotonic=lambda: read_at + monitor.UNASKED_SECONDS + 60.0)
    monkeypatch.setattr(monitor, "time", clock)
    assert made.stored_lag_seconds() == pytest.approx(61.5), "the readings have failed since"
