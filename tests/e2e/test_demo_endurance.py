"""The demo beside a process that never rests: ``python -m tests.endurance``, short."""

from __future__ import annotations

import asyncio
import time
from pathlib import Path
from statistics import median

import aiohttp
import pytest

from tests.e2e.stored import assert_all_is_stored
from tests.e2e.test_demo import ALL_BOOKS, running
from tests.endurance.watch import Burner, broker_of, late_strategy, quantile, watching, windows

pytestmark = pytest.mark.slow

SECONDS = 80.0
BEHIND = 3_000
"""Records of a group that may wait: the sinks write once a second, and Parquet commits with its files."""


@pytest.mark.unmeasured
async def test_it_keeps_up_beside_a_competing_load_finds_arbitrage_and_stores_everything(tmp_path: Path) -> None:
    with running(tmp_path) as demo:
        async with (
            aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=10)) as demo.http,
            Burner(1),
        ):
            await demo.until(demo.whole, 90)
            await asyncio.sleep(5.0)
            began = time.monotonic()
            async with watching(demo.data_dir, ALL_BOOKS) as seen:
                await asyncio.sleep(SECONDS * 0.7)
                await late_strategy(seen, broker_of(demo.data_dir), 60.0)
                await asyncio.sleep(max(0.0, began + SECONDS - time.monotonic()))
            print("\n".join(windows(seen, began, SECONDS, 4)))  # noqa: T201 what a failure is about
            assert seen.caught_up is not None, f"{seen.read} records read"
            ages = [age for _, age in seen.ages]
            assert quantile(ages, 0.99) < 2.0
            assert max(ages) < 5.0, "a book was shown that is stale"
            for group, points in seen.lag.items():
                late = [lag for at, lag in points if at >= began + SECONDS / 2]
                assert median(late) < BEHIND, group

            async def found() -> bool:
                told = await demo.get("/api/v1/arbitrage/opportunities?state=all")
                return bool(told.get("opportunities"))

            await demo.until(found, 30.0)  # the first comes within a minute
            assert await demo.stop() == 0
        assert_all_is_stored(demo)
