"""The collector, from the frame on its socket to the broker's acknowledgement, against cryptofeed on the same frames.

``python -m tests.benchmarks.bench_collector [--broker embedded|kafka|both] [RECORDING]`` (default: both, and the real
Binance recording; where there is none, ours: it is short, and its figures are rough). Both read the same frames
from the same venue over a socket and write to the same broker, one after the other, each alone on one core; venue and
broker have the others. The venue (:mod:`tests.benchmarks.blast`) has its bytes ready and sends them as fast as they are
taken, so that the broker need not share its core. ``per CPU second`` counts a process's own processor time. Trades come
as ``aggTrade``, the kind both read. The peer is left out, saying so, where ``ALPHAPULSE_PEERS`` names no environment
with cryptofeed (``python -m venv E && E/bin/pip install -r tests/benchmarks/peers/requirements.in``), Apache Kafka
where Java or Maven is missing.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from alphapulse.brokers.kafka import install as kafka_install
from alphapulse.cli.stack import BROKER, BrokerKind, Stack
from alphapulse.config import Settings, VenueSettings
from alphapulse.kafka.admin import create_topics
from alphapulse.supervisor.supervisor import Supervisor
from alphapulse.topics import Topic
from tests.benchmarks.stopwatch import cpu_seconds
from tests.recordings import found

PEER = Path(__file__).resolve().parent / "peers" / "cryptofeed_binance.py"
PEER_TOPICS = ("book-BINANCE-BTC-USDT", "trades-BINANCE-BTC-USDT")
RUNS = 3
Figures = dict[str, float]


def alone(pid: int, others: list[int]) -> None:
    """Give ``pid`` a core of its own, all threads included, and ``others`` the rest, where there is more than one."""
    first, *rest = sorted(os.sched_getaffinity(0))
    for process, cores in ((pid, {first}), *((other, set(rest)) for other in others)):
        for thread in Path(f"/proc/{process}/task").iterdir() if rest else ():
            os.sched_setaffinity(int(thread.name), cores)


class Venue:
    """The venue process. It sends nothing before :meth:`begin`."""

    def __init__(self, recording: Path) -> None:
        self._recording = recording
        self.process: asyncio.subprocess.Process | None = None
        self.websocket_url = self.rest_url = ""
        self.frames = 0

    async def __aenter__(self) -> Venue:
        self.process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "tests.benchmarks.blast", str(self._recording)),
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
        )
        told = json.loads(await self._out.readline())
        self.websocket_url = f"ws://127.0.0.1:{told['websocket']}"
        self.rest_url = f"http://127.0.0.1:{told['rest']}"
        self.frames = told["frames"]
        return self

    async def __aexit__(self, *_: object) -> None:
        if self.process is not None:
            self.process.kill()
            await self.process.wait()

    @property
    def _out(self) -> asyncio.StreamReader:
        if self.process is None or self.process.stdout is None:
            raise RuntimeError("not entered")
        return self.process.stdout

    async def begin(self) -> None:
        """Let it send everything."""
        if self.process is None or self.process.stdin is None:
            raise RuntimeError("not entered")
        self.process.stdin.write(b"begin\n")
        await self.process.stdin.drain()


def pids(stack: Stack, *names: str) -> list[int]:
    """Return the process ids of children, and of what they started."""
    found = [child.pid for name in names if (child := stack.supervisor.children.get(name)) is not None]
    known = [pid for pid in found if pid is not None]
    below = [Path(f"/proc/{pid}/task/{pid}/children").read_text(encoding="ascii").split() for pid in known]
    return [*known, *(int(pid) for children in below for pid in children)]


async def ours(stack: Stack, recording: Path, number: int) -> Figures:
    """Play ``recording`` as fast as it goes through our collector; return its figures."""
    name = f"collector-{number}"
    async with Venue(recording) as venue:
        feed = VenueSettings(symbols=("BTC-USDT",), websocket_url=venue.websocket_url, rest_url=venue.rest_url)
        await stack.start_collector(name, "binance", feed)
        await stack.supervisor.wait_ready(name)
        (pid,) = pids(stack, name)
        alone(pid, [*pids(stack, BROKER), *([venue.process.pid] if venue.process else [])])
        cpu, began = cpu_seconds(pid), time.perf_counter()
        await venue.begin()
        while True:
            status: dict[str, Any] = await stack.status(name)
            if status and status["frames_done"] >= venue.frames:
                break
            await asyncio.sleep(0.005)
        seconds, used = time.perf_counter() - began, cpu_seconds(pid) - cpu
    await stack.supervisor.stop(name)
    changes = sum(int(state["level_changes"]) for state in status["instruments"].values())
    return {"frames": status["frames"], "changes": changes, "seconds": seconds, "cpu_seconds": used}


async def peer(stack: Stack, recording: Path, python: Path) -> Figures:
    """Return the peer's figures on the same frames and broker."""
    async with Venue(recording) as venue:
        bootstrap = stack.settings.kafka.bootstrap
        process = await asyncio.create_subprocess_exec(
            *(str(python), str(PEER), venue.websocket_url, venue.rest_url, bootstrap, str(venue.frames)),
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
        )
        if process.stdin is None or process.stdout is None:
            raise RuntimeError("the peer has no pipes")
        await process.stdout.readline()
        alone(process.pid, [*pids(stack, BROKER), *([venue.process.pid] if venue.process else [])])
        process.stdin.write(b"begin\n")
        await venue.begin()
        figures: Figures = json.loads(await process.stdout.readline())
        await process.wait()
    return figures


