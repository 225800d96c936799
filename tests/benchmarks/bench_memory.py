"""Memory of one collector that keeps many deep books, against an interpreter that has only imported its modules.

``python -m tests.benchmarks.bench_memory [--instruments 50] [--depth 1000] [--frames 200000]``. A made-up recording of
Binance (a REST snapshot of each book, then updates that add, change and delete levels near the best price) is played
through the real collector to the embedded broker as fast as it goes; the peak of its resident memory is printed.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import random
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from alphapulse.cli.stack import Stack
from alphapulse.config import Settings, VenueSettings
from alphapulse.supervisor.supervisor import ChildSpec, Supervisor

MIB = 1 << 20
CHANGES = 8
IDLE = "import producers.__main__, producers.venues.binance.protocol; print(open('/proc/self/status').read())"


def names(count: int) -> list[str]:
    """Return pairs as Binance spells them."""
    return [f"{chr(65 + number // 26)}{chr(65 + number % 26)}XUSDT" for number in range(count)]


class Made:
    """A made-up market of one instrument."""

    def __init__(self, name: str, depth: int, chance: random.Random) -> None:
        self.name = name
        self.depth = depth
        self.update = 1000
        self._chance = chance

    def level(self, side: int, *, size: str | None = None) -> list[str]:
        ticks = 6_000_000 + side * (1 + int(self._chance.expovariate(4 / self.depth)))
        return [f"{ticks / 100:.8f}", size if size is not None else f"{self._chance.randint(1, 10**6) / 1000:.8f}"]

    def snapshot(self) -> str:
        sides = {
            name: [[f"{(6_000_000 + side * (1 + step)) / 100:.8f}", "1.00000000"] for step in range(self.depth)]
            for name, side in (("bids", -1), ("asks", 1))
        }
        path = f"/api/v3/depth?symbol={self.name}&limit={self.depth}"
        return json.dumps({"rest": path, "body": {"lastUpdateId": self.update, **sides}})

    def delta(self) -> str:
        first, self.update = self.update + 1, self.update + CHANGES
        sides = {
            name: [self.level(side, size="0.00000000" if self._chance.random() < 0.3 else None) for _ in range(CHANGES)]
            for name, side in (("b", -1), ("a", 1))
        }
        data = {"e": "depthUpdate", "E": 1723104003000, "s": self.name, "U": first, "u": self.update, **sides}
        return json.dumps({"stream": f"{self.name.lower()}@depth@100ms", "data": data})


def recording(instruments: int, depth: int, frames: int) -> Iterator[str]:
    """Yield the lines of the recording."""
    chance = random.Random(1)
    market = [Made(name, depth, chance) for name in names(instruments)]
    time = 1_723_104_003_000_000_000
    for made in market:  # a snapshot is asked for at the first update, and holds it
        yield f"{time} {made.delta()}\n"
        yield f"{time} {made.snapshot()}\n"
    for _ in range(frames):
        time += 100_000
        yield f"{time} {chance.choice(market).delta()}\n"


def resident(status: str) -> dict[str, float]:
    """Return MiB now and at the peak, from the text of ``/proc/…/status``."""
    fields = dict(line.split(":", 1) for line in status.splitlines() if ":" in line)
    return {name: int(fields[name].split()[0]) * 1024 / MIB for name in ("VmRSS", "VmHWM")}


def status_of(pid: int) -> str:
    """Return the text of ``/proc/<pid>/status``."""
    return Path(f"/proc/{pid}/status").read_text(encoding="ascii")


def valid(status: dict[str, Any]) -> int:
    """Return the number of books that are whole."""
    return sum(state["valid"] for state in status.get("instruments", {}).values())


async def measure(path: Path, depth: int, folder: Path) -> tuple[dict[str, float], dict[str, int]]:
    """Play the recording; return the collector's memory and figures."""
    async with Supervisor(folder) as supervisor:
        stack = Stack(supervisor, Settings(data_dir=folder))
        await stack.start_broker()
        arguments = (str(path), "--speed", "max", "--paced", "--name", "replay")
        await supervisor.start(ChildSpec("replay", "producers.replay", stack.settings, arguments, restart=False))
        told = await supervisor.announcement("replay", "symbols")
        feed = VenueSettings(
            symbols=tuple(told["symbols"]),
            depth=depth,
            websocket_url=told["websocket_url"],
            rest_url=told["rest_url"],
        )
        await stack.start_collector("collector", told["venue"], feed)
        await supervisor.wait_ready("collector")
        await supervisor.ask("replay", "POST", "/credit", body={"bytes": 2**62})
        while True:
            sent, status = await stack.status("replay"), await stack.status("collector")
            if sent.get("finished") and status and not status["in_flight"]:
                on_the_wire = sent["websocket_frames_sent"] + sent["control_frames_sent"]
                if status["frames_done"] >= on_the_wire:
                    break
            await asyncio.sleep(0.05)
        pid = supervisor.children["collector"].pid
        if pid is None:
            raise RuntimeError("the collector ended")
        memory = resident(status_of(pid))
    return memory, {"valid books": valid(status), "frames": status["frames"]}


def main() -> None:
    """Run."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--instruments", type=int, default=50)
    parser.add_argument("--depth", type=int, default=1000)
    parser.add_argument("--frames", type=int, default=100_000)
    options = parser.parse_args()
    idle = resident(subprocess.run([sys.executable, "-c", IDLE], capture_output=True, text=True, check=True).stdout)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "binance_made.rec")
        with path.open("w") as out:
            out.writelines(recording(options.instruments, options.depth, options.frames))
        memory, figures = asyncio.run(measure(path, options.depth, Path(folder, "data")))
    print(f"{options.instruments} instruments of {options.depth} levels a side: {figures}")
    print(f"  modules alone         {idle['VmRSS']:7.1f} MiB")
    print(f"  collector, at the end {memory['VmRSS']:7.1f} MiB   × {memory['VmRSS'] / idle['VmRSS']:.2f}")
    print(f"  collector, peak       {memory['VmHWM']:7.1f} MiB   × {memory['VmHWM'] / idle['VmRSS']:.2f}")


if __name__ == "__main__":
    main()
