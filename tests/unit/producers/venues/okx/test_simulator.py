"""producers.venues.okx.simulator (the frames' books: tests/property/test_simulated_market.py)"""

from __future__ import annotations

import json

from producers.simulator.events import BookChange
from producers.simulator.instrument import SimulatedInstrument
from producers.simulator.listings import make_listings
from producers.venue_server.session import BOOK, VenueSubscription
from producers.venues.okx.simulator import OkxFeed

(LISTING,) = make_listings(["okx"], ["BTC-USDT"])
SECOND = 1_000_000_000
START = 1_790_000_000 * SECOND


def test_a_book_that_has_not_changed_for_a_minute_is_said_to() -> None:
    feed = OkxFeed([SimulatedInstrument(LISTING, 1, 618_000.0)])
    subscription = VenueSubscription(BOOK, "BTC-USDT", "books")
    topic = feed.topic(subscription)
    (snapshot,) = map(json.loads, feed.opening(subscription, START))
    told = []
    for second in range(200):
        now = START + second * SECOND
        if second == 70:
            feed.frames(BookChange(LISTING, now, ((617_990, 5),), ()), {topic})
        assert feed.alive(now, ()) == []
        told += [(second, json.loads(frame)["data"][0]) for _, frame in feed.alive(now, {topic})]
    first = snapshot["data"][0]["seqId"]
    assert [(second, data["prevSeqId"], data["seqId"], data["bids"], data["asks"]) for second, data in told] == [
        (60, first, first, [], []),
        (130, first + 2, first + 2, [], []),
        (190, first + 2, first + 2, [], []),
    ]
