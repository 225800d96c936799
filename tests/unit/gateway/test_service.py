"""Pace of the reading by whether anybody listens."""

from __future__ import annotations

import pytest

from gateway.fanout import Hub
from gateway.service import UNWATCHED_GATHER_MS, PacedReader
from gateway.state import MarketState
from tests.fixtures.market import MAX_BOOK_AGE
from tests.fixtures.stream import ClogableWire, ManualScheduler


class Steps:
    """A reader, and its consumer, that note what they are told."""

    def __init__(self) -> None:
        self.paces: list[float] = []
        self.steps = 0

    async def step(self) -> int:
        self.steps += 1
        return 0

    def coalesce(self, milliseconds: float) -> None:
        self.paces.append(milliseconds)


@pytest.mark.parametrize("gather_ms", [0.0, 10.0, 80.0])
async def test_records_are_gathered_for_longer_while_nobody_listens(gather_ms: float) -> None:
    tick = ManualScheduler()
    hub = Hub(MarketState({}, max_book_age=MAX_BOOK_AGE), queue_bytes=1000, schedule=tick, clock=tick.clock)
    noted = Steps()
    reader = PacedReader(noted, noted, hub, gather_ms)
    await reader.step()
    hub.live = True
    await reader.step()
    session = hub.open(ClogableWire())
    await reader.step()
    hub.closed(session)
    await reader.step()
    unwatched = max(gather_ms, UNWATCHED_GATHER_MS)
    assert noted.paces == [gather_ms, unwatched, gather_ms, unwatched], "catching up, alone, a client, alone again"
    assert noted.steps == 4
