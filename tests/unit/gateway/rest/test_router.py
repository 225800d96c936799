from __future__ import annotations

from collections.abc import AsyncIterator
from decimal import Decimal
from pathlib import Path
from typing import Any

import aiohttp
import pyarrow as pa
import pytest
from yarl import URL

from alphapulse.config import VenueSettings
from gateway.tables import Parameters
from tests.fixtures import market
from tests.fixtures.gateway import Served, serving
from tests.fixtures.market import SECOND, START


@pytest.fixture
async def served(tmp_path: Path) -> AsyncIterator[Served]:
    venues = {"kraken": VenueSettings(symbols=("BTC-USD",), taker_fee_basis_points=Decimal(40))}
    async with serving(tmp_path, now=START + 2 * SECOND, venues=venues) as running:
        yield running


class NothingStored:
    """Tables without instruments."""

    async def read(self, query: str, parameters: Parameters) -> pa.Table:
        return pa.table({"venue": pa.array([], pa.string()), "symbol": pa.array([], pa.string())})

    async def close(self) -> None:
        """Nothing to close."""


async def test_names_that_cannot_be_looked_up_are_not_unknown(served: Served) -> None:
    fault = await served.get("/api/v1/trades?symbol=NOSUCH", 503)
    assert fault["code"] == "history_unavailable"


def feed(served: Served, *records: Any) -> None:
    for record in records:
        assert served.hub.apply(record, served.now)


