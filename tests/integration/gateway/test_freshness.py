"""What a gateway of its own process says of books that nobody confirms, and of a past that it still has to read."""

from __future__ import annotations

import asyncio
import json
import signal
import time
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from websockets.asyncio.client import connect
from websockets.exceptions import InvalidStatus

from alphapulse.config import KafkaSettings
from schemas.records import Candle, DeltaStatistics, Depth, Record, Trade
from tests.fixtures import market
from tests.fixtures.market import SECOND
from tests.integration.gateway.conftest import Client, Feed, GatewayProcess, eventually, running_gateway

BOOK = {"op": "subscribe", "id": 1, "channel": "book", "venue": "kraken", "symbol": "BTC-USD"}


@pytest.fixture
async def http() -> AsyncIterator[aiohttp.ClientSession]:
    async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=30)) as session:
        yield session


def stream(url: str) -> str:
    return url.replace("http", "ws", 1) + "/ws/v1"


def young(sequence: int, **changes: Any) -> Depth:
    """A book that its collector has just received."""
    return market.depth(sequence=sequence, received_time=time.time_ns(), **changes)


async def test_without_processors_the_books_become_stale_everywhere(
    feed: Feed, kafka: KafkaSettings, http: aiohttp.ClientSession, tmp_path: Path
) -> None:
    """The processors publish for a while, then never again; they are killed and leave their announcement."""
    max_age = 2_000
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "processors.json").write_text('{"ops_port": 1}', encoding="utf-8")
    async with running_gateway(tmp_path, kafka, max_book_age_ms=max_age) as gateway:
        url = (await gateway.announced())["url"]

        async def get(path: str) -> Any:
            async with http.get(f"{url}/api/v1/{path}") as response:
                assert response.status == 200
                return await response.json()

        async with connect(stream(url)) as connection:
            client = Client(connection)
            await feed.put(young(1), young(1, venue="coinbase"), market.opportunity(), market.trade())

            async def there() -> bool:
                return len((await get("instruments"))["instruments"]) == 2

            await eventually(there)
            await client.say(**BOOK)
            await client.say(op="subscribe", id=2, channel="arbitrage", symbol="*")
            await feed.put(young(2), young(2, venue="coinbase"))
            await client.until(lambda got: any(each.get("sequence") == 2 and each["valid"] for each in got))
            await client.until(lambda got: got[-1].get("reason") == "stale" or got[-1].get("opportunities") == [])
            book = await get("books/kraken/BTC-USD")
            assert (book["valid"], book["reason"], book["bids"], book["asks"]) == (False, "stale", [], [])
            assert book["age_ms"] >= max_age
            assert book["sequence"] == 2
            await client.until(lambda got: any(each.get("reason") == "stale" for each in got))
            told = next(each for each in client.messages if each.get("reason") == "stale")
            assert (told["epoch"], told["sequence"], told["time"]) == (book["epoch"], 2, book["time"])

            async def all_stale() -> bool:
                return not any(each["valid"] for each in (await get("instruments"))["instruments"])

            await eventually(all_stale)
            instruments = (await get("instruments"))["instruments"]
            assert {(each["reason"], each["best_bid"], each["best_ask"]) for each in instruments} == {
                ("stale", None, None)
            }
            venues = (await get("exchanges"))["exchanges"]
            assert {(each["status"], each["valid_books"], each["stale_books"]) for each in venues} == {("stale", 0, 1)}
            assert (await get("arbitrage/opportunities"))["opportunities"] == []
            await client.until(lambda got: [each for each in got if "opportunities" in each][-1]["opportunities"] == [])
            health = await get("system/health")
            assert health["status"] == "degraded"
            reasons = "\n".join(health["reasons"])
            assert "processors: http://127.0.0.1:1/ready does not answer" in reasons
            assert "kraken: 1 of 1 books are stale, the oldest not confirmed for" in reasons
            assert "coinbase: 1 of 1 books are stale" in reasons
            before = len(client.messages)
            await feed.put(young(3))
            await client.until(lambda got: any(each.get("sequence") == 3 for each in got[before:]))
            again = next(each for each in client.messages[before:] if each.get("sequence") == 3)
            assert (again["type"], again["valid"], again["reason"]) == ("snapshot", True, None)


