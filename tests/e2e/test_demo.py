"""``alphapulse demo``: one per directory, and parts that are killed come back (its stop: ``test_demo_stop.py``)."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import signal
import subprocess
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from tests.e2e.command import ALPHAPULSE, ROOT, alphapulse, environment

BOUND_SECONDS = 60.0

pytestmark = pytest.mark.slow

SHARED = pytest.mark.xdist_group("demo")
"""Tests that use the same demo."""


class Demo:
    """A running demo."""

    def __init__(self, process: subprocess.Popen[bytes], data_dir: Path) -> None:
        self.process = process
        self.data_dir = data_dir
        self.log = data_dir.parent / "demo.err"
        self.http: aiohttp.ClientSession

    def told(self) -> dict[str, dict[str, Any]]:
        """Return the announcements of all services that run."""
        found: dict[str, dict[str, Any]] = {}
        for path in (self.data_dir / "run").glob("*.json"):
            with contextlib.suppress(FileNotFoundError):  # it has just ended
                found[path.stem] = json.loads(path.read_text(encoding="utf-8"))
        return found

    async def get(self, path: str) -> Any:
        gateway = self.told().get("gateway")
        if gateway is None or "url" not in gateway:
            return {}
        try:
            async with self.http.get(f"http://127.0.0.1:{gateway['port']}{path}") as answer:
                return await answer.json() if answer.status == 200 else {}
        except aiohttp.ClientError:
            return {}

    async def until(self, condition: Callable[[], Awaitable[bool]], seconds: float) -> None:
        looks = 0
        try:
            async with asyncio.timeout(seconds):
                while not await condition():
                    looks += 1
                    assert self.process.poll() is None, f"the demo ended by itself:\n{self.log.read_text()[-4000:]}"
                    await asyncio.sleep(0.1)
        except TimeoutError:
            missing = sorted(ALL_BOOKS - await self.books())
            pytest.fail(
                f"{condition.__name__}: not within {seconds} s, after {looks} looks; no valid book of {missing}; "
                f"services {self.told()}\n{self.log.read_text()[-4000:]}"
            )

    async def books(self) -> set[tuple[str, str]]:
        """Return the instruments whose book is valid at the gateway."""
        told = await self.get("/api/v1/instruments")
        return {(i["venue"], i["symbol"]) for i in told.get("instruments", []) if i["valid"]}

    async def ask(self, query: str) -> int | None:
        """Return the number that the tables answer, None while they cannot.

        The running sink is asked, as ``alphapulse sql`` does: a process for every look would keep a core busy.
        """
        sink = self.told().get("sink-clickhouse", {})
        try:
            url = f"http://127.0.0.1:{sink['ops_port']}/sql?format=TSV"
            async with self.http.post(url, data=query) as answer:
                return int(await answer.text()) if answer.status == 200 else None
        except (KeyError, aiohttp.ClientError):
            return None

    async def ready(self, name: str) -> bool:
        """Return whether the service says that it is ready."""
        try:
            async with self.http.get(f"http://127.0.0.1:{self.told()[name]['ops_port']}/ready") as answer:
                return answer.status == 200
        except (KeyError, aiohttp.ClientError):
            return False

    async def whole(self) -> bool:
        """Return whether every book is valid at the gateway."""
        return await self.books() == ALL_BOOKS

    async def stop(self) -> int:
        """Press Ctrl-C; return the exit code."""
        self.process.send_signal(signal.SIGINT)
        return await asyncio.to_thread(self.process.wait, BOUND_SECONDS)


@contextlib.contextmanager
def running(
    folder: Path, broker: str = "embedded", symbols: Sequence[str] = ("BTC-USD", "ETH-USD"), **variables: str
) -> Iterator[Demo]:
    """Run a demo in ``folder / "data"``, with more environment variables."""
    data_dir = folder / "data"
    options = ("--data-dir", str(data_dir), "--port", "0", "--symbols", ",".join(symbols), "--broker", broker)
    with (folder / "demo.err").open("wb") as log:
        process = subprocess.Popen(
            [*ALPHAPULSE, "demo", *options],
            cwd=ROOT,
            env=environment(**variables),
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
        )
        try:
            yield Demo(process, data_dir)
        finally:
            if process.poll() is None:
                process.send_signal(signal.SIGINT)
                process.wait(BOUND_SECONDS)


@pytest.fixture
async def http() -> AsyncIterator[aiohttp.ClientSession]:
    async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=5)) as session:
        yield session


@pytest.fixture
def demo(request: pytest.FixtureRequest, tmp_path: Path, http: aiohttp.ClientSession) -> Iterator[Demo]:
    """A demo on the embedded broker, or on the one that a test has as parameter."""
    with running(tmp_path, getattr(request, "param", "embedded")) as made:
        made.http = http
        yield made


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Demo]:
    """A demo that several tests use one after the other; each of them leaves it whole."""
    with running(tmp_path_factory.mktemp("demo")) as made:
        yield made


@pytest.fixture
def lasting(shared: Demo, http: aiohttp.ClientSession) -> Demo:
    """The shared demo."""
    shared.http = http
    return shared


def alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return Path(f"/proc/{pid}/stat").read_text(encoding="ascii").split()[2] != "Z"


ALL_BOOKS = {(venue, symbol) for venue in ("kraken", "coinbase", "binance_us") for symbol in ("BTC-USD", "ETH-USD")}


@SHARED
@pytest.mark.unmeasured
async def test_a_second_demo_in_the_same_directory_is_refused(lasting: Demo) -> None:
    async def claimed() -> bool:
        return (lasting.data_dir / ".lock").exists() and bool(lasting.told())

    await lasting.until(claimed, 30)
    ended = await asyncio.to_thread(alphapulse, "demo", "--data-dir", lasting.data_dir, "--port", "0")
    assert ended.code == 2
    assert f"in use by process {lasting.process.pid}" in ended.err


@SHARED
@pytest.mark.unmeasured
@pytest.mark.parametrize("victim", ["collector-kraken", "processors", "gateway", "broker"])
async def test_a_killed_part_comes_back(lasting: Demo, victim: str) -> None:
    await lasting.until(lasting.whole, 60)
    pid = lasting.told()[victim]["pid"]
    os.kill(pid, signal.SIGKILL)

    async def replaced() -> bool:
        told = lasting.told().get(victim)
        new = told is not None and told["pid"] != pid
        return new and await lasting.ready(victim) and await lasting.whole()

    await lasting.until(replaced, 90)


@pytest.mark.unmeasured
@pytest.mark.usefixtures("kafka_installation")
@pytest.mark.parametrize("demo", ["kafka"], indirect=True)
async def test_a_real_broker_comes_back_with_its_log_and_the_rest_goes_on(demo: Demo) -> None:
    await demo.until(demo.whole, 90)
    before = {name: told["pid"] for name, told in demo.told().items()}
    broker = demo.told()["broker"]
    os.kill(broker["pid"], signal.SIGKILL)

    async def replaced() -> bool:
        told = demo.told().get("broker", {})
        return "bootstrap" in told and bool(told["pid"] != broker["pid"])

    await demo.until(replaced, 60)
    again = demo.told()["broker"]
    assert (again["bootstrap"], again["incarnation"]) == (broker["bootstrap"], broker["incarnation"])
    assert not alive(broker["nodes"][0]["pid"])

    # What is sent now arrives: the newest trade in the tables is younger than that.
    returned = time.time_ns()

    async def goes_on() -> bool:
        newest = await demo.ask("SELECT toUnixTimestamp64Nano(max(received_time)) FROM trades")
        return newest is not None and newest > returned and await demo.whole()

    await demo.until(goes_on, 150)
    assert {name: told["pid"] for name, told in demo.told().items() if name != "broker"} == {
        name: pid for name, pid in before.items() if name != "broker"
    }
    assert await demo.stop() == 0, demo.log.read_text(encoding="utf-8")[-2000:]
    assert not alive(again["nodes"][0]["pid"])
    assert (demo.data_dir / "kafka" / "cluster.json").is_file()
