"""The collector, from the frame on its socket to the broker's acknowledgement, against cryptofeed on the same frames.

``python -m tests.benchmarks.bench_collector [RECORDING]`` (default: the BTC recording). Both read the same venue replay
over a socket and write to the same embedded broker, one after the other. ``per CPU second`` counts a process's own
processor time: what one core does. The recording's trades are handed out as ``aggTrade``, the kind both read.
The peer is left out, saying so, where ``ALPHAPULSE_PEERS`` names no environment with cryptofeed
(``python -m venv E && E/bin/pip install -r tests/benchmarks/peers/requirements.in``).
"""

from __future__ import annotations

import asyncio
import gzip
import json
import os
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from alphapulse.cli.stack import Stack
from alphapulse.config import Settings, VenueSettings
from alphapulse.embedded.broker import EmbeddedBroker
from alphapulse.supervisor import ChildSpec, Supervisor

PEER = Path(__file__).resolve().parent / "peers" / "cryptofeed_binance.py"
RUNS = 3
TICKS = os.sysconf("SC_CLK_TCK")


def cpu_seconds(pid: int) -> float:
    """Return the processor time a process has used, in all its threads."""
    fields = Path(f"/proc/{pid}/stat").read_text(encoding="ascii").rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / TICKS


def as_aggregates(recording: Path, folder: Path) -> Path:
    """Return a copy of a Binance recording in which trades are aggregate trades."""
    copy = folder / "binance_aggregates.rec"
    with gzip.open(recording, "rt") as lines, copy.open("w") as out:
        for line in lines:
            if '"e":"trade"' in line:
                line = (
                    line.replace("@trade", "@aggTrade").replace('"e":"trade"', '"e":"aggTrade"').replace('"t":', '"a":')
                )
            out.write(line)
    return copy


async def serve(stack: Stack, recording: Path) -> dict[str, Any]:
    """Start the venue replay; it serves nothing until it has credit. Return what it announces."""
    arguments = (str(recording), "--speed", "max", "--paced", "--name", "replay")
    spec = ChildSpec("replay", "producers.replay", stack.settings, arguments, restart=False)
    await stack.supervisor.start(spec)
    return await stack.supervisor.announcement("replay", "symbols")


async def begin(stack: Stack) -> None:
    """Let the replay send everything."""
    await stack.supervisor.ask("replay", "POST", "/credit", body={"bytes": 2**62})


async def ours(recording: Path, broker: EmbeddedBroker, folder: Path) -> dict[str, float]:
    """Play ``recording`` as fast as it goes through our collector; return its figures."""
    async with Supervisor(folder) as supervisor:
        stack = Stack(supervisor, Settings(data_dir=folder, kafka=broker.settings()))
        told = await serve(stack, recording)
        feed = VenueSettings(
            symbols=tuple(told["symbols"]), websocket_url=told["websocket_url"], rest_url=told["rest_url"]
        )
        await stack.start_collector("collector", told["venue"], feed)
        await supervisor.wait_ready("collector")
        pid = supervisor.children["collector"].pid
        if pid is None:
            raise RuntimeError("the collector ended")
        cpu, began = cpu_seconds(pid), time.perf_counter()
        await begin(stack)
        while True:
            sent = await stack.status("replay")
            status: dict[str, Any] = await stack.status("collector")
            on_the_wire = sent["websocket_frames_sent"] + sent["control_frames_sent"]
            if sent["finished"] and status["frames_done"] >= on_the_wire:
                break
            await asyncio.sleep(0.005)
        seconds, used = time.perf_counter() - began, cpu_seconds(pid) - cpu
    changes = sum(int(state["level_changes"]) for state in status["instruments"].values())
    return {"frames": status["frames"], "changes": changes, "seconds": seconds, "cpu_seconds": used}


async def peer(recording: Path, broker: EmbeddedBroker, folder: Path, python: Path, frames: int) -> dict[str, float]:
    """Return the peer's figures on the same recording and broker."""
    async with Supervisor(folder) as supervisor:
        stack = Stack(supervisor, Settings(data_dir=folder, kafka=broker.settings()))
        told = await serve(stack, recording)
        process = await asyncio.create_subprocess_exec(
            *(str(python), str(PEER), told["websocket_url"], told["rest_url"], broker.bootstrap, str(frames)),
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
        )
        if process.stdin is None or process.stdout is None:
            raise RuntimeError("the peer has no pipes")
        await process.stdout.readline()
        process.stdin.write(b"begin\n")
        await begin(stack)
        figures: dict[str, float] = json.loads(await process.stdout.readline())
        await process.wait()
    return figures


def line(name: str, figures: dict[str, float]) -> str:
    """Return a row of the table."""
    rates = [figures["frames"] / figures[unit] for unit in ("seconds", "cpu_seconds")]
    changes = f"{figures['changes'] / figures['cpu_seconds']:12,.0f}" if "changes" in figures else " " * 12
    return f"{name:12} {rates[0]:14,.0f} {rates[1]:22,.0f} {changes}"


async def main(recording: Path) -> None:
    """Print both, and the ratio of frames per CPU second."""
    python = Path(os.environ.get("ALPHAPULSE_PEERS", "/nowhere")) / "bin" / "python"
    best: dict[str, dict[str, float]] = {}
    for number in range(RUNS):
        with EmbeddedBroker() as broker, tempfile.TemporaryDirectory() as folder:
            played = as_aggregates(recording, Path(folder))
            found = {"alphapulse": await ours(played, broker, Path(folder, "ours"))}
            if number == 0 and python.is_file():
                frames = int(found["alphapulse"]["frames"])
                found["cryptofeed"] = await peer(played, broker, Path(folder, "peer"), python, frames)
        for name, figures in found.items():
            if name not in best or figures["cpu_seconds"] < best[name]["cpu_seconds"]:
                best[name] = figures
    print(f"{'':12} {'frames/s':>14} {'frames/CPU second':>22} {'changes/CPU s':>12}")
    for name, figures in best.items():
        print(line(name, figures))
    if "cryptofeed" not in best:
        print("no peer: set ALPHAPULSE_PEERS to an environment with cryptofeed")
        return
    for unit, what in (("seconds", "frames/s"), ("cpu_seconds", "frames per CPU second")):
        ratio = (best["alphapulse"]["frames"] / best["alphapulse"][unit]) / (
            best["cryptofeed"]["frames"] / best["cryptofeed"][unit]
        )
        print(f"{what}: {ratio:.1f} x cryptofeed")


if __name__ == "__main__":
    default = Path(__file__).resolve().parents[3] / "shared" / "recordings" / "binance_btcusdt_20240808.rec.gz"
    chosen = Path(sys.argv[1]) if len(sys.argv) > 1 else default
    if chosen.is_file():
        asyncio.run(main(chosen))
    else:
        print(f"no recording at {chosen}")
