"""``alphapulse demo``: what a user sees within a minute, and what is left when Ctrl-C stops it.

The tables then hold what was published, or it is told exactly what they lack.
"""

from __future__ import annotations

import asyncio
import os
import re
import signal
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import aiohttp
import pytest

from tests.e2e.command import alphapulse
from tests.e2e.stored import COLLECTORS, TABLES, assert_all_is_stored, counted, files, rows
from tests.e2e.test_demo import BOUND_SECONDS, Demo, alive, running

pytestmark = pytest.mark.slow


@pytest.fixture
async def http() -> AsyncIterator[aiohttp.ClientSession]:
    async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=5)) as session:
        yield session


@pytest.fixture
def demo(tmp_path: Path, http: aiohttp.ClientSession) -> Iterator[Demo]:
    with running(tmp_path) as made:
        made.http = http
        yield made


async def published(demo: Demo) -> int:
    """Return how many records the collectors have published so far."""
    total = 0
    for name in COLLECTORS:
        try:
            async with demo.http.get(f"http://127.0.0.1:{demo.told()[name]['ops_port']}/status") as answer:
                total += (await answer.json())["records"]
        except (KeyError, aiohttp.ClientError):
            return 0
    return total


async def flowing(demo: Demo, more: int = 500) -> None:
    """Wait until so many records more have been published."""

    async def reached(count: int) -> bool:
        return await published(demo) >= count

    await demo.until(lambda: reached(1), 90)
    begin = await published(demo)
    await demo.until(lambda: reached(begin + more), 90)


def send(demo: Demo, number: signal.Signals, *names: str) -> None:
    told = demo.told()
    for name in names:
        os.kill(told[name]["pid"], number)


async def says(demo: Demo, text: str) -> None:
    async with asyncio.timeout(BOUND_SECONDS):
        while text not in demo.log.read_text(encoding="utf-8"):
            assert demo.process.poll() is None, demo.log.read_text(encoding="utf-8")[-4000:]
            await asyncio.sleep(0.05)


async def ended(demo: Demo) -> tuple[int, list[str]]:
    """Return exit code and the last lines the demo has printed, from its account on."""
    code = await asyncio.to_thread(demo.process.wait, 2 * BOUND_SECONDS)
    lines = demo.log.read_text(encoding="utf-8").splitlines()
    at = next((n for n, line in enumerate(lines) if line.startswith("stopped")), len(lines))
    return code, lines[at:]


async def test_books_and_trades_come_up_all_is_stored_and_nothing_is_left_after_ctrl_c(demo: Demo) -> None:
    await demo.until(demo.whole, 60)
    page = await demo.http.get(f"http://127.0.0.1:{demo.told()['gateway']['port']}/")
    assert page.status == 200
    assert "text/html" in page.headers["Content-Type"]
    count = "SELECT count() FROM trades"

    async def rows_grow() -> bool:
        return (await demo.ask(count) or 0) > 10

    await demo.until(rows_grow, 30)
    beside = await asyncio.to_thread(alphapulse, "sql", count, "--data-dir", demo.data_dir, "--format", "TSV")
    assert beside.code == 0, beside.err
    assert int(beside.out) > 10
    await flowing(demo)
    pids = [told["pid"] for told in demo.told().values()]
    assert len(pids) == 9
    assert all(alive(pid) for pid in pids)
    demo.process.send_signal(signal.SIGINT)
    code, lines = await ended(demo)
    assert not any(alive(pid) for pid in pids)
    assert demo.told() == {}
    counts = counted(demo)
    total = sum(counts[topic] for topic in TABLES.values())
    account = re.fullmatch(r"stopped after [\d.]+ s: ([\d,]+) records, all stored in (\S+)", lines[0])
    assert account is not None, lines
    assert account[2] == str(demo.data_dir)
    assert int(account[1].replace(",", "")) >= total
    assert (code, len(lines)) == (0, 1)
    assert_all_is_stored(demo)  # and the tables can be read after the run


@pytest.mark.unmeasured
async def test_sinks_that_are_late_and_one_that_is_killed_meanwhile_lose_nothing(demo: Demo) -> None:
    await flowing(demo, 100)
    send(demo, signal.SIGSTOP, "sink-clickhouse", "sink-parquet", "processors")
    await flowing(demo, 2000)
    demo.process.send_signal(signal.SIGINT)
    await says(demo, "stopping the processors: reading what is left")
    send(demo, signal.SIGCONT, "processors")
    await says(demo, "stopping the sinks: storing what is left")
    send(demo, signal.SIGKILL, "sink-clickhouse")
    send(demo, signal.SIGCONT, "sink-parquet")
    code, lines = await ended(demo)
    assert code == 0, lines
    assert "all stored in" in lines[0]
    assert "sink-clickhouse is restarted once to read " in demo.log.read_text(encoding="utf-8")
    assert_all_is_stored(demo)


async def test_a_second_ctrl_c_stops_at_once(demo: Demo) -> None:
    await flowing(demo, 100)
    pids = [told["pid"] for told in demo.told().values()]
    send(demo, signal.SIGSTOP, "processors")
    demo.process.send_signal(signal.SIGINT)
    await says(demo, "stopping the processors: reading what is left")
    demo.process.send_signal(signal.SIGINT)
    code, lines = await ended(demo)
    assert code == 130
    assert lines == ["stopped immediately after a second signal: records not stored yet are not in the tables"]
    assert not any(alive(pid) for pid in pids)


async def test_what_a_sink_could_not_store_is_told_exactly(demo: Demo, monkeypatch: pytest.MonkeyPatch) -> None:
    await flowing(demo, 100)
    send(demo, signal.SIGSTOP, "sink-parquet")
    await flowing(demo, 1000)
    # It cannot be started again either: its folder is gone, and a file is in the way.
    demo.process.send_signal(signal.SIGINT)
    await says(demo, "stopping the sinks: storing what is left")
    place = demo.data_dir / "parquet"
    place.rename(demo.data_dir / "parquet-before")
    place.write_text("in the way", encoding="utf-8")
    send(demo, signal.SIGKILL, "sink-parquet")
    code, lines = await ended(demo)
    assert code == 1
    counts = counted(demo)
    place.unlink()
    (demo.data_dir / "parquet-before").rename(place)
    told = next(line for line in lines if "sink-parquet has not stored" in line)
    left = {topic: int(number.replace(",", "")) for topic, number in re.findall(r"([a-z0-9.]+) ([\d,]+)[,)]", told)}
    for topic in ("md.trades", "md.l2", "md.candles", "signals.arbitrage"):
        # Files that were not closed are not committed, and count as not stored.
        assert left.get(topic, 0) == counts[topic] - files(demo, topic), topic
    assert any("they were only in memory and are lost" in line for line in lines)
    assert any("sink-parquet did not end cleanly: sink-parquet: parquet.path: cannot write" in line for line in lines)
    assert {topic: rows(demo)[topic] for topic in ("md.trades", "md.l2")} == {
        topic: counts[topic] for topic in ("md.trades", "md.l2")
    }
