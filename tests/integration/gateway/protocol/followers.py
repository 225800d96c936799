"""The clients under test, driven alike: each tells what it sees as observations."""

from __future__ import annotations

import asyncio
import json
import shutil
from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self

from alphapulse.client import Bbo, BookDelta, BookSnapshot, Client, Gap, Level, Subscription, Trades, TradesSnapshot
from alphapulse.client.messages import FeedMessage
from alphapulse.client.wire import Encoding
from tests.conftest import ROOT

PROGRAM = Path(__file__).with_name("follow.mjs")
MODULE = ROOT / "gateway/client/dist/index.js"


@dataclass(frozen=True, slots=True)
class Observation:
    """What a client saw after one message of a subscription.

    Attributes:
        index: of the subscription.
        type: snapshot, delta, bbo, trades, gap.
        ids: of trades.
        reason: of a gap, or why a book is not valid.
    """

    index: int
    type: str
    channel: str
    venue: str | None
    symbol: str | None
    valid: bool = False
    reason: str | None = None
    epoch: str = ""
    sequence: int = -1
    bids: list[tuple[str, str]] = field(default_factory=list)
    asks: list[tuple[str, str]] = field(default_factory=list)
    ids: list[str] = field(default_factory=list)


class Follower(ABC):
    """A client with subscriptions.

    Args:
        subscriptions: channel, venue, symbol and options, as the protocol names them.
    """

    def __init__(
        self, url: str, encoding: Encoding, subscriptions: Sequence[dict[str, Any]], queue_size: int = 1024
    ) -> None:
        self.url = url
        self.encoding: Encoding = encoding
        self.subscriptions = subscriptions
        self.queue_size = queue_size
        self.seen: list[Observation] = []

    @abstractmethod
    async def __aenter__(self) -> Self: ...

    @abstractmethod
    async def __aexit__(self, *_: object) -> None: ...

    @abstractmethod
    def stop(self) -> None:
        """Stop taking messages."""

    @abstractmethod
    def go_on(self) -> None:
        """Take messages again."""


class PythonFollower(Follower):
    """:class:`alphapulse.client.Client` in this process."""

    async def __aenter__(self) -> Self:
        self._reading = asyncio.Event()
        self._reading.set()
        self._client = Client(self.url, encoding=self.encoding, open_timeout=60, queue_size=self.queue_size)
        await self._client.__aenter__()
        self._tasks = [
            asyncio.create_task(self._follow(index, self._client.subscribe(**options)))
            for index, options in enumerate(self.subscriptions)
        ]
        return self

    async def __aexit__(self, *_: object) -> None:
        for task in self._tasks:
            task.cancel()
        await self._client.__aexit__(None, None, None)
        for result in await asyncio.gather(*self._tasks, return_exceptions=True):
            assert isinstance(result, asyncio.CancelledError), result

    def stop(self) -> None:
        self._reading.clear()

    def go_on(self) -> None:
        self._reading.set()

    async def _follow(self, index: int, subscription: Subscription) -> None:
        async for message in subscription:
            await self._reading.wait()
            self.seen.append(self._observed(index, message))

    def _observed(self, index: int, message: FeedMessage) -> Observation:
        head = (message.channel, message.venue, message.symbol)
        match message:
            case Gap(reason=reason):
                return Observation(index, "gap", *head, reason=reason)
            case BookSnapshot() | BookDelta():
                kind = "snapshot" if isinstance(message, BookSnapshot) else "delta"
                assert message.venue is not None
                assert message.symbol is not None
                book = self._client.book(message.venue, message.symbol, channel=message.channel)
                sides = (_pairs(book.bids), _pairs(book.asks))
                return Observation(index, kind, *head, book.valid, book.reason, book.epoch, book.sequence, *sides)
            case Bbo(bid=bid, ask=ask):
                sides = (_pairs([bid] if bid else []), _pairs([ask] if ask else []))
                numbers = (message.epoch, message.sequence)
                return Observation(index, "bbo", *head, message.valid, message.reason, *numbers, *sides)
            case Trades(trades=trades) | TradesSnapshot(trades=trades):
                kind = "trades" if isinstance(message, Trades) else "snapshot"
                return Observation(index, kind, *head, ids=[trade.id for trade in trades])
            case _:
                raise AssertionError(f"not subscribed to: {message}")


def _pairs(levels: Sequence[Level]) -> list[tuple[str, str]]:
    return [(price, size) for price, size in levels]


class TypeScriptFollower(Follower):
    """The TypeScript client in a Node process (follow.mjs)."""

    async def __aenter__(self) -> Self:
        node = shutil.which("node")
        assert node is not None
        arguments = {"url": self.url, "encoding": self.encoding, "queueSize": self.queue_size}
        self._process = await asyncio.create_subprocess_exec(
            node,
            str(PROGRAM),
            json.dumps(arguments | {"subscriptions": list(self.subscriptions)}),
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
            limit=2**24,
        )
        assert self._process.stdout is not None
        first = await self._process.stdout.readline()
        if json.loads(first or "{}").get("type") != "connected":
            await self.__aexit__()
        self._task = asyncio.create_task(self._read())
        return self

    async def __aexit__(self, *_: object) -> None:
        assert self._process.stdin is not None
        assert self._process.stderr is not None
        self._process.stdin.close()
        code = await self._process.wait()
        errors = (await self._process.stderr.read()).decode()
        assert code == 0, errors
        await self._task

    async def _read(self) -> None:
        assert self._process.stdout is not None
        async for line in self._process.stdout:
            fields = json.loads(line)
            for side in ("bids", "asks"):
                if side in fields:
                    fields[side] = [(price, size) for price, size in fields[side]]
            self.seen.append(Observation(**fields))

    def stop(self) -> None:
        self._say("stop")

    def go_on(self) -> None:
        self._say("go")

    def _say(self, word: str) -> None:
        assert self._process.stdin is not None
        self._process.stdin.write(f"{word}\n".encode())
