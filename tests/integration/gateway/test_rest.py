"""REST on stored data: a gateway process, the embedded broker, and the real sink into chDB."""

from __future__ import annotations

import csv
import io
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from decimal import Decimal
from pathlib import Path
from typing import Any

import aiohttp
import pyarrow as pa
import pyarrow.parquet as pq

from alphapulse.config import KafkaSettings, Settings
from schemas.records import L2Update, Record
from tests.fixtures import market
from tests.fixtures.sink_process import Process, until
from tests.integration.gateway.conftest import Feed, eventually, running_gateway

SECOND = 10**9
HOUR = 3600 * SECOND
ARROW = "application/vnd.apache.arrow.stream"
PARQUET = "application/vnd.apache.parquet"


class Rest:
    """A client of the interface."""

    def __init__(self, url: str, http: aiohttp.ClientSession) -> None:
        self.url = url
        self.http = http

    async def json(self, path: str, status: int = 200) -> Any:
        async with self.http.get(f"{self.url}/api/v1/{path}") as answer:
            assert answer.status == status, await answer.text()
            return await answer.json()

    async def body(self, path: str, accept: str) -> bytes:
        async with self.http.get(f"{self.url}/api/v1/{path}", headers={"Accept": accept}) as answer:
            assert answer.status == 200, await answer.text()
            assert answer.content_type == accept
            return await answer.read()

    async def every(self, path: str, name: str) -> list[Any]:
        """Return the rows of all pages."""
        found: list[Any] = []
        cursor = ""
        while True:
            page = await self.json(f"{path}{cursor}")
            found += page[name]
            if page["next"] is None:
                return found
            cursor = f"&cursor={page['next']}"


@asynccontextmanager
async def stored(
    folder: Path, kafka: KafkaSettings, feed: Feed, records: list[Record], *, config: Path | None = None
) -> AsyncIterator[Rest]:
    """Run sink and gateway until the end of the block; ``records`` are in their tables.

    Args:
        config: folder of the gateway's configuration files.
    """
    sink = Process("clickhouse", Settings(data_dir=folder, kafka=kafka))
    sink.start()
    try:
        await feed.put(*records)

        def there() -> bool:
            status = sink.status()
            return sum(status.get("rows", {}).values()) >= len(records) if status else False

        await until(there, f"the sink has not stored {len(records)} records: {sink.status()}")
        async with running_gateway(folder, kafka, config=config) as gateway, aiohttp.ClientSession() as http:
            yield Rest((await gateway.announced())["url"], http)
    finally:
        sink.stop()
        sink.log.close()


def trades(now: int, count: int, symbol: str = "BTC-USD") -> list[Record]:
    """Return trades, the last one an hour ago; two each have the same time."""
    return [
        market.trade(
            str(number),
            symbol=symbol,
            price=6_168_599 + number,
            received_time=now - HOUR - (count - number) // 2 * SECOND,
            exchange_time=now - HOUR - (count - number) // 2 * SECOND - 1000,
        )
        for number in range(count)
    ]


