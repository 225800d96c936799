"""The order in which a stack stops, over real processes that stand in for its parts."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from alphapulse.cli.ledger import Ledger
from alphapulse.cli.stack import BROKER, CLICKHOUSE, GATEWAY, PARQUET, PROCESSORS, STAGES, Stack, Stage
from alphapulse.config import Settings
from alphapulse.kafka.lag import GroupLag, LagReader
from alphapulse.service import last_status_path
from alphapulse.supervisor.supervisor import ChildSpec, Supervisor

ROOT = Path(__file__).resolve().parents[3]
COLLECTOR, SIMULATOR = "collector-kraken", "simulator"


@pytest.fixture
async def stack(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Stack]:
    monkeypatch.chdir(ROOT)
    async with Supervisor(tmp_path) as supervisor:
        yield Stack(supervisor, Settings(data_dir=tmp_path))


async def begin(stack: Stack, **behaviours: str) -> None:
    """Start a part of each kind; ``behaviours``: of tests/fixtures/child.py, by name with underscores."""
    stages = {BROKER: Stage.BROKER, SIMULATOR: Stage.PROCESSORS, **STAGES, COLLECTOR: Stage.COLLECTORS}
    for name, stage in stages.items():
        arguments = (name, behaviours.get(name.replace("-", "_"), "serve"))
        spec = ChildSpec(name, "tests.fixtures.child", stack.settings, arguments, stage=stage)
        await stack.supervisor.start(spec)
    await stack.supervisor.wait_ready(*stages)


def ends(stack: Stack) -> list[str]:
    return (stack.settings.data_dir / "ends").read_text(encoding="utf-8").split()


async def test_each_part_ends_after_those_it_reads_from(stack: Stack) -> None:
    await begin(stack)
    told: list[str] = []
    await stack.finish(told.append)
    assert told == [
        "stopping the collectors",
        "stopping the processors: reading what is left",
        "stopping the sinks: storing what is left",
    ]
    order = ends(stack)
    assert order[0] == COLLECTOR
    assert set(order[1:4]) == {PROCESSORS, GATEWAY, SIMULATOR}
    assert set(order[4:]) == {CLICKHOUSE, PARQUET}
    assert stack.supervisor.children[BROKER].pid is not None
    await stack.supervisor.stop()
    assert ends(stack)[-1] == BROKER


async def test_who_is_killed_while_it_stops_is_started_once_more(stack: Stack) -> None:
    await begin(stack, sink_parquet="die-once", processors="die-once")
    told: list[str] = []
    await stack.finish(told.append)
    assert "sink-parquet is restarted once to read the rest" in told
    assert "processors is restarted once to read the rest" in told
    order = ends(stack)
    assert order.index(PROCESSORS) < min(order.index(name) for name in (CLICKHOUSE, PARQUET))
    assert stack.supervisor.ending(PARQUET) == ""


async def test_who_is_dead_when_its_turn_comes_is_started_once_more(
    stack: Stack, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Killed a moment before, say, so that its restart is still to come."""
    monkeypatch.setattr("alphapulse.supervisor.restarts.FIRST_PAUSE_SECONDS", 3600.0)
    monkeypatch.setattr("alphapulse.supervisor.restarts.MOST_PAUSE_SECONDS", 3600.0)
    await begin(stack)
    child = stack.supervisor.children[CLICKHOUSE]
    for restarts in (0, 1):  # the first death is followed by a start at once
        async with asyncio.timeout(20):
            while child.restarts < restarts or child.pid is None:
                await asyncio.sleep(0.02)
            pid = child.pid
            child.process.send_signal(signal.SIGKILL)  # type: ignore[union-attr]
            while child.pid == pid:
                await asyncio.sleep(0.02)
    await stack.finish(lambda _: None)
    assert CLICKHOUSE in ends(stack)
    assert stack.supervisor.ending(CLICKHOUSE) == ""


async def test_who_has_left_something_is_started_once_more(stack: Stack) -> None:
    await begin(stack)
    ledger, lag = Leaving(), Offsets()
    told: list[str] = []
    await stack.finish(told.append, ledger, lag)
    assert told[-1] == "sink-clickhouse is restarted once to read 1,203 records"
    assert ends(stack).count(CLICKHOUSE) == 2
    assert ends(stack).count(PARQUET) == ends(stack).count(PROCESSORS) == 1


class Leaving(Ledger):
    """The ledger of a run whose ClickHouse sink has left something."""

    def __init__(self) -> None:
        pass

    def unread(self, groups: object) -> dict[str, dict[str, int]]:
        return {CLICKHOUSE: {"md.l2": 1200, "md.trades": 3}}


class Offsets(LagReader):
    """Of no broker."""

    def __init__(self) -> None:
        pass

    async def read(self) -> dict[str, GroupLag]:
        return {}


async def test_a_last_status_that_is_torn_or_none_counts_nothing(stack: Stack) -> None:
    path = last_status_path(stack.settings, "sink")
    path.parent.mkdir(parents=True)
    for torn in ("", '{"lost": 3', "[3]"):
        path.write_text(torn, encoding="utf-8")
        assert stack._last_status("sink") == {}
    path.write_text('{"lost": 3}', encoding="utf-8")
    assert stack._last_status("sink") == {"lost": 3}
