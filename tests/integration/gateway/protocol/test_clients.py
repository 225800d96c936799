"""One suite for both clients, against real gateway processes on the embedded broker.

What is judged: every book that a client calls valid equals the reference at the (epoch, sequence) it claims, trades
come once and in order unless a gap is told, and at the end every feed is where the market is.
"""

from __future__ import annotations

import asyncio
import shutil
from collections import Counter
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from alphapulse.client.wire import Encoding
from alphapulse.config import KafkaSettings
from tests.integration.gateway.conftest import BOUND, Feed, GatewayProcess, running_gateway
from tests.integration.gateway.protocol.balancer import Balancer, balancing
from tests.integration.gateway.protocol.followers import (
    MODULE,
    Follower,
    Observation,
    PythonFollower,
    TypeScriptFollower,
)
from tests.integration.gateway.protocol.reference import Numbers, PublishedMarket, best

pytestmark = pytest.mark.unmeasured

ENCODINGS: tuple[Encoding, ...] = ("json", "msgpack")
PACES = (0, 100, 250, 1000)
INSTRUMENT = {"venue": "kraken", "symbol": "BTC-USD"}


@pytest.fixture(params=[PythonFollower, TypeScriptFollower], ids=["python", "typescript"])
def kind(request: pytest.FixtureRequest) -> type[Follower]:
    """Each client in turn."""
    found: type[Follower] = request.param
    if found is TypeScriptFollower and not built():
        pytest.skip("no Node.js, or the TypeScript client is not built (make page)")
    return found


@pytest.fixture
def kinds() -> list[type[Follower]]:
    """Both clients, which see the same then; without the second one :func:`kind` skips tests, and says so."""
    return [PythonFollower, TypeScriptFollower] if built() else [PythonFollower]


def built() -> bool:
    return shutil.which("node") is not None and MODULE.exists()


@pytest.fixture
def market() -> PublishedMarket:
    return PublishedMarket("kraken", "BTC-USD", seed=11)


def subscriptions(levels: int = 20, interval_ms: int = 0) -> list[dict[str, Any]]:
    """Return one subscription to each channel with recovery; two of them are patterns."""
    pace = {"interval_ms": interval_ms}
    return [
        {"channel": "book", "venue": "*", "symbol": "BTC-*", "levels": levels} | pace,
        {"channel": "l2"} | INSTRUMENT | pace,
        {"channel": "bbo", "venue": "kraken", "symbol": "*"} | pace,
        {"channel": "trades"} | INSTRUMENT | pace,
    ]