async def test_trades_in_pages_and_in_every_format(tmp_path: Path, kafka: KafkaSettings, feed: Feed) -> None:
    now = time.time_ns()
    made = trades(now, 2500)
    async with stored(tmp_path, kafka, feed, made) as rest:
        begin, end = (now - 2 * HOUR) // 1000, now // 1000 - 60_000_000
        query = f"trades?venue=kraken&symbol=BTC-USD&from={begin}&to={end}"
        newest = await rest.json(f"{query}&limit=3")
        assert [each["id"] for each in newest["trades"]] == ["2499", "2498", "2497"]
        assert newest["trades"][0] == {
            "venue": "kraken",
            "symbol": "BTC-USD",
            "id": "2499",
            "side": "buy",
            "price": "61710.98",
            "size": "2.5",
            "time": made[-1].exchange_time // 1000,  # type: ignore[union-attr]
            "received_time": made[-1].received_time // 1000,  # type: ignore[union-attr]
        }
        assert newest["complete_until"] is None
        for order in ("asc", "desc"):
            for limit in (100, 999):
                found = await rest.every(f"{query}&order={order}&limit={limit}", "trades")
                assert sorted(int(each["id"]) for each in found) == list(range(2500)), "each once"
                times = [each["received_time"] for each in found]
                assert times == sorted(times, reverse=order == "desc")

        lines = list(csv.DictReader(io.StringIO((await rest.body(query, "text/csv")).decode())))
        assert len(lines) == 2500
        assert lines[0] == {key: str(value) for key, value in newest["trades"][0].items()}

        table = pa.ipc.open_stream(await rest.body(query, ARROW)).read_all()
        assert table.schema.field("price").type == pa.decimal128(38, 18)
        assert table.schema.field("received_time").type == pa.timestamp("ns", tz="UTC")
        assert table.column("price").to_pylist()[0] == Decimal("61710.98")
        nanoseconds = table.column("received_time").cast(pa.int64()).to_pylist()
        assert nanoseconds[0] == made[-1].received_time  # type: ignore[union-attr]
        assert pq.read_table(io.BytesIO(await rest.body(query, PARQUET))).equals(table)

        by_calendar = await rest.json(f"trades?from=1970-01-01T00:00:00Z&to={end}&limit=1&symbol=BTC-USD")
        assert by_calendar["trades"][0]["id"] == "2499"
        nothing = await rest.json("trades?from=2020-01-01T00:00:00%2B01:00&to=2020-01-02T00:00:00Z")
        assert (nothing["trades"], nothing["next"]) == ([], None)

        async with rest.http.get(f"{rest.url}/api/v1/{query}") as first:
            tag = first.headers["ETag"]
        async with rest.http.get(f"{rest.url}/api/v1/{query}", headers={"If-None-Match": tag}) as again:
            assert (again.status, await again.read()) == (304, b"")


def update(now: int, sequence: int, kind: str = "DELTA", **changes: Any) -> L2Update:
    fields: dict[str, Any] = {
        "venue": "kraken",
        "symbol": "BTC-USD",
        "kind": kind,
        "epoch": now - HOUR,
        "sequence": sequence,
        "exchange_time": now - HOUR + sequence * SECOND,
        "received_time": now - HOUR + sequence * SECOND,
        "price_exponent": -2,
        "size_exponent": -3,
        "bid_prices": [],
        "bid_sizes": [],
        "ask_prices": [],
        "ask_sizes": [],
    }
    return L2Update(**fields | changes)