def line(name: str, figures: Figures) -> str:
    """Return a row of the table."""
    columns = [figures[what] / figures[unit] for unit in ("seconds", "cpu_seconds") for what in ("frames", "changes")]
    return f"{name:12}" + "".join(f"{column:16,.0f}" for column in columns)


async def measure(kind: BrokerKind, recording: Path, python: Path | None, folder: Path) -> None:
    """Print both on a broker of this kind, and the ratios."""
    best: dict[str, Figures] = {}
    async with Supervisor(folder) as supervisor:
        stack = Stack(supervisor, Settings(data_dir=folder))
        await stack.start_broker(kind)
        if kind == "kafka":
            await create_topics(stack.settings.kafka, 1, [Topic(name, 1) for name in PEER_TOPICS])
        for number in range(RUNS):
            found = await ours(stack, recording, number)
            if not best or found["cpu_seconds"] < best["alphapulse"]["cpu_seconds"]:
                best["alphapulse"] = found
        if python is not None:
            best["cryptofeed"] = await peer(stack, recording, python)
            best["cryptofeed"]["changes"] = best["alphapulse"]["changes"]  # it does not tell, but they are the same
    print(f"{kind + ' broker':12}{'frames/s':>16}{'changes/s':>16}{'frames/CPU s':>16}{'changes/CPU s':>16}")
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


def main() -> None:
    """Run."""
    parser = argparse.ArgumentParser()
    parser.add_argument("recording", type=Path, nargs="?", default=found("binance")[-1].path)
    parser.add_argument("--broker", choices=("embedded", "kafka", "both"), default="both")
    options = parser.parse_args()
    if not options.recording.is_file():
        print(f"no recording at {options.recording}")
        return
    kinds: list[BrokerKind] = ["embedded", "kafka"] if options.broker == "both" else [options.broker]
    if "kafka" in kinds and (lacking := kafka_install.missing()) is not None:
        print(lacking)
        kinds.remove("kafka")
    there = Path(os.environ.get("ALPHAPULSE_PEERS", "/nowhere")) / "bin" / "python"
    python = there if there.is_file() else None
    for kind in kinds:
        with tempfile.TemporaryDirectory() as folder:
            asyncio.run(measure(kind, options.recording, python, Path(folder)))


if __name__ == "__main__":
    main()