class Judge:
    """Compares what a client saw with the market."""

    def __init__(self, market: PublishedMarket, follower: Follower) -> None:
        self._market = market
        self._follower = follower
        self._next: dict[int, int | None] = {}
        self._judged = 0
        self._stale: set[int] = set()
        self.gaps: Counter[str] = Counter()
        self.books: Counter[str] = Counter()

    def judge(self) -> None:
        """Judge what was seen since the last call."""
        for seen in self._follower.seen[self._judged :]:
            self._judge(seen)
        self._judged = len(self._follower.seen)

    def _judge(self, seen: Observation) -> None:
        if seen.type == "gap":
            self.gaps[seen.channel] += 1
            self._next[seen.index] = None
        elif seen.channel == "trades":
            expected = self._next.get(seen.index)
            for number in map(int, seen.ids):
                assert expected is None or number == expected, f"trade {number}, expected {expected}"
                expected = number + 1
            self._next[seen.index] = expected
        elif seen.valid:
            # A machine that stands still for seconds makes a book stale: that it is shown again is no recovery.
            restored = seen.index in self._stale and seen.type == "snapshot"
            self._stale.discard(seen.index)
            self.books["restored" if restored else f"{seen.channel} {seen.type}"] += 1
            assert self._equals(seen, (seen.epoch, seen.sequence)), (seen.channel, seen.sequence)
        else:
            assert not seen.bids or seen.reason == "stale"
            if seen.reason == "stale":
                self._stale.add(seen.index)

    @property
    def last(self) -> dict[str, Observation]:
        """What was seen last of each channel."""
        last: dict[str, Observation] = {}
        for seen in self._follower.seen:
            if seen.type != "gap" and (seen.channel != "trades" or seen.ids):
                last[seen.channel] = seen
        return last

    def __str__(self) -> str:
        at = [
            f"{each.channel} {each.epoch} {each.sequence} {each.ids[-1:]} {each.reason}" for each in self.last.values()
        ]
        who = f"{type(self._follower).__name__}, {self._follower.encoding}"
        return f"{who}: {'; '.join(at)}; market: {self._market.numbers} {self._market.trade}"

    @property
    def there(self) -> bool:
        """Whether every feed shows the market as it is.

        Numbers may be those of an earlier record: a change below the levels of a feed is not sent.
        """
        last = self.last
        if len(last) < len(self._follower.subscriptions):
            return False
        books = [seen for channel, seen in last.items() if channel != "trades"]
        numbers = self._market.numbers
        shown = all(seen.epoch == numbers[0] and self._equals(seen, numbers) for seen in books)
        return shown and last["trades"].ids[-1] == str(self._market.trade)

    def _equals(self, seen: Observation, numbers: Numbers) -> bool:
        bids, asks = self._market.books[numbers]
        count = {"book": self._follower.subscriptions[seen.index].get("levels"), "l2": None, "bbo": 1}[seen.channel]
        return (seen.bids, seen.asks) == (best(bids, count), best(asks, count))


async def all_there(judges: Sequence[Judge]) -> None:
    """Wait until all clients are where the market is; judge all they saw."""
    try:
        async with asyncio.timeout(BOUND):
            while not all(judge.there for judge in judges):
                await asyncio.sleep(0.05)
    except TimeoutError:
        raise AssertionError("\n".join(map(str, judges))) from None
    finally:
        for judge in judges:
            judge.judge()


async def publish(feed: Feed, market: PublishedMarket, count: int, *, epochs: bool = True) -> None:
    """Publish ``count`` changes, some of them at once, and (``epochs``) an end and a new beginning in the middle."""
    for at in range(count):
        ends = epochs and at == count // 2
        await feed.put(*(market.end() + market.begin() if ends else market.move()))
        if at % 4 == 0:
            await asyncio.sleep(0.002)


@asynccontextmanager
async def serving(
    folder: Path, kafka: KafkaSettings, count: int = 1, **gateway: Any
) -> AsyncIterator[tuple[Balancer, list[GatewayProcess]]]:
    """Run ``count`` gateways behind a balancer."""
    async with AsyncExitStack() as stack:
        gateways = [
            await stack.enter_async_context(running_gateway(folder / str(number), kafka, **gateway))
            for number in range(count)
        ]
        ports = [(await each.announced())["url"].rpartition(":")[2] for each in gateways]
        yield await stack.enter_async_context(balancing(*map(int, ports))), gateways


@asynccontextmanager
async def following(
    kinds: Sequence[type[Follower]], url: str, market: PublishedMarket, **options: Any
) -> AsyncIterator[list[Judge]]:
    """Run a client of each kind and encoding."""
    async with AsyncExitStack() as stack:
        followers = [kind(url, encoding, subscriptions(), **options) for kind in kinds for encoding in ENCODINGS]
        for follower in followers:
            await stack.enter_async_context(follower)
        judges = [Judge(market, follower) for follower in followers]
        await all_there(judges)
        yield judges


