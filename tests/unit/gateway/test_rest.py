from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from tests.fixtures import market
from tests.fixtures.gateway import Served, serving
from tests.fixtures.market import SECOND, START


@pytest.fixture
async def served(tmp_path: Path) -> AsyncIterator[Served]:
    async with serving(tmp_path, now=START + 2 * SECOND) as running:
        yield running


def feed(served: Served, *records: Any) -> None:
    for record in records:
        assert served.hub.apply(record, START)


async def test_exchanges(served: Served) -> None:
    feed(served, market.event("connected"), market.statistics(0), market.depth(sequence=1), market.trade())
    assert await served.get("/api/v1/exchanges") == {
        "exchanges": [
            {
                "venue": "coinbase",
                "status": "connecting",
                "instruments": 0,
                "records_per_second": 0.0,
                "last_record_time": None,
            },
            {
                "venue": "kraken",
                "status": "connected",
                "instruments": 1,
                "records_per_second": 25.0,
                "last_record_time": START // 1000 + 1005,
            },
        ]
    }


async def test_instruments(served: Served) -> None:
    feed(served, market.depth(), market.depth(bids=[], venue="coinbase", symbol="ETH-USD", price_exponent=0))
    found = (await served.get("/api/v1/instruments"))["instruments"]
    assert found == [
        {
            "venue": "coinbase",
            "symbol": "ETH-USD",
            "price_exponent": 0,
            "size_exponent": -3,
            "best_bid": None,
            "best_ask": "101",
            "valid": True,
        },
        {
            "venue": "kraken",
            "symbol": "BTC-USD",
            "price_exponent": -2,
            "size_exponent": -3,
            "best_bid": "1",
            "best_ask": "1.01",
            "valid": True,
        },
    ]
    assert (await served.get("/api/v1/instruments?venue=kraken"))["instruments"] == found[1:]


async def test_an_instrument_without_a_book(served: Served) -> None:
    (found,) = (await served.get("/api/v1/instruments"))["instruments"]
    assert (found["valid"], found["best_bid"], found["price_exponent"]) == (False, None, None)
    book = await served.get("/api/v1/books/kraken/BTC-USD")
    assert (book["valid"], book["bids"], book["time"]) == (False, [], 0)


async def test_a_book(served: Served) -> None:
    feed(served, market.depth(sequence=4))
    assert await served.get("/api/v1/books/kraken/BTC-USD?depth=1") == {
        "venue": "kraken",
        "symbol": "BTC-USD",
        "valid": True,
        "epoch": str(START),
        "sequence": 4,
        "time": START // 1000 + 4005,
        "bids": [["1", "0.005"]],
        "asks": [["1.01", "0.007"]],
    }
    feed(served, market.depth(sequence=4, valid=False))
    book = await served.get("/api/v1/books/kraken/BTC-USD")
    assert (book["valid"], book["bids"]) == (False, [])


async def test_opportunities_open_closed_and_all(served: Served) -> None:
    feed(
        served,
        market.opportunity("a", updated_time=START + 1000),
        market.opportunity("b", state="CLOSED", updated_time=START + 3000),
        market.opportunity("c", updated_time=START + 2000),
    )

    async def listed(query: str) -> list[str]:
        found = await served.get(f"/api/v1/arbitrage/opportunities{query}")
        return [each["opportunity_id"] for each in found["opportunities"]]

    assert await listed("") == ["c", "a"]
    assert await listed("?state=closed") == ["b"]
    assert await listed("?state=all") == ["b", "c", "a"]
    assert await listed("?state=all&limit=2") == ["b", "c"]
    assert await listed("?symbol=BTC-USD") == ["c", "a"]


async def test_delta_statistics(served: Served) -> None:
    feed(served, *(market.statistics(second) for second in range(5)))
    found = await served.get("/api/v1/delta-stats/kraken/BTC-USD?limit=2")
    assert (found["venue"], found["symbol"]) == ("kraken", "BTC-USD")
    assert [window["sequence"] for window in found["windows"]] == [3, 4]
    assert found["windows"][0]["best_bid"] == "1"


@pytest.mark.parametrize(
    ("path", "status", "code", "named"),
    [
        ("/api/v1/books/krakn/BTC-USD", 404, "unknown_instrument", ["'krakn'", "coinbase, kraken"]),
        ("/api/v1/books/kraken/XRP-USD", 404, "unknown_instrument", ["kraken", "'XRP-USD'", "BTC-USD"]),
        ("/api/v1/delta-stats/kraken/XRP-USD", 404, "unknown_instrument", ["'XRP-USD'"]),
        ("/api/v1/instruments?venue=krakn", 404, "unknown_instrument", ["'krakn'"]),
        ("/api/v1/arbitrage/opportunities?symbol=X", 404, "unknown_instrument", ["'X'", "BTC-USD"]),
        ("/api/v1/arbitrage/opportunities?state=opn", 422, "bad_value", ["query state", "'opn'", "closed"]),
        ("/api/v1/books/kraken/BTC-USD?depth=0", 422, "bad_value", ["query depth", "'0'"]),
        ("/api/v1/delta-stats/kraken/BTC-USD?limit=x", 422, "bad_value", ["query limit", "'x'"]),
        ("/api/v1/boks", 404, "not_found", ["GET /api/v1/boks"]),
    ],
)
async def test_bad_requests_are_told_what_is_wrong(
    served: Served, path: str, status: int, code: str, named: list[str]
) -> None:
    fault = await served.get(path, status)
    assert fault.keys() == {"code", "message"}
    assert fault["code"] == code
    for part in named:
        assert part in fault["message"]


async def test_every_route_is_documented_with_its_answer(served: Served) -> None:
    document = await served.get("/api/openapi.json")
    assert document["paths"].keys() == {
        "/api/v1/exchanges",
        "/api/v1/instruments",
        "/api/v1/books/{venue}/{symbol}",
        "/api/v1/arbitrage/opportunities",
        "/api/v1/delta-stats/{venue}/{symbol}",
        "/api/v1/system/health",
    }
    for path, routes in document["paths"].items():
        answer = routes["get"]["responses"]["200"]["content"]["application/json"]["schema"]
        assert answer["$ref"].startswith("#/components/schemas/"), path
        assert routes["get"]["summary"]
        assert routes["get"]["description"]