async def test_exchanges(served: Served) -> None:
    feed(served, market.event("connected"), market.statistics(0), market.depth(sequence=1), market.trade())
    feed(served, market.depth(symbol="ETH-USD", received_time=START - 4 * SECOND))
    assert await served.get("/api/v1/exchanges") == {
        "exchanges": [
            {
                "venue": "coinbase",
                "status": "connecting",
                "instruments": 0,
                "valid_books": 0,
                "stale_books": 0,
                "invalid_books": 0,
                "book_age_ms": None,
                "oldest_book_age_ms": None,
                "records_per_second": 0.0,
                "last_record_time": None,
            },
            {
                "venue": "kraken",
                "status": "connected",
                "instruments": 2,
                "valid_books": 1,
                "stale_books": 1,
                "invalid_books": 0,
                "book_age_ms": 1998,
                "oldest_book_age_ms": 6000,
                "records_per_second": 50.0,
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
            "reason": None,
            "age_ms": 1998,
            "status": "live",
            "tick_size": None,
            "lot_size": None,
            "taker_fee_basis_points": None,
        },
        {
            "venue": "kraken",
            "symbol": "BTC-USD",
            "price_exponent": -2,
            "size_exponent": -3,
            "best_bid": "1",
            "best_ask": "1.01",
            "valid": True,
            "reason": None,
            "age_ms": 1998,
            "status": "live",
            "tick_size": None,
            "lot_size": None,
            "taker_fee_basis_points": "40",
        },
    ]
    assert (await served.get("/api/v1/instruments?venue=kraken"))["instruments"] == found[1:]


async def test_a_book_is_good_only_while_it_is_young(served: Served) -> None:
    feed(served, market.depth(sequence=4, received_time=START))
    served.now = START + 5 * SECOND
    book = await served.get("/api/v1/books/kraken/BTC-USD")
    assert (book["valid"], book["reason"], book["age_ms"], len(book["bids"])) == (True, None, 5000, 2)
    served.now += 1
    book = await served.get("/api/v1/books/kraken/BTC-USD")
    assert (book["valid"], book["reason"], book["age_ms"]) == (False, "stale", 5000)
    assert (book["bids"], book["asks"]) == ([], [])
    assert (book["epoch"], book["sequence"], book["time"]) == (str(START), 4, START // 1000), "still its own"
    (instrument,) = (await served.get("/api/v1/instruments"))["instruments"]
    assert (instrument["valid"], instrument["reason"], instrument["age_ms"]) == (False, "stale", 5000)
    assert (instrument["best_bid"], instrument["best_ask"]) == (None, None)
    (_, venue) = (await served.get("/api/v1/exchanges"))["exchanges"]
    assert (venue["status"], venue["valid_books"], venue["stale_books"]) == ("stale", 0, 1)
    feed(served, market.trade(received_time=served.now))
    (_, venue) = (await served.get("/api/v1/exchanges"))["exchanges"]
    assert venue["status"] == "stale", "a trade says nothing of the book"


async def test_while_it_catches_up_nothing_is_handed_out_but_its_health(served: Served) -> None:
    feed(served, market.depth(sequence=4), market.trade(), market.opportunity())
    served.hub.live = False
    for path in (
        "exchanges",
        "instruments",
        "books/kraken/BTC-USD",
        "arbitrage/opportunities",
        "delta-stats/kraken/BTC-USD",
        "books/krakn/BTC-USD",
    ):
        async with aiohttp.ClientSession() as session, session.get(f"{served.url}/api/v1/{path}") as response:
            assert (response.status, response.headers["Retry-After"]) == (503, "1")
            assert (await response.json())["code"] == "catching_up"
    health = await served.get("/api/v1/system/health")
    assert health["services"]["gateway"]["status"] == "degraded"
    assert "catching up" in health["services"]["gateway"]["message"]
    served.hub.live = True
    assert (await served.get("/api/v1/books/kraken/BTC-USD"))["sequence"] == 4


async def test_an_instrument_without_a_book(served: Served) -> None:
    (found,) = (await served.get("/api/v1/instruments"))["instruments"]
    assert (found["valid"], found["reason"], found["age_ms"]) == (False, "no_book", None)
    assert (found["best_bid"], found["price_exponent"]) == (None, None)
    book = await served.get("/api/v1/books/kraken/BTC-USD")
    assert (book["valid"], book["reason"], book["age_ms"]) == (False, "no_book", None)
    assert (book["bids"], book["time"]) == ([], 0)


async def test_a_book(served: Served) -> None:
    feed(served, market.depth(sequence=4))
    assert await served.get("/api/v1/books/kraken/BTC-USD?depth=1") == {
        "venue": "kraken",
        "symbol": "BTC-USD",
        "valid": True,
        "reason": None,
        "age_ms": 1995,
        "epoch": str(START),
        "sequence": 4,
        "time": START // 1000 + 4005,
        "bids": [["1", "0.005"]],
        "asks": [["1.01", "0.007"]],
    }
    feed(served, market.depth(sequence=4, valid=False))
    book = await served.get("/api/v1/books/kraken/BTC-USD")
    assert (book["valid"], book["reason"], book["bids"]) == (False, "invalid", [])


async def test_a_book_has_no_more_levels_than_are_kept(served: Served) -> None:
    feed(served, market.depth(bids=[(100 - n, 1) for n in range(20)]))
    for query in ("", "?depth=20"):
        assert len((await served.get(f"/api/v1/books/kraken/BTC-USD{query}"))["bids"]) == 20
    fault = await served.get("/api/v1/books/kraken/BTC-USD?depth=21", 422)
    assert "query depth" in fault["message"]
    assert "20" in fault["message"]
    parameters = (await served.get("/api/openapi.json"))["paths"]["/api/v1/books/{venue}/{symbol}"]["get"]["parameters"]
    (depth,) = [each for each in parameters if each["name"] == "depth"]
    assert "at most 20" in depth["description"]


async def test_opportunities_open_closed_and_all(served: Served) -> None:
    feed(
        served,
        market.depth(),
        market.depth(venue="coinbase"),
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
    served.now += 4 * SECOND
    feed(served, market.depth(sequence=2, received_time=served.now))
    assert await listed("") == [], "one of the two books is stale"
    assert await listed("?state=all") == ["b"]
    feed(served, market.depth(sequence=2, received_time=served.now, venue="coinbase"))
    assert await listed("") == ["c", "a"]


async def test_delta_statistics(served: Served) -> None:
    feed(served, *(market.statistics(second) for second in range(5)))
    found = await served.get("/api/v1/delta-stats/kraken/BTC-USD?limit=2")
    assert (found["venue"], found["symbol"]) == ("kraken", "BTC-USD")
    assert [window["sequence"] for window in found["windows"]] == [3, 4]
    assert found["windows"][0]["best_bid"] == "1"


async def test_the_link_to_the_next_page_is_a_url_whatever_the_symbol(served: Served) -> None:
    feed(served, *(market.statistics(second, symbol="ÄПＸ-USD") for second in range(5)))
    path, ends = "/api/v1/delta-stats/kraken/ÄПＸ-USD?limit=2", []
    async with aiohttp.ClientSession(headers={"Accept": "text/csv"}) as http:
        for _ in range(2):
            async with http.get(served.url + path) as answer:
                assert answer.status == 200, await answer.text()
                ends += [line.split(",")[3] for line in (await answer.text()).splitlines()[1:]]
                path = str(URL(answer.links["next"]["url"]).relative())
    assert len(set(ends)) == 4


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
        ("/api/v1/exchanges?venue=kraken", 422, "unknown_key", ["query venue", "has no parameters"]),
        ("/api/v1/instruments?venu=kraken", 422, "unknown_key", ["query venu:", "known: venue"]),
        ("/api/v1/books/kraken/BTC-USD?levels=5", 422, "unknown_key", ["query levels", "known: at, depth"]),
        ("/api/v1/books/krakn/BTC-USD?levels=5", 422, "unknown_key", ["query levels"]),
        ("/api/v1/books/kraken/BTC-USD?depth=0&levels=5", 422, "unknown_key", ["query levels"]),
        (
            "/api/v1/arbitrage/opportunities?status=open",
            422,
            "unknown_key",
            ["cursor, from, limit, order, state, symbol, to, venue"],
        ),
        (
            "/api/v1/delta-stats/kraken/BTC-USD?n=1",
            422,
            "unknown_key",
            ["query n", "known: cursor, from, limit, order, to"],
        ),
        ("/api/v1/system/health?verbose", 422, "unknown_key", ["query verbose", "has no parameters"]),
        ("/api/v1/books/kraken/BTC-USD?depth=1&depth=5", 422, "bad_value", ["query depth", "2 times"]),
        ("/api/v1/boks", 404, "not_found", ["GET /api/v1/boks"]),
    ],
)
async def test_bad_requests_are_told_what_is_wrong(
    tmp_path: Path, path: str, status: int, code: str, named: list[str]
) -> None:
    async with serving(tmp_path, tables=NothingStored()) as served:
        fault = await served.get(path, status)
    assert fault.keys() == {"type", "title", "status", "detail", "instance", "code", "message"}
    assert (fault["status"], fault["instance"]) == (status, path.partition("?")[0])
    assert (fault["detail"], fault["type"]) == (fault["message"], f"urn:alphapulse:problem:{code}")
    assert fault["code"] == code
    for part in named:
        assert part in fault["message"]