async def test_the_other_resources(tmp_path: Path, kafka: KafkaSettings, feed: Feed) -> None:
    now = time.time_ns()
    then = now - HOUR
    sides = {"bid_prices": [100, 99], "bid_sizes": [5, 6], "ask_prices": [101, 102], "ask_sizes": [7, 8]}
    minute = then // (60 * SECOND) * 60 * SECOND
    records: list[Record] = [
        market.depth(received_time=now, epoch=now),
        update(now, 0, "SNAPSHOT", **sides),
        update(now, 1, bid_prices=[100, 98], bid_sizes=[0, 4]),
        update(now, 2, ask_prices=[101], ask_sizes=[9]),
        update(now, 2, "HEARTBEAT", received_time=then + 4 * SECOND),
        update(now, 3, "INVALID", received_time=then + 5 * SECOND),
        market.candle(interval=60 * SECOND, open_time=minute, revision=0, received_time=then),
        market.candle(interval=60 * SECOND, open_time=minute, revision=1, close=103, received_time=then + 1),
        market.candle(interval=SECOND, open_time=minute, received_time=then),
        market.statistics(window_start=then, window_end=then + SECOND, latency_mean=3000),
        market.statistics(window_start=then + SECOND, window_end=then + 2 * SECOND, best_bid=None, valid=False),
        market.opportunity("a", opened_time=then, updated_time=then),
        market.opportunity("a", opened_time=then, updated_time=then + SECOND, state="CLOSED", close_reason="gone"),
        market.opportunity("b", opened_time=then + 5, updated_time=then + 5),
        market.event("gap", time=then, severity="WARNING", details={"expected": "7"}),
        market.event("resync", time=then + 1, symbol="BTC-USD"),
    ]
    async with stored(tmp_path, kafka, feed, records[1:]) as rest:
        await feed.put(records[0])
        window = f"from={(then - SECOND) // 1000}&to={(then + 60 * SECOND) // 1000}"

        async def book(second: float, query: str = "") -> Any:
            return await rest.json(f"books/kraken/BTC-USD?at={(then + int(second * SECOND)) // 1000}{query}")

        assert (await book(-1))["reason"] == "no_book"
        first = await book(0.5)
        assert (first["valid"], first["sequence"], first["epoch"]) == (True, 0, str(now - HOUR))
        assert first["bids"] == [["1", "0.005"], ["0.99", "0.006"]]
        assert (await book(1))["bids"] == [["0.99", "0.006"], ["0.98", "0.004"]]
        last = await book(4.5)
        assert (last["sequence"], last["age_ms"]) == (2, 500)
        assert last["asks"] == [["1.01", "0.009"], ["1.02", "0.008"]]
        assert (await book(4.5, "&depth=1"))["asks"] == [["1.01", "0.009"]]
        invalid = await book(6)
        assert (invalid["valid"], invalid["reason"], invalid["bids"]) == (False, "invalid", [])
        assert (await rest.json(f"books/kraken/BTC-USD?at={(now + HOUR) // 1000}", 422))["code"] == "bad_value"

        (candle,) = (await rest.json(f"candles?interval=60&venue=kraken&from={(minute) // 1000}&to={now // 1000}"))[
            "candles"
        ]
        assert (candle["close"], candle["revision"], candle["quote_volume"]) == ("1.03", 1, "1.515")
        assert (candle["interval"], candle["open_time"], candle["partial"]) == (60, minute // 1000, False)

        stats = await rest.json(f"delta-stats/kraken/BTC-USD?{window}&order=asc")
        assert [each["valid"] for each in stats["windows"]] == [True, False]
        assert [each["best_bid"] for each in stats["windows"]] == ["1", None]
        assert (stats["windows"][0]["epoch"], stats["windows"][0]["latency_mean"]) == (str(market.START), 3)

        (summary,) = (await rest.json(f"delta-stats/summary?{window}"))["summary"]
        assert (summary["windows"], summary["valid_windows"], summary["deltas"]) == (2, 1, 80)
        assert (summary["latency_max"], summary["latency_mean"]) == (9, 3)

        found = await rest.json(f"arbitrage/opportunities?{window}&state=all")
        assert [(each["opportunity_id"], each["state"]) for each in found["opportunities"]] == [
            ("a", "closed"),
            ("b", "opened"),
        ]
        early = f"from={(then - SECOND) // 1000}&to={(then + 1000) // 1000}"
        found = await rest.json(f"arbitrage/opportunities?{early}&state=open")
        assert [(each["opportunity_id"], each["state"]) for each in found["opportunities"]] == [
            ("b", "opened"),
            ("a", "opened"),
        ]

        events = await rest.json(f"events?{window}&venue=kraken")
        assert [each["kind"] for each in events["events"]] == ["resync", "gap"]
        assert events["events"][1]["details"] == {"expected": "7"}
        assert [each["kind"] for each in (await rest.json(f"events?{window}&severity=WARNING"))["events"]] == ["gap"]
        table = pa.ipc.open_stream(await rest.body(f"events?{window}", ARROW)).read_all()
        assert table.column("details").to_pylist()[1] == [("expected", "7")]
        await feed.put(market.trade("9", received_time=time.time_ns() - SECOND // 2, exchange_time=0))

        async def measured() -> Any:
            hops = (await rest.json("system/status"))["hops"]
            return hops if hops["broker_to_gateway"]["count"] and hops["collector_to_broker"]["count"] else None

        hops = await eventually(measured)
        assert hops["collector_to_broker"]["p50"] > 400_000
        assert 0 <= hops["broker_to_gateway"]["max"] < 60_000_000

        for path in ("candles?", "events?", "arbitrage/opportunities?state=all&", "delta-stats/kraken/BTC-USD?"):
            for accept in ("text/csv", ARROW, PARQUET):
                assert await rest.body(f"{path}{window}", accept)
