"""A collector's process replaced by another one, while data flows: over the broker alone, whatever dies meanwhile."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
import time
from collections import Counter
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest

from alphapulse import topics
from alphapulse.config import FreshnessSettings, HandoverSettings, KafkaSettings, Settings, environment
from schemas.book_reader import BookReader, Outcome
from schemas.records import Event, L2Update, Record, Trade
from tests.fixtures.kafka_cluster import ON_KAFKA
from tests.fixtures.live import Market, market
from tests.integration.producers.test_collecting import ROOT, read_all, status

SYMBOLS = ("BTC-USD", "ETH-USD", "SOL-USD")
SHORT_LEASE_SECONDS = 4.0
PATIENCE_SECONDS = 300.0


@pytest.fixture
def broker_settings(request: pytest.FixtureRequest) -> KafkaSettings:
    """The settings of the empty broker whose fixture a test has as parameter."""
    settings: KafkaSettings = request.getfixturevalue(request.param)
    return settings


class Process:
    """A process of the collector, with a data directory of its own, as on another machine."""

    def __init__(self, venue: str, folder: Path, process: asyncio.subprocess.Process) -> None:
        self.venue = venue
        self.folder = folder
        self.process = process

    async def status(self) -> dict[str, Any]:
        if not (self.folder / "run" / f"collector-{self.venue}.json").exists():
            return {}
        return await status(self.folder, f"collector-{self.venue}")

    async def until(self, condition: Callable[[dict[str, Any]], bool]) -> dict[str, Any]:
        async with asyncio.timeout(PATIENCE_SECONDS):
            while not condition(told := await self.status()):
                assert self.process.returncode is None
                await asyncio.sleep(0.02)
        return told

    async def until_it_publishes(self) -> None:
        """Wait until it is the owner and all its books are valid and have moved."""

        def publishes(told: dict[str, Any]) -> bool:
            books = told.get("instruments", {})
            return (
                told.get("succession", {}).get("role") == "owner"
                and told["ready"]
                and all(symbol in books and books[symbol]["valid"] for symbol in SYMBOLS)
            )

        before = (await self.until(publishes))["instruments"]
        await self.until(lambda told: all(told["instruments"][s]["deltas"] > before[s]["deltas"] + 5 for s in SYMBOLS))

    async def until_it_is(self, role: str) -> None:
        await self.until(lambda told: told.get("succession", {}).get("role") == role)

    async def end(self, number: int) -> int:
        self.process.send_signal(number)
        async with asyncio.timeout(PATIENCE_SECONDS):
            return await self.process.wait()


@asynccontextmanager
async def process(
    venue: Market,
    settings: KafkaSettings,
    folder: Path,
    *,
    lease: float = 60.0,
    max_delay_ms: int = 0,
    way: Callable[[str | None], str | None] = lambda url: url,
) -> AsyncIterator[Process]:
    """Run a process; unless a test wants it, a slow machine ends neither its right nor its books.

    ``way``: given the address of the venue's WebSocket, returns the one to use.
    """
    feed = venue.settings(*SYMBOLS)
    configured = Settings(
        data_dir=folder,
        kafka=settings,
        handover=HandoverSettings(lease_s=lease),
        freshness=FreshnessSettings(max_feed_delay_ms=max_delay_ms),
        venues={venue.venue: feed.model_copy(update={"websocket_url": way(feed.websocket_url)})},
    )
    with folder.with_suffix(".log").open("wb") as log:
        started = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "producers", venue.venue),
            cwd=ROOT,
            env={**os.environ, **environment(configured)},
            stderr=log,
        )
    try:
        yield Process(venue.venue, folder, started)
    finally:
        if started.returncode is None:
            started.kill()
            await started.wait()


@asynccontextmanager
async def slow_way(port: int, *, seconds: float) -> AsyncIterator[int]:
    """Run a way to a server on which answers take ``seconds``; yield its port."""

    async def forward(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, delay: float) -> None:
        under_way: asyncio.Queue[tuple[float, bytes]] = asyncio.Queue()

        async def arrive() -> None:
            while True:
                due, data = await under_way.get()
                await asyncio.sleep(due - time.monotonic())
                writer.write(data)

        arriving = asyncio.create_task(arrive())
        try:
            while data := await reader.read(65_536):
                under_way.put_nowait((time.monotonic() + delay, data))
        finally:
            arriving.cancel()
            writer.close()

    async def connected(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        from_server, to_server = await asyncio.open_connection("127.0.0.1", port)
        await asyncio.gather(
            forward(reader, to_server, 0.0), forward(from_server, writer, seconds), return_exceptions=True
        )

    async with await asyncio.start_server(connected, "127.0.0.1", 0) as server:
        yield server.sockets[0].getsockname()[1]


class Published:
    """What consumers have of all that was published."""

    def __init__(self, records: Sequence[Record]) -> None:
        self.events = [record.kind for record in records if isinstance(record, Event)]
        self.messages = [f"{record.kind}: {record.message}" for record in records if isinstance(record, Event)]
        self.readers = {symbol: BookReader() for symbol in SYMBOLS}
        self.outcomes: dict[str, list[Outcome]] = {symbol: [] for symbol in SYMBOLS}
        self.kinds: dict[str, list[str]] = {symbol: [] for symbol in SYMBOLS}
        self.trades: dict[str, list[int]] = {symbol: [] for symbol in SYMBOLS}
        for record in records:
            if isinstance(record, L2Update):
                self.outcomes[record.symbol].append(self.readers[record.symbol].apply(record))
                self.kinds[record.symbol].append(record.kind)
            elif isinstance(record, Trade):
                self.trades[record.symbol].append(int(record.trade_id))

    def are_the_venues(self, venue: Market) -> bool:
        for symbol, reader in self.readers.items():
            part = venue.simulation.market.instruments[venue.venue, symbol]
            truth = part.book.sha256(-part.listing.price_decimals, -part.listing.size_decimals)
            if not reader.valid or reader.book.sha256(reader.price_exponent, reader.size_exponent) != truth:
                return False
        return True

    def told(self) -> str:
        """Return where the books stand, for a failure."""
        books = [
            f"{symbol}: valid {reader.valid}, epoch {reader.epoch}, sequence {reader.sequence}, "
            f"ends with {self.kinds[symbol][-5:]}, {Counter(self.outcomes[symbol])}"
            for symbol, reader in self.readers.items()
        ]
        return "\n".join([*books, *self.messages])

    def check_trades(self) -> None:
        """Every trade since the first one was published once."""
        for ids in self.trades.values():
            assert sorted(ids) == list(range(min(ids), max(ids) + 1))


async def settled(venue: Market, settings: KafkaSettings) -> Published:
    """Stop the market; return what is published as soon as consumers have its books."""
    venue.simulation.market.pause(3600 * 10**9)
    deadline = time.monotonic() + PATIENCE_SECONDS
    while not (found := Published(await read_all(settings, topics.L2, topics.TRADES, topics.EVENTS))).are_the_venues(
        venue
    ):
        assert time.monotonic() < deadline, found.told()
        await asyncio.sleep(0.1)
    return found


@pytest.mark.parametrize(
    ("venue_name", "broker_settings"),
    [
        ("kraken", "kafka"),
        ("coinbase", "kafka"),
        ("binance", "kafka"),
        pytest.param("kraken", "real_kafka", marks=ON_KAFKA),
    ],
    indirect=["broker_settings"],
)
@pytest.mark.unmeasured
async def test_the_successor_continues_every_epoch(
    venue_name: str, broker_settings: KafkaSettings, tmp_path: Path
) -> None:
    async with (
        market(venue_name, *SYMBOLS, rate=50.0) as venue,
        process(venue, broker_settings, tmp_path / "old") as old,
    ):
        await old.until_it_publishes()
        async with process(venue, broker_settings, tmp_path / "new") as new:
            await new.until_it_publishes()
            await old.until_it_is("standby")
            assert await old.end(signal.SIGTERM) == 0
            await new.until_it_publishes()
            found = await settled(venue, broker_settings)
            for symbol in SYMBOLS:
                assert found.kinds[symbol].count("SNAPSHOT") == 1
                assert {Outcome.GAP, Outcome.INVALIDATED, Outcome.SEEN}.isdisjoint(found.outcomes[symbol])
            found.check_trades()
            assert await new.end(signal.SIGTERM) == 0
    assert {"handed_over", "took_over"} <= set(found.events)


@pytest.mark.unmeasured
async def test_a_process_that_hears_late_hands_over_no_hole_in_the_trades(kafka: KafkaSettings, tmp_path: Path) -> None:
    """The successor's trades begin with its own connection, long after those that the old one has yet to read."""
    async with market("kraken", *SYMBOLS, rate=50.0) as venue:
        port = urlsplit(venue.settings().websocket_url).port
        assert port is not None
        async with (
            slow_way(port, seconds=2.0) as slow_port,
            process(
                venue, kafka, tmp_path / "old", way=lambda url: str(url).replace(f":{port}", f":{slow_port}")
            ) as old,
        ):
            await old.until_it_publishes()
            async with process(venue, kafka, tmp_path / "new") as new:
                await new.until_it_publishes()
                await old.until_it_is("standby")
                found = await settled(venue, kafka)
    found.check_trades()
    assert "trade_gap" not in found.events


