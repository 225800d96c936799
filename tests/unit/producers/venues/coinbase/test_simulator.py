"""producers.venues.coinbase.simulator (the frames' books: tests/property/test_simulated_market.py)"""

from __future__ import annotations

import json

from producers.simulator.events import BookChange, SimulatedTrade, Trades
from producers.simulator.instrument import SimulatedInstrument
from producers.simulator.listings import make_listings
from producers.venue_server.session import BOOK, HEARTBEATS, TRADES, VenueSubscription
from producers.venues.coinbase.simulator import CoinbaseFeed

(LISTING,) = make_listings(["coinbase"], ["BTC-USD"])
TIME = 1_618_678_133_710_264_000


def test_matches_name_the_makers_side_and_the_last_one_greets() -> None:
    feed = CoinbaseFeed([SimulatedInstrument(LISTING, 1, 6_180_000.0)])
    subscription = VenueSubscription(TRADES, "BTC-USD", "matches")
    assert feed.opening(subscription, TIME) == []
    event = Trades(
        LISTING, TIME, (SimulatedTrade(1, "buy", 6_180_001, 5), SimulatedTrade(2, "buy", 6_180_002, 100_000_000))
    )
    frames = [json.loads(frame) for _, frame in feed.frames(event, {feed.topic(subscription)})]
    assert [frame["trade_id"] for frame in frames] == [1, 2]
    assert frames[1]["sequence"] == frames[0]["sequence"] + 1
    assert frames[0]["maker_order_id"] != frames[0]["taker_order_id"] != frames[1]["taker_order_id"]
    assert {key: frames[1][key] for key in ("type", "side", "price", "size", "product_id", "time")} == {
        "type": "match",
        "side": "sell",
        "price": "61800.02",
        "size": "1.00000000",
        "product_id": "BTC-USD",
        "time": "2021-04-17T16:48:53.710264Z",
    }
    (last,) = map(json.loads, feed.opening(subscription, TIME))
    assert last == {**frames[1], "type": "last_match"}


def test_a_deleted_level_is_a_zero_with_decimals() -> None:
    feed = CoinbaseFeed([SimulatedInstrument(LISTING, 1, 6_180_000.0)])
    topic = feed.topic(VenueSubscription(BOOK, "BTC-USD", "level2_batch"))
    ((_, frame),) = feed.frames(BookChange(LISTING, TIME, ((6_179_900, 0),), ((6_180_100, 5),)), {topic})
    assert json.loads(frame)["changes"] == [["buy", "61799.00", "0.00000000"], ["sell", "61801.00", "0.00000005"]]


def test_heartbeats_begin_with_nothing() -> None:
    feed = CoinbaseFeed([SimulatedInstrument(LISTING, 1, 6_180_000.0)])
    assert feed.opening(VenueSubscription(HEARTBEATS, "BTC-USD", "heartbeat"), TIME) == []
    assert feed.rest("/nothing", {}, TIME) is None


def test_heartbeats_know_the_last_trade_and_the_number_of_the_last_message() -> None:
    feed = CoinbaseFeed([SimulatedInstrument(LISTING, 1, 6_180_000.0)])
    assert feed.last_trade("BTC-USD") == (0, 1_000_000)
    feed.frames(Trades(LISTING, TIME, (SimulatedTrade(7, "buy", 6_180_001, 5),)), ())
    assert feed.last_trade("BTC-USD") == (7, 1_000_001)
    feed.frames(BookChange(LISTING, TIME, ((6_179_900, 0),), ()), ())
    assert feed.last_trade("BTC-USD") == (7, 1_000_002)
