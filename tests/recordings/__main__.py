"""``python -m tests.recordings`` (``make recordings``): make the recordings in ``recordings/`` anew, in about a minute.

``python -m tests.recordings VENUE …`` makes those of some venues and leaves the others as they are.

``alphapulse simulate`` serves every venue, with the faults of ``recordings/faults.toml``; ``alphapulse record`` writes
down what they send; :mod:`tests.calculator` computes ``expected.json``. Market and faults are the same each time, the
moment at which the recorder connects is not: frames and figures differ from one run to the next.
"""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import signal
import sys
import tempfile
from collections import Counter
from collections.abc import AsyncIterator, Collection, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any, Final

import aiohttp

from producers.simulator import scripts
from tests.calculator.recording import calculate_all
from tests.recordings import OURS, ROOT

FRAMES: Final = 1500
"""Of each venue."""
SEED: Final = "20"
RATE: Final = "12"
"""Events a second and instrument."""
ATTEMPTS: Final = 3
DEADLINE_SECONDS: Final = 300
MARKETS: Final = (
    (("kraken", "coinbase", "coinbase_advanced", "binance_us", "bitstamp"), ("BTC-USD", "ETH-USD", "SHIB-USD")),
    (("binance", "okx"), ("BTC-USDT", "ETH-USDT", "SHIB-USDT")),
    (("alpaca",), ("AAPL", "MSFT", "SPY")),
)
"""Venues with the symbols they have in common: a simulator each."""
DEPTHS: Final = {"kraken": 100, "binance_us": 100}
"""Levels a side, where the venue offers a choice; else all there are."""

MUST_SHOW: Final = {
    "kraken": ("checksums_bad", "duplicate_trades"),
    "coinbase": ("gaps", "duplicate_trades"),
    "coinbase_advanced": ("gaps", "duplicate_trades", "ignored"),
    "binance": ("gaps", "duplicate_trades", "ignored"),
    "binance_us": ("gaps", "duplicate_trades", "ignored"),
    "okx": ("gaps", "duplicate_trades", "ignored"),
    "bitstamp": ("gaps", "duplicate_trades", "ignored"),
    "alpaca": ("duplicate_trades",),
}
"""The figures that are above 0 in a recording of the venue: what its protocol lets a client notice."""


def lacking(expected: Mapping[str, Any]) -> list[str]:
    """Return what the recordings do not show though they should, a line each."""
    faults = []
    for name, entry in expected.items():
        venue, instruments = entry["venue"], entry["instruments"].values()
        faults += [
            f"{name}: {figure} is 0 for every symbol"
            for figure in MUST_SHOW[venue]
            if not any(one[figure] for one in instruments)
        ]
        for symbol, one in entry["instruments"].items():
            if venue != "alpaca" and (one["snapshots"] < 2 or one["book"]["best_bid"] is None):
                faults.append(f"{name}: {symbol}: no second snapshot, or no book at the end")
    if missing := MUST_SHOW.keys() - {entry["venue"] for entry in expected.values()}:
        faults.append(f"no recording of {', '.join(sorted(missing))}")
    return faults


@asynccontextmanager
async def command(name: str, data_dir: Path, *arguments: str, **environment: str) -> AsyncIterator[dict[str, Any]]:
    """Run ``alphapulse ARGUMENTS``; yield what the service ``name`` announces, and stop it at the end."""
    inherited = {variable: value for variable, value in os.environ.items() if not variable.startswith("ALPHAPULSE_")}
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "alphapulse.cli", *arguments),
        cwd=ROOT,
        env={**inherited, "ALPHAPULSE_DATA_DIR": str(data_dir), **environment},
        stdin=asyncio.subprocess.DEVNULL,
    )
    try:
        announcement = data_dir / "run" / f"{name}.json"
        while True:
            told: dict[str, Any] = json.loads(announcement.read_text()) if announcement.is_file() else {}
            if told and (name != "simulator" or "venues" in told):
                break
            if process.returncode is not None:
                raise SystemExit(f"alphapulse {arguments[0]} ended with {process.returncode}")
            await asyncio.sleep(0.05)
        yield told
    finally:
        if process.returncode is None:
            process.send_signal(signal.SIGTERM)
    if (code := await process.wait()) != 0:
        raise SystemExit(f"alphapulse {arguments[0]} ended with {code}")


async def status(told: Mapping[str, Any]) -> dict[str, Any]:
    """Return the status of the service that announced ``told``."""
    async with aiohttp.ClientSession() as session, session.get(f"http://127.0.0.1:{told['ops_port']}/status") as answer:
        figures: dict[str, Any] = await answer.json()
        return figures


