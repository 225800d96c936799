"""``python -m tests.endurance [--seconds 3600] [--load 1]``: the demo beside processes that never rest, then Ctrl-C.

Prints, per sixth of the time: each group's lag (least, median, greatest), the age of the page's oldest book (median,
99 % quantile, greatest), then every process' memory, a strategy that begins at the oldest record after half the time,
and what the demo itself says is stored at its end; then compares that with the tables and files.
"""

from __future__ import annotations

import argparse
import asyncio
import tempfile
import time
from pathlib import Path

import aiohttp

from tests.e2e.stored import assert_all_is_stored, counted
from tests.e2e.test_demo import Demo, running
from tests.endurance.watch import Burner, broker_of, growth, late_strategy, watching, windows

VENUES = ("kraken", "coinbase", "binance_us")
SYMBOLS = ("BTC-USD", "ETH-USD", "SOL-USD")
SETTLE_SECONDS = 10.0


async def endure(demo: Demo, seconds: float, load: int) -> None:
    """Watch a demo, and print what was seen."""
    wanted = {(venue, symbol) for venue in VENUES for symbol in SYMBOLS}

    async def whole() -> bool:
        return await demo.books() == wanted

    await demo.until(whole, 120)
    async with Burner(load):
        await asyncio.sleep(SETTLE_SECONDS)
        began = time.monotonic()
        async with watching(demo.data_dir, wanted) as seen:
            await asyncio.sleep(seconds / 2)
            await late_strategy(seen, broker_of(demo.data_dir), 120.0)
            await asyncio.sleep(max(0.0, began + seconds - time.monotonic()))
        print("\n".join(windows(seen, began, seconds, 6)))
        for name, (early, late) in growth(seen, began, seconds).items():
            print(f"{name}: {early / 2**20:.1f} → {late / 2**20:.1f} MiB")
        caught_up = "did not catch up" if seen.caught_up is None else f"caught up after {seen.caught_up:.1f} s"
        print(f"a strategy from the oldest record: {seen.read:,} records, {caught_up}", flush=True)
        code = await demo.stop()
    print(demo.log.read_text(encoding="utf-8").splitlines()[-1], f"(exit code {code})")


async def run(options: argparse.Namespace) -> None:
    """Start the demo and watch it."""
    with tempfile.TemporaryDirectory() as folder, running(Path(folder), symbols=SYMBOLS) as demo:
        async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=10)) as demo.http:
            await endure(demo, options.seconds, options.load)
        assert_all_is_stored(demo)
        print("tables and files hold exactly what was counted as published:", dict(counted(demo)))


if __name__ == "__main__":
    parser = argparse.ArgumentParser(prog="python -m tests.endurance", description=__doc__.split("\n")[0])
    parser.add_argument("--seconds", type=float, default=3600.0)
    parser.add_argument("--load", type=int, default=1, help="processes that never rest")
    asyncio.run(run(parser.parse_args()))