@pytest.mark.unmeasured
async def test_a_stop_hands_over_to_the_process_that_stands_by_and_the_last_one_ends_the_books(
    kafka: KafkaSettings, tmp_path: Path
) -> None:
    async with (
        market("kraken", *SYMBOLS, rate=50.0) as venue,
        process(venue, kafka, tmp_path / "old") as old,
    ):
        await old.until_it_publishes()
        async with process(venue, kafka, tmp_path / "new") as new:
            await new.until_it_publishes()
            await old.until_it_is("standby")
            await new.until(lambda told: bool(told["succession"]["others"]))
            assert await new.end(signal.SIGTERM) == 0
        await old.until_it_publishes()
        found = await settled(venue, kafka)
        for symbol in SYMBOLS:
            assert found.kinds[symbol].count("SNAPSHOT") == 1
            assert "INVALID" not in found.kinds[symbol]
        assert await old.end(signal.SIGTERM) == 0
    found = Published(await read_all(kafka, topics.L2))
    assert all(kinds[-1] == "INVALID" for kinds in found.kinds.values())


@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGSTOP])
@pytest.mark.unmeasured
async def test_if_the_owner_dies_or_hangs_the_other_begins_anew_when_its_lease_is_over(
    how: signal.Signals, kafka: KafkaSettings, tmp_path: Path
) -> None:
    options: dict[str, Any] = {"lease": SHORT_LEASE_SECONDS, "max_delay_ms": FreshnessSettings().max_feed_delay_ms}
    async with (
        market("kraken", *SYMBOLS, rate=50.0) as venue,
        process(venue, kafka, tmp_path / "old", **options) as old,
    ):
        await old.until_it_publishes()
        async with process(venue, kafka, tmp_path / "new", **options) as new:
            await new.until_it_publishes()
            await old.until_it_is("standby")
            new.process.send_signal(how)
            await old.until_it_publishes()
            if how is signal.SIGSTOP:
                new.process.send_signal(signal.SIGCONT)
                await new.until_it_is("standby")
            found = await settled(venue, kafka)
        for symbol in SYMBOLS:
            assert found.kinds[symbol].count("SNAPSHOT") == 2
            assert Outcome.GAP not in found.outcomes[symbol]
        assert [len(set(ids)) for ids in found.trades.values()] == [
            max(ids) - min(ids) + 1 for ids in found.trades.values()
        ]


@pytest.mark.unmeasured
async def test_a_successor_that_dies_before_its_turn_is_not_seen_in_the_records(
    kafka: KafkaSettings, tmp_path: Path
) -> None:
    async with (
        market("kraken", *SYMBOLS, rate=50.0) as venue,
        process(venue, kafka, tmp_path / "old") as old,
    ):
        await old.until_it_publishes()
        venue.troubles.mute.update(SYMBOLS)
        async with process(venue, kafka, tmp_path / "new") as new:
            await new.until(lambda told: told.get("connected", False))
            assert (await new.status())["waiting"].endswith("publishes; waits for its turn")
            await new.end(signal.SIGKILL)
        venue.troubles.mute.clear()
        await old.until_it_publishes()
        assert (await old.status())["succession"]["role"] == "owner"
