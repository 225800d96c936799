"""producers.venues.binance.simulator (the frames' books: tests/property/test_simulated_market.py)"""

from __future__ import annotations

import json

import pytest

from producers.simulator.events import BookChange, SimulatedTrade, Trades
from producers.simulator.instrument import SimulatedInstrument
from producers.simulator.listings import make_listings
from producers.venue_server.session import BOOK, TRADES, VenueSubscription
from producers.venues.binance.simulator import BinanceFeed

(LISTING,) = make_listings(["binance_us"], ["BTC-USD"])
TIME = 1_618_678_133_710_264_000
DEPTH = VenueSubscription(BOOK, "BTCUSD", "btcusd@depth@100ms")


@pytest.fixture
def feed() -> BinanceFeed:
    return BinanceFeed([SimulatedInstrument(LISTING, 1, 6_180_000.0)])


def test_trades_say_whether_the_buyer_made_the_price(feed: BinanceFeed) -> None:
    topics = {feed.topic(VenueSubscription(TRADES, "BTCUSD", f"btcusd@{kind}")) for kind in ("trade", "aggTrade")}
    frames = feed.frames(Trades(LISTING, TIME, (SimulatedTrade(9, "sell", 6_180_001, 5),)), topics)
    trade, aggregate = (json.loads(frame) for _, frame in frames)
    assert trade == {
        "stream": "btcusd@trade",
        "data": {
            "e": "trade",
            "E": TIME // 1_000_000,
            "s": "BTCUSD",
            "t": 9,
            "p": "61800.01000000",
            "q": "0.00000500",
            "T": TIME // 1_000_000,
            "m": True,
            "M": True,
        },
    }
    assert aggregate["data"]["a"] == 9


def test_update_ids_count_levels_whether_or_not_anybody_listens(feed: BinanceFeed) -> None:
    topic = feed.topic(DEPTH)
    change = BookChange(LISTING, TIME, ((6_179_900, 0),), ((6_180_100, 5), (6_180_200, 6)))
    ((_, first),) = feed.frames(change, {topic})
    assert feed.frames(change, ()) == []
    ((_, third),) = feed.frames(change, {topic})
    first_id = json.loads(first)["data"]["U"]
    assert json.loads(first)["data"]["u"] == first_id + 2
    assert json.loads(third)["data"]["U"] == first_id + 6
    assert json.loads(third)["data"]["b"] == [["61799.00000000", "0.00000000"]]
    reply = feed.rest("/api/v3/depth", {"symbol": "BTCUSD"}, TIME)
    assert reply is not None
    assert json.loads(reply.body)["lastUpdateId"] == first_id + 8


@pytest.mark.parametrize(("limit", "levels"), [(None, 100), ("5", 5), ("1000", 260), ("9999", 260)])
def test_depth_snapshots_are_as_deep_as_asked(feed: BinanceFeed, limit: str | None, levels: int) -> None:
    reply = feed.rest("/api/v3/depth", {"symbol": "BTCUSD", **({"limit": limit} if limit else {})}, TIME)
    assert reply is not None
    body = json.loads(reply.body)
    assert len(body["bids"]) == len(body["asks"]) == levels
    assert float(body["bids"][0][0]) < float(body["asks"][0][0])


@pytest.mark.parametrize(
    ("query", "code"),
    [
        ({}, -1102),
        ({"symbol": "NOPE"}, -1121),
        ({"symbol": "BTCUSD", "limit": "x"}, -1100),
        ({"symbol": "BTCUSD", "limit": "0"}, -1100),
    ],
)
def test_wrong_depth_requests_get_the_venues_codes(feed: BinanceFeed, query: dict[str, str], code: int) -> None:
    reply = feed.rest("/api/v3/depth", query, TIME)
    assert reply is not None
    assert reply.status == 400
    assert json.loads(reply.body)["code"] == code


def test_other_paths(feed: BinanceFeed) -> None:
    info = feed.rest("/api/v3/exchangeInfo", {}, TIME)
    assert info is not None
    (symbol,) = json.loads(info.body)["symbols"]
    assert (symbol["symbol"], symbol["baseAsset"], symbol["quoteAsset"]) == ("BTCUSD", "BTC", "USD")
    assert symbol["filters"][0]["tickSize"] == "0.01000000"
    time = feed.rest("/api/v3/time", {}, TIME)
    assert time is not None
    assert json.loads(time.body) == {"serverTime": TIME // 1_000_000}
    ping = feed.rest("/api/v3/ping", {}, TIME)
    assert ping is not None
    assert ping.body == b"{}"
    assert feed.rest("/api/v3/account", {}, TIME) is None
    assert feed.opening(DEPTH, TIME) == []
