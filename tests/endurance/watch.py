"""A running demo, watched from outside: lag, memory, the books of a page, and a strategy that begins late."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import time
from collections import defaultdict
from collections.abc import AsyncIterator, Iterable
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median
from typing import Any, Final

from aiokafka import TopicPartition
from websockets.asyncio.client import connect

from alphapulse import kafka, topics
from alphapulse.brokers.memory.broker import client_settings
from alphapulse.config import ClickHouseSettings, KafkaSettings, ParquetSettings, ProcessorSettings
from schemas.codec import Codec
from schemas.records import L2Update

PAGE_SECONDS: Final = 0.1
"""Between two looks at the ages of a page's books."""
LAG_SECONDS: Final = 1.0
MEMORY_SECONDS: Final = 5.0
LEFT: Final = 500
"""Records unread with which a strategy counts as having caught up: those of about a second."""


@dataclass
class Seen:
    """What was seen, each figure with the time it was taken (``time.monotonic()``).

    Attributes:
        lag: group → records unread.
        ages: seconds since the oldest of the page's books was what its venue shows.
        memory: service → resident bytes.
        caught_up: seconds that a strategy took from the oldest records of ``md.l2`` to the newest; None: it did not.
        read: records it read meanwhile.
    """

    lag: defaultdict[str, list[tuple[float, int]]] = field(default_factory=lambda: defaultdict(list))
    ages: list[tuple[float, float]] = field(default_factory=list)
    memory: defaultdict[str, list[tuple[float, int]]] = field(default_factory=lambda: defaultdict(list))
    caught_up: float | None = None
    read: int = 0


class Page:
    """A client that has subscribed to every book, as the page does, and knows how old each of them is."""

    def __init__(self, url: str, instruments: Iterable[tuple[str, str]]) -> None:
        self._url = url.replace("http", "ws", 1) + "/ws/v1"
        self._times: dict[tuple[str, str], float] = dict.fromkeys(instruments, 0.0)

    async def listen(self) -> None:
        """Read until cancelled."""
        async with connect(self._url, compression=None, max_size=None) as socket:
            for venue, symbol in self._times:
                wanted = {"op": "subscribe", "channel": "book", "venue": venue, "symbol": symbol}
                await socket.send(json.dumps(wanted))
            async for frame in socket:
                for line in str(frame).splitlines():
                    message = json.loads(line)
                    # A book that is not valid is as old as it was: nobody shows it.
                    if message["type"] in ("snapshot", "delta") and message["valid"]:
                        self._times[message["venue"], message["symbol"]] = message["time"] / 1e6

    def oldest(self) -> float:
        """Return the age of the oldest book, in seconds."""
        return time.time() - min(self._times.values())


class Burner:
    """Processes that never rest, at our own niceness.

    Args:
        count: how many.
    """

    def __init__(self, count: int) -> None:
        self._count = count
        self._processes: list[asyncio.subprocess.Process] = []

    async def __aenter__(self) -> None:
        for _ in range(self._count):
            burning = await asyncio.create_subprocess_exec("sha256sum", "/dev/zero", stdout=asyncio.subprocess.DEVNULL)
            self._processes.append(burning)

    async def __aexit__(self, *_: object) -> None:
        for process in self._processes:
            with contextlib.suppress(ProcessLookupError):
                process.kill()
            await process.wait()


def resident(pid: int) -> int:
    """Return the resident bytes of a process; 0: it is gone."""
    try:
        return int(Path(f"/proc/{pid}/statm").read_text(encoding="ascii").split()[1]) * os.sysconf("SC_PAGE_SIZE")
    except (OSError, IndexError):
        return 0


def told(data_dir: Path) -> dict[str, dict[str, Any]]:
    """Return the announcements of the services that run."""
    found = {}
    for path in (data_dir / "run").glob("*.json"):
        with contextlib.suppress(OSError, ValueError):
            found[path.stem] = json.loads(path.read_text(encoding="utf-8"))
    return found


def broker_of(data_dir: Path) -> KafkaSettings:
    """Return where the demo's in-memory broker is."""
    broker = told(data_dir)["broker"]
    return client_settings(KafkaSettings(), bootstrap=broker["bootstrap"], incarnation=broker["incarnation"])