def feed_settings(venue: str, told: Mapping[str, Any]) -> dict[str, Any]:
    """Return the recorder's configuration of a venue, from what its simulator announced."""
    names = ("symbols", "websocket_url", "rest_url", "key", "secret")
    return {name: told[name] for name in names} | ({"depth": DEPTHS[venue]} if venue in DEPTHS else {})


def recorded_enough(figures: Mapping[str, Any]) -> bool:
    """Whether every venue has sent its frames and every book is right."""
    return all(
        venue["frames"] >= FRAMES and all(one["valid"] or name == "alpaca" for one in venue["instruments"].values())
        for name, venue in figures["venues"].items()
    )


async def record(folder: Path, wanted: Collection[str]) -> list[Path]:
    """Record the venues ``wanted`` into ``folder``; return the files.

    Raises:
        SystemExit: a command failed, or a fault of the script did not happen.
    """
    script = OURS / "faults.toml"
    planned: dict[str, Counter[str]] = {}
    for fault in scripts.load(script):
        if fault.venue not in wanted:
            continue
        planned.setdefault(str(fault.venue), Counter())[fault.kind] += fault.count if "rest" in fault.kind else 1
    async with AsyncExitStack() as stack, asyncio.timeout(DEADLINE_SECONDS):
        simulators = []
        for number, (all_venues, symbols) in enumerate(MARKETS):
            if not (venues := [venue for venue in all_venues if venue in wanted]):
                continue
            arguments = ["--venues", ",".join(venues), "--symbols", ",".join(symbols), "--faults", str(script)]
            # Alpaca counts a lost connection for a minute and a half: longer than the recording.
            limits = "0" if "alpaca" in venues else "1"
            options = ("--seed", SEED, "--rate", RATE, "--limits", limits)
            running = command("simulator", folder / f"simulator{number}", "simulate", *arguments, *options)
            simulators.append(await stack.enter_async_context(running))
        feeds = {venue: feed_settings(venue, feed) for told in simulators for venue, feed in told["venues"].items()}
        out = folder / "out"
        configuration = {"ALPHAPULSE_VENUES": json.dumps(feeds)}
        async with command("record", folder / "recorder", "record", *feeds, "--out", str(out), **configuration) as told:
            while not recorded_enough(await status(told)):
                await asyncio.sleep(0.2)
            happened = {
                venue: Counter(figures["faults"])
                for simulator in simulators
                for venue, figures in (await status(simulator))["venues"].items()
            }
    if happened != planned:
        raise SystemExit(f"the faults that happened are not those of {script}: {happened}, planned: {planned}")
    return sorted(out.iterdir())


def install(files: Sequence[Path]) -> list[str]:
    """Put the recordings into ``recordings/`` and renew the figures; if they lack something, return what."""
    with tempfile.TemporaryDirectory() as temporary:
        made = Path(temporary)
        for path in files:
            venue = next(venue for venue in sorted(MUST_SHOW, key=len, reverse=True) if path.name.startswith(venue))
            shutil.copyfile(path, made / f"{venue}_simulated.rec.gz")
        for old in OURS.glob("*.rec.gz"):
            if not (made / old.name).exists():
                shutil.copyfile(old, made / old.name)
        expected = calculate_all(made)
        if faults := lacking(expected):
            return faults
        for path in sorted(made.iterdir()):
            shutil.copyfile(path, OURS / path.name)
    (OURS / "expected.json").write_text(json.dumps(expected, indent=1) + "\n", encoding="utf-8")
    return []


def main(venues: Sequence[str] = ()) -> None:
    """Record, compute, install; once more where chance has let a fault hit a frame that it does not show in.

    Args:
        venues: whose recordings; none: all.

    Raises:
        SystemExit: an unknown venue, or the recordings lack something each time; nothing was changed.
    """
    if unknown := set(venues) - MUST_SHOW.keys():
        raise SystemExit(f"no recordings are made of {', '.join(sorted(unknown))}")
    faults: list[str] = []
    for _ in range(ATTEMPTS):
        with tempfile.TemporaryDirectory() as folder:
            faults = install(asyncio.run(record(Path(folder), venues or tuple(MUST_SHOW))))
        if not faults:
            return
        print("\n".join(faults), file=sys.stderr, flush=True)
    raise SystemExit(f"{ATTEMPTS} recordings lack something; see recordings/faults.toml")


if __name__ == "__main__":
    main(sys.argv[1:])