async def test_every_pace_in_both_encodings(
    kind: type[Follower], market: PublishedMarket, feed: Feed, kafka: KafkaSettings, tmp_path: Path
) -> None:
    await feed.put(*market.begin(), *market.move(), *market.move(), *market.move())
    async with serving(tmp_path, kafka) as (balancer, _), AsyncExitStack() as stack:
        levels = dict(zip(PACES, (20, 10, 5, 1), strict=True))
        followers = [
            await stack.enter_async_context(kind(balancer.url, encoding, subscriptions(levels[pace], pace)))
            for encoding in ENCODINGS
            for pace in PACES
        ]
        judges = [Judge(market, follower) for follower in followers]
        await all_there(judges)
        await publish(feed, market, 300)
        await all_there(judges)
    for judge in judges:
        assert not judge.gaps
        assert judge.books["book delta"] > 0
        assert judge.books["l2 delta"] > 0
    assert judges[0].books["l2 delta"] > 2 * judges[2].books["l2 delta"], "a pace of 250 ms merges"


@pytest.mark.slow
async def test_cut_connections_continue_where_they_were(
    kinds: list[type[Follower]], market: PublishedMarket, feed: Feed, kafka: KafkaSettings, tmp_path: Path
) -> None:
    await feed.put(*market.begin(), *market.move(), *market.move(), *market.move())
    async with (
        serving(tmp_path, kafka) as (balancer, _),
        following(kinds, balancer.url, market) as judges,
    ):
        for _ in range(4):
            await publish(feed, market, 30, epochs=False)
            balancer.cut()
            await publish(feed, market, 30, epochs=False)
            await all_there(judges)
        assert balancer.connections >= len(judges) * 5
    for judge in judges:
        assert not judge.gaps
        assert judge.books["book snapshot"] == judge.books["l2 snapshot"] == 1, "nothing but what was missed was sent"


async def test_a_killed_gateway_that_comes_back_continues_too(
    kinds: list[type[Follower]], market: PublishedMarket, feed: Feed, kafka: KafkaSettings, tmp_path: Path
) -> None:
    await feed.put(*market.begin(), *market.move(), *market.move(), *market.move())
    async with (
        serving(tmp_path, kafka) as (balancer, (gateway,)),
        following(kinds, balancer.url, market) as judges,
    ):
        await publish(feed, market, 30, epochs=False)
        assert gateway.process is not None
        gateway.process.kill()
        await publish(feed, market, 30, epochs=False)
        async with running_gateway(tmp_path / "again", kafka) as again:
            port = int((await again.announced())["url"].rpartition(":")[2])
            balancer.targets[:] = [port]
            await all_there(judges)
            await publish(feed, market, 30)
            await all_there(judges)
    for judge in judges:
        assert judge.gaps["trades"] == 0, "trades are recovered from the topic, not from the gateway's memory"
        assert judge.gaps["book"] == 0


@pytest.mark.slow
async def test_replicas_continue_each_other(
    kinds: list[type[Follower]], market: PublishedMarket, feed: Feed, kafka: KafkaSettings, tmp_path: Path
) -> None:
    await feed.put(*market.begin(), *market.move(), *market.move(), *market.move())
    async with (
        serving(tmp_path, kafka, count=2) as (balancer, _),
        following(kinds, balancer.url, market) as judges,
    ):
        for _ in range(4):
            await publish(feed, market, 20)
            balancer.cut()
            await publish(feed, market, 20, epochs=False)
            await all_there(judges)
    for judge in judges:
        assert judge.gaps["trades"] == 0


@pytest.mark.slow
async def test_a_slow_user_is_conflated_and_put_in_step(
    kinds: list[type[Follower]], market: PublishedMarket, feed: Feed, kafka: KafkaSettings, tmp_path: Path
) -> None:
    await feed.put(*market.begin(), *market.move(), *market.move(), *market.move())
    async with (
        serving(tmp_path, kafka, queue_bytes=16_384) as (balancer, _),
        following(kinds, balancer.url, market, queue_size=4) as judges,
    ):
        for judge in judges:
            judge._follower.stop()
        before = len(market.books)
        await publish(feed, market, 2_500)
        for judge in judges:
            judge._follower.go_on()
        await all_there(judges)
        moved = len(market.books) - before
    for judge in judges:
        assert judge.books["l2 delta"] + judge.books["l2 snapshot"] < moved / 2, "conflated"