@contextlib.asynccontextmanager
async def watching(data_dir: Path, instruments: Iterable[tuple[str, str]]) -> AsyncIterator[Seen]:
    """Look at the demo in ``data_dir`` until the block ends."""
    seen = Seen()
    settings = broker_of(data_dir)
    page = Page(told(data_dir)["gateway"]["url"], instruments)
    parts = [page.listen(), _lags(seen, settings), _memory(seen, data_dir), _ages(seen, page)]
    tasks = [asyncio.create_task(part) for part in parts]
    try:
        yield seen
    finally:
        ended = [task for task in tasks if task.done()]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        for task in ended:
            task.result()


async def _lags(seen: Seen, settings: KafkaSettings) -> None:
    clickhouse, parquet, processors = ClickHouseSettings(), ParquetSettings(), ProcessorSettings()
    groups = {
        processors.group: (topics.L2, topics.TRADES, topics.DEPTH),
        clickhouse.group: clickhouse.topics,
        parquet.group: parquet.topics,
    }
    async with kafka.LagReader(settings, groups) as reader:
        while True:
            for group, lag in (await reader.read()).items():
                seen.lag[group].append((time.monotonic(), lag.total))
            await asyncio.sleep(LAG_SECONDS)


async def _memory(seen: Seen, data_dir: Path) -> None:
    while True:
        for name, announced in told(data_dir).items():
            seen.memory[name].append((time.monotonic(), resident(announced["pid"])))
        await asyncio.sleep(MEMORY_SECONDS)


async def _ages(seen: Seen, page: Page) -> None:
    await asyncio.sleep(2.0)  # until each book has come
    while True:
        seen.ages.append((time.monotonic(), page.oldest()))
        await asyncio.sleep(PAGE_SECONDS)


async def late_strategy(seen: Seen, settings: KafkaSettings, seconds: float) -> None:
    """Read ``md.l2`` from its oldest record on, decoding each, as a strategy does, until all but ``LEFT`` are read."""
    codec, began = Codec(), time.monotonic()
    places = [TopicPartition(topics.L2, number) for number in range(topics.PARTITIONS)]
    consumer = kafka.native_consumer(settings, group_id="late-strategy", client_id="late-strategy")
    async with kafka.running(consumer, settings):
        consumer.subscribe([topics.L2])
        while (now := time.monotonic()) < began + seconds:
            for records in (await consumer.getmany(timeout_ms=200)).values():
                for record in records:
                    codec.decode_as(L2Update, record.value or b"")
                seen.read += len(records)
            mine = consumer.assignment()
            if len(mine) == len(places) and seen.read:
                ends = [(consumer.highwater(place), await consumer.position(place)) for place in places]
                if sum(max((end or 0) - position, 0) for end, position in ends) <= LEFT:
                    seen.caught_up = now - began
                    return


def quantile(values: list[float], share: float) -> float:
    """Return the value that ``share`` of them do not exceed."""
    ordered = sorted(values)
    return ordered[min(int(len(ordered) * share), len(ordered) - 1)]


def windows(seen: Seen, began: float, seconds: float, count: int) -> list[str]:
    """Return the figures by window, a line each."""
    lines = []
    for number in range(count):
        first, last = began + seconds * number / count, began + seconds * (number + 1) / count
        title = f"{seconds * number / count / 60:5.1f} to {seconds * (number + 1) / count / 60:5.1f} min"
        parts = []
        for group, points in sorted(seen.lag.items()):
            values = [value for at, value in points if first <= at < last]
            if values:
                parts.append(f"{group} {min(values):,} / {median(values):,.0f} / {max(values):,}")
        ages = [value for at, value in seen.ages if first <= at < last]
        if ages:
            parts.append(f"oldest book {quantile(ages, 0.5):.3f} / {quantile(ages, 0.99):.3f} / {max(ages):.3f} s")
        lines.append(f"{title}: " + ", ".join(parts))
    return lines


def growth(seen: Seen, began: float, seconds: float) -> dict[str, tuple[int, int]]:
    """Return service → its resident bytes (median) in the second and in the last sixth of the time."""
    found = {}
    for name, points in sorted(seen.memory.items()):
        early = [size for at, size in points if seconds / 6 <= at - began < seconds / 3]
        late = [size for at, size in points if at - began >= seconds * 5 / 6]
        if early and late:
            found[name] = int(median(early)), int(median(late))
    return found
