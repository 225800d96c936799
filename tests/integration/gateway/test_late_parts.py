"""What a gateway says when a part before it stands still (SIGSTOP): in REST, on the stream, of the health, and when.

Two simulated venues, their collectors, the processors and the gateway, each a process of its own.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from websockets.asyncio.client import connect

from alphapulse.config import GatewaySettings, KafkaSettings, Settings
from alphapulse.supervisor.supervisor import ChildSpec, Supervisor
from tests.conftest import ROOT
from tests.fixtures.live import market
from tests.fixtures.stream import ClientBook, messages_of

BOUND = 60.0
MAX_AGE_MS = 5_000
STOPPED_MS = 8_000
SYMBOLS = ("BTC-USD", "ETH-USD")
VENUES = ("coinbase", "kraken")
RATE = 5.0
"""Frames a second and book. No more: what is tested is lateness, not load."""

pytestmark = [pytest.mark.slow, pytest.mark.unmeasured]


class Stack:
    """The running parts, and the gateway as a user asks it."""

    def __init__(self, supervisor: Supervisor, http: aiohttp.ClientSession, port: int) -> None:
        self._supervisor = supervisor
        self._http = http
        self.port = port

    async def get(self, path: str) -> Any:
        """Return the answer to ``GET /api/v1/<path>``."""
        async with self._http.get(f"http://127.0.0.1:{self.port}/api/v1/{path}") as answer:
            assert answer.status == 200, await answer.text()
            return await answer.json()

    async def until(self, condition: Callable[[], Awaitable[bool]]) -> None:
        """Wait until ``condition`` holds; fail if a part was given up."""
        async with asyncio.timeout(BOUND):
            while not await condition():
                self._supervisor.check()
                await asyncio.sleep(0.1)

    async def books(self) -> dict[tuple[str, str], dict[str, Any]]:
        """Return all instruments by venue and symbol; fail if one is called valid that is too old."""
        found = {(each["venue"], each["symbol"]): each for each in (await self.get("instruments"))["instruments"]}
        for each in found.values():
            if each["valid"]:
                assert each["age_ms"] <= MAX_AGE_MS, each
            else:
                assert (each["best_bid"], each["best_ask"]) == (None, None), each
        return found

    async def venues(self) -> dict[str, dict[str, Any]]:
        return {each["venue"]: each for each in (await self.get("exchanges"))["exchanges"]}

    async def whole(self) -> bool:
        """Whether every book is valid."""
        books = await self.books()
        return len(books) == len(VENUES) * len(SYMBOLS) and all(each["valid"] for each in books.values())

    @contextmanager
    def stopped(self, name: str) -> Iterator[None]:
        """Let a part stand still until the end of the block."""
        pid = self._supervisor.children[name].pid
        assert pid is not None
        os.kill(pid, signal.SIGSTOP)
        try:
            yield
        finally:
            os.kill(pid, signal.SIGCONT)


@pytest.fixture
async def stack(kafka: KafkaSettings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Stack]:
    """All parts, ready, with every book valid."""
    monkeypatch.chdir(ROOT)
    async with (
        market("kraken", *SYMBOLS, rate=RATE) as kraken,
        market("coinbase", *SYMBOLS, rate=RATE) as coinbase,
        Supervisor(tmp_path) as supervisor,
        aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=10)) as http,
    ):
        venues = {each.venue: each.settings(*SYMBOLS) for each in (kraken, coinbase)}
        settings = Settings(data_dir=tmp_path, kafka=kafka, venues=venues, gateway=GatewaySettings(port=0))
        for venue in venues:
            name = f"collector-{venue}"
            await supervisor.start(ChildSpec(name, "producers", settings, (venue, "--name", name)))
        await supervisor.start(ChildSpec("processors", "stream_processors", settings))
        await supervisor.start(ChildSpec("gateway", "gateway", settings))
        await supervisor.wait_ready("processors", "gateway", *(f"collector-{venue}" for venue in venues))
        told = await supervisor.announcement("gateway", "port")
        made = Stack(supervisor, http, told["port"])
        await made.until(made.whole)
        yield made


class Listener:
    """A client of the stream that follows one book and the opportunities, and holds them to the protocol's rules.

    Attributes:
        book: the book of kraken's BTC-USD.
        reasons: why it was not valid, in the order told; None: it was.
        open: ids of the opportunities shown as open.
    """

    def __init__(self) -> None:
        self.book = ClientBook()
        self.reasons: list[str | None] = []
        self.open: set[str] | None = None

    def take(self, message: dict[str, Any]) -> None:
        match message:
            case {"channel": "book", "bids": _}:
                self.book.apply(message)
                if message["type"] == "snapshot":
                    self.reasons.append(message["reason"])
            case {"channel": "arbitrage", "opportunities": opportunities}:
                self.open = {each["opportunity_id"] for each in opportunities}
            case {"type": "opportunity", "state": state, "opportunity_id": identity}:
                assert self.open is not None
                (self.open.discard if state == "closed" else self.open.add)(identity)


@asynccontextmanager
async def listening(stack: Stack) -> AsyncIterator[Listener]:
    """Listen until the end of the block; what breaks a rule of the stream fails the test."""
    listener = Listener()
    async with connect(f"ws://127.0.0.1:{stack.port}/ws/v1", max_queue=None) as connection:
        await connection.send('{"op":"subscribe","channel":"book","venue":"kraken","symbol":"BTC-USD"}')
        await connection.send('{"op":"subscribe","channel":"arbitrage","symbol":"*"}')

        async def listen() -> None:
            async for text in connection:
                assert isinstance(text, str)
                for message in messages_of(text):
                    listener.take(message)

        task = asyncio.create_task(listen())
        try:
            yield listener
        finally:
            task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await task


async def test_while_the_processors_stand_still_no_book_is_called_good(stack: Stack) -> None:
    async def committed() -> bool:
        return "alphapulse-processors" in (await stack.get("system/health"))["lag"]

    async with listening(stack) as listener:
        await stack.until(lambda: _true(listener.book.valid))
        await stack.until(committed)  # a group without a commit has no lag that could be told
        with stack.stopped("processors"):

            async def all_stale() -> bool:
                return {each["reason"] for each in (await stack.books()).values()} == {"stale"}

            await stack.until(all_stale)
            book = await stack.get("books/kraken/BTC-USD")
            assert (book["valid"], book["bids"], book["asks"]) == (False, [], [])
            await stack.until(lambda: _true(listener.reasons[-1] == "stale"))
            assert (listener.book.epoch, listener.book.sequence) == (book["epoch"], book["sequence"])
            assert (await stack.get("arbitrage/opportunities"))["opportunities"] == []
            await stack.until(lambda: _true(listener.open == set()))
            assert {each["status"] for each in (await stack.venues()).values()} == {"stale"}

            async def told() -> bool:
                health = await stack.get("system/health")
                reasons = "\n".join(health["reasons"])
                return (
                    health["status"] == "degraded"
                    and "processors: http://127.0.0.1:" in reasons
                    and "alphapulse-processors is " in reasons
                    and all(f"{venue}: 2 of 2 books are stale" in reasons for venue in VENUES)
                )

            await stack.until(told)

            async def long_enough() -> bool:
                assert await all_stale()
                return all(each["age_ms"] >= STOPPED_MS for each in (await stack.books()).values())

            await stack.until(long_enough)

        async def whole() -> bool:
            return await stack.whole() and listener.book.valid

        await stack.until(whole)
        assert listener.reasons[-1] is None
        assert {each["status"] for each in (await stack.venues()).values()} == {"connected"}

        async def well() -> bool:
            return bool((await stack.get("system/health"))["status"] == "ok")

        await stack.until(well)


async def test_a_venue_whose_collector_stands_still_is_stale_and_the_others_are_not(stack: Stack) -> None:
    async with listening(stack) as listener:
        await stack.until(lambda: _true(listener.book.valid))
        with stack.stopped("collector-kraken"):

            async def stale() -> bool:
                found = await stack.books()
                return all(each["reason"] == "stale" for (venue, _), each in found.items() if venue == "kraken")

            await stack.until(stale)
            assert (await stack.venues())["kraken"]["status"] == "stale"
            await stack.until(lambda: _true(listener.reasons[-1] == "stale"))
            for opportunity in (await stack.get("arbitrage/opportunities"))["opportunities"]:
                assert "kraken" not in (opportunity["buy_venue"], opportunity["sell_venue"])

            async def told() -> bool:
                found = await stack.books()
                others = {venue for (venue, _), each in found.items() if each["valid"]}
                reasons = "\n".join((await stack.get("system/health"))["reasons"])
                return (
                    others == {"coinbase"}
                    and "kraken: 2 of 2 books are stale" in reasons
                    and "collector-kraken: " in reasons
                )

            await stack.until(told)

            async def long_enough() -> bool:
                assert await stale()
                return (await stack.venues())["kraken"]["book_age_ms"] >= STOPPED_MS  # type: ignore[no-any-return]

            await stack.until(long_enough)
        await stack.until(lambda: _true(listener.book.valid))
        await stack.until(stack.whole)


async def _true(condition: bool) -> bool:
    return condition
