"""producers.venues.bitstamp.simulator (the frames' books: tests/property/test_simulated_market.py)"""

from __future__ import annotations

import json
from typing import Any

from producers.simulator.events import BookChange, SimulatedTrade, Trades
from producers.simulator.instrument import SimulatedInstrument
from producers.simulator.listings import make_listings
from producers.venues.bitstamp.simulator import BitstampFeed

(LISTING,) = make_listings(["bitstamp"], ["BTC-USD"])
SECOND = 1_000_000_000
START = 1_790_000_000 * SECOND
BOOK, TRADES = ("book", "btcusd", ""), ("trades", "btcusd", "")


def stamp_of(feed: BitstampFeed, now: int) -> int:
    reply = feed.rest("/api/v2/order_book/btcusd/", {"group": "1"}, now)
    assert reply is not None
    return int(json.loads(reply.body)["microtimestamp"])


def only(frames: list[tuple[Any, bytes]]) -> dict[str, Any]:
    ((_, frame),) = frames
    decoded: dict[str, Any] = json.loads(frame)
    return decoded


def test_stamps_rise_and_the_snapshot_has_that_of_the_last_change() -> None:
    feed = BitstampFeed([SimulatedInstrument(LISTING, 1, 618_000.0)])
    assert stamp_of(feed, START) < START // 1000, "a change stamped a moment ago may still be to come"
    change = BookChange(LISTING, START, ((61_799, 5),), ())
    first = only(feed.frames(change, {BOOK}))
    assert first["channel"] == "diff_order_book_btcusd"
    assert int(first["data"]["microtimestamp"]) == START // 1000
    assert first["data"]["asks"] == []
    assert feed.frames(change, {TRADES}) == []
    third = only(feed.frames(change, {BOOK}))
    assert int(third["data"]["microtimestamp"]) == START // 1000 + 2
    assert stamp_of(feed, START + SECOND) == START // 1000 + 2


def test_a_trade_tells_the_aggressors_side_and_exact_texts() -> None:
    feed = BitstampFeed([SimulatedInstrument(LISTING, 1, 618_000.0)])
    sold = Trades(LISTING, START, (SimulatedTrade(7, "sell", 61_799, 5),))
    data = only(feed.frames(sold, {TRADES}))["data"]
    assert (data["id"], data["type"]) == (7, 1)
    assert (data["price_str"], data["amount_str"]) == (LISTING.price_text(61_799), LISTING.size_text(5))
    assert feed.frames(sold, {BOOK}) == []


def test_rest_paths_that_the_venue_does_not_have() -> None:
    feed = BitstampFeed([SimulatedInstrument(LISTING, 1, 618_000.0)])
    assert feed.rest("/api/v2/ticker/btcusd/", {}, START) is None
    unknown = feed.rest("/api/v2/order_book/nope/", {}, START)
    assert unknown is not None
    assert unknown.status == 404