SYMBOLS = tuple(f"A{number:02}-USD" for number in range(24))
BOOKS, TRADES, WINDOWS, CANDLES = 2_500, 1_000, 500, 250
"""Of each symbol: 102,000 records in all."""
PAST_NS = 600 * SECOND
MAX_AGE_MS = 120_000


def backlog(now: int) -> list[Record]:
    """Ten minutes of the past, in the order of time for each symbol; the newest of each kind is of ``now``."""

    def at(number: int, of: int) -> int:
        return now - PAST_NS + (number + 1) * PAST_NS // of

    base = market.depth(bids=((100, 5),), asks=((101, 7),), epoch=now - PAST_NS)
    window = market.statistics()
    records: list[Record] = []
    for number in range(BOOKS):
        for symbol in SYMBOLS:
            received = at(number, BOOKS)
            records.append(replace(base, symbol=symbol, sequence=number * 3, received_time=received))
            if number < TRADES:
                received = at(number, TRADES)
                records.append(market.trade(str(number), symbol=symbol, exchange_time=received, received_time=received))
            if number < WINDOWS:
                start = (now // SECOND - WINDOWS + number) * SECOND
                records.append(replace(window, symbol=symbol, window_start=start, window_end=start + SECOND))
            if number < CANDLES:
                records.append(market.candle(number, symbol=symbol))
    assert len(records) > 100_000
    return records


async def put_all(feed: Feed, records: list[Record]) -> None:
    for first in range(0, len(records), 5_000):
        await feed.put(*records[first : first + 5_000])


async def started(gateway: GatewayProcess) -> str:
    """Return the address as soon as the gateway serves, caught up or not."""
    path = gateway.settings.data_dir / "run" / "gateway.json"

    async def found() -> str | None:
        if not path.exists():
            return None
        url: str | None = json.loads(path.read_text(encoding="utf-8")).get("url")
        return url

    return await eventually(found)


@pytest.mark.slow
async def test_a_restarted_gateway_hands_out_nothing_of_a_long_backlog_before_it_has_caught_up(
    feed: Feed, kafka: KafkaSettings, http: aiohttp.ClientSession, tmp_path: Path
) -> None:
    now = time.time_ns()
    records = backlog(now)
    await put_all(feed, records)
    async with running_gateway(tmp_path, kafka, max_book_age_ms=MAX_AGE_MS) as gateway:
        url = await started(gateway)
        refused: dict[str, int] = {}
        paths = ("instruments", "exchanges", "books/kraken/A00-USD", "delta-stats/kraken/A23-USD")

        async def is_answered(path: str) -> bool:
            async with http.get(f"{url}/api/v1/{path}") as response:
                if response.status == 200:
                    return True
                assert (response.status, response.headers["Retry-After"]) == (503, "1")
                assert (await response.json())["code"] == "catching_up"
            refused[path] = refused.get(path, 0) + 1
            return False

        async def is_streamed() -> bool:
            try:
                async with connect(stream(url)):
                    return True
            except InvalidStatus as error:
                handshake = error.response.status_code
            assert handshake == 503
            refused["stream"] = refused.get("stream", 0) + 1
            return False

        async def is_well() -> bool:
            async with http.get(f"{url}/api/v1/system/health") as response:
                health = await response.json()
            if health["services"]["gateway"]["status"] == "ok":
                return True
            assert "catching up" in "\n".join(health["reasons"])
            refused["health"] = refused.get("health", 0) + 1
            return False

        async def live() -> bool:
            """Ask everything at once: on a busy machine the gateway catches up between one question and the next."""
            return all(await asyncio.gather(*map(is_answered, paths), is_streamed(), is_well()))

        await eventually(live)
        assert refused.keys() >= {*paths, "stream", "health"}, "it was asked while it read"

        async with http.get(f"{url}/api/v1/instruments") as response:
            instruments = (await response.json())["instruments"]
        assert {each["symbol"] for each in instruments} == set(SYMBOLS)
        assert {each["reason"] for each in instruments} == {None}
        last = (BOOKS - 1) * 3
        async with http.get(f"{url}/api/v1/books/kraken/A00-USD") as response:
            book = await response.json()
        assert (book["sequence"], book["time"]) == (last, now // 1000), "the newest"
        async with http.get(f"{url}/api/v1/exchanges") as response:
            (venue,) = (await response.json())["exchanges"]
        true_rate = len(SYMBOLS) * 50
        assert venue["records_per_second"] <= true_rate, "windows of the past do not count as now's"

        async with connect(stream(url)) as connection:
            client = Client(connection)
            symbol = SYMBOLS[7]
            await client.say(**BOOK | {"symbol": symbol})
            await client.say(op="subscribe", id=2, channel="trades", venue="kraken", symbol=symbol)
            await client.until(
                lambda got: {each.get("channel") for each in got if each["type"] == "snapshot"} >= {"book", "trades"}
            )
            await feed.put(
                market.trade("new", symbol=symbol),
                market.trade(str(TRADES - 1), symbol=symbol),  # which its venue repeats after a reconnect
                market.trade("newer", symbol=symbol),
                replace(market.depth(), symbol=symbol, epoch=now - PAST_NS, sequence=last + 9, received_time=now + 1),
            )
            await client.until(lambda got: any(each["type"] == "delta" for each in got))
            await client.until(lambda got: any("newer" in str(each) for each in got))
        books = [each for each in client.messages if each.get("channel") == "book" and "bids" in each]
        assert [(each["type"], each["sequence"]) for each in books] == [("snapshot", last), ("delta", last + 9)]
        assert books[1]["previous_sequence"] == last
        trades = [each for each in client.messages if each.get("channel") == "trades" and "trades" in each]
        assert [[trade["id"] for trade in each["trades"]] for each in trades] == [
            [str(number) for number in range(TRADES - 50, TRADES)],
            ["new"],
            ["newer"],
        ], "nothing is told again as new, nor out of order"


@pytest.mark.unmeasured
async def test_a_gateway_that_was_stopped_itself_tells_nothing_old_as_good(
    feed: Feed, kafka: KafkaSettings, tmp_path: Path
) -> None:
    """It has clients and reads a backlog: the past of the books is passed over, each trade is told once, in order."""
    async with running_gateway(tmp_path, kafka, max_book_age_ms=2_000) as gateway:
        url = (await gateway.announced())["url"]
        await feed.put(young(1))
        async with connect(stream(url)) as connection:
            client = Client(connection)
            await client.say(op="subscribe", id=3, channel="trades", venue="kraken", symbol="BTC-USD")
            await client.say(**BOOK)
            await client.until(lambda got: any(each.get("sequence") == 1 or each.get("code") for each in got))
            while client.messages[-1].get("code"):  # not read yet: unknown
                await asyncio.sleep(0.1)  # the gateway closes a client that asks faster and faster
                client.messages.clear()
                await client.say(op="subscribe", id=3, channel="trades", venue="kraken", symbol="BTC-USD")
                await client.say(**BOOK)
                await client.until(lambda got: any(each.get("sequence") == 1 or each.get("code") for each in got))
            past = time.time_ns() - 60 * SECOND
            walk = [
                market.depth(bids=[(100, number)], sequence=number, received_time=past + number * SECOND // 10)
                for number in range(2, 402)
            ]
            trades = [market.trade(str(number), received_time=past + number) for number in range(200)]
            assert gateway.process is not None
            gateway.process.send_signal(signal.SIGSTOP)
            await feed.put(*walk, *trades)
            gateway.process.send_signal(signal.SIGCONT)
            await client.until(lambda got: any(each.get("sequence", 0) > 300 for each in got))
            await feed.put(young(500))
            await client.until(lambda got: any(each.get("sequence") == 500 for each in got))
            await client.until(lambda got: str(got).count("'side'") >= 200)
        books = [each for each in client.messages if each.get("channel") == "book" and "bids" in each]
        assert {each["reason"] for each in books if 1 < each["sequence"] < 500} <= {"stale"}
        assert all(not each["bids"] for each in books if 1 < each["sequence"] < 500)
        assert (books[-1]["type"], books[-1]["sequence"], books[-1]["valid"]) == ("snapshot", 500, True)
        told = [trade["id"] for each in client.messages if "trades" in each for trade in each["trades"]]
        assert told == [str(number) for number in range(200)]


def test_the_backlog_has_each_kind_of_record() -> None:
    kinds = {type(record) for record in backlog(time.time_ns())}
    assert kinds == {Depth, Trade, DeltaStatistics, Candle}
