"""producers.venues.kraken.simulator (the frames' books: tests/property/test_simulated_market.py)"""

from __future__ import annotations

import json

import pytest

from alphapulse.book import OrderBook
from producers.simulator.events import BookChange, SimulatedTrade, Trades
from producers.simulator.instrument import SimulatedInstrument
from producers.simulator.listings import make_listings
from producers.venue_server.session import BOOK, INSTRUMENTS, TRADES, VenueSubscription
from producers.venues.kraken.simulator import KrakenFeed, checksum

(LISTING,) = make_listings(["kraken"], ["BTC-USD"])
TIME = 1_618_678_133_710_264_000
TRADE_TOPIC = ("trades", "BTC/USD", "")


@pytest.fixture
def feed() -> KrakenFeed:
    return KrakenFeed([SimulatedInstrument(LISTING, 1, 618_000.0)])


def test_the_checksum_of_the_documentations_example() -> None:
    """https://docs.kraken.com/api/docs/guides/spot-ws-book-v2: BTC/USD, one decimal of price, eight of size."""
    asks = "45285.2 0.00100000 45286.4 1.54571953 45286.6 1.54571109 45289.6 1.54560911 45290.2 0.15890660 45291.8 1.54553491 45294.7 0.04454749 45296.1 0.35380000 45297.5 0.09945542 45299.5 0.18772827"  # noqa: E501
    bids = "45283.5 0.10000000 45283.4 1.54582015 45282.1 0.10000000 45281.0 0.10000000 45280.3 1.54592586 45279.0 0.07990000 45277.6 0.03310103 45277.5 0.30000000 45277.3 1.54602737 45276.6 0.15445238"  # noqa: E501
    book = OrderBook()
    for side, text in ((book.asks, asks), (book.bids, bids)):
        numbers = [int(number.replace(".", "")) for number in text.split()]
        side.replace(numbers[::2], numbers[1::2])
    assert checksum(book) == 3310070434


def test_instruments_state_the_precisions(feed: KrakenFeed) -> None:
    (frame,) = feed.opening(VenueSubscription(INSTRUMENTS, "", "instrument"), TIME)
    data = json.loads(frame, parse_float=str)["data"]
    (pair,) = data["pairs"]
    assert (pair["symbol"], pair["price_precision"], pair["qty_precision"]) == ("BTC/USD", 1, 8)
    assert (pair["price_increment"], pair["qty_increment"]) == ("0.1", "0.00000001")
    assert [asset["id"] for asset in data["assets"]] == ["BTC", "USD"]
    assert feed.opening(VenueSubscription(INSTRUMENTS, "", "instrument", snapshot=False), TIME) == []


def test_trades_come_as_one_message_and_again_as_a_snapshot(feed: KrakenFeed) -> None:
    subscription = VenueSubscription(TRADES, "BTC/USD", "trade")
    assert feed.opening(subscription, TIME) == []
    event = Trades(
        LISTING, TIME, (SimulatedTrade(1, "buy", 618_001, 5), SimulatedTrade(2, "buy", 618_002, 100_000_000))
    )
    ((topic, frame),) = feed.frames(event, {TRADE_TOPIC})
    assert topic == TRADE_TOPIC
    assert json.loads(frame, parse_float=str)["data"][1] == {
        "symbol": "BTC/USD",
        "side": "buy",
        "price": "61800.2",
        "qty": "1.00000000",
        "ord_type": "market",
        "trade_id": 2,
        "timestamp": "2021-04-17T16:48:53.710264Z",
    }
    (snapshot,) = feed.opening(subscription, TIME)
    assert snapshot == frame.replace(b'"update"', b'"snapshot"')
    assert feed.opening(VenueSubscription(TRADES, "BTC/USD", "trade", snapshot=False), TIME) == []


def test_a_depth_that_nobody_looks_at_is_forgotten(feed: KrakenFeed) -> None:
    instrument = feed.instruments["BTC/USD"]
    subscription = VenueSubscription(BOOK, "BTC/USD", "book", 10)
    topic = feed.topic(subscription)
    best = instrument.book.asks.best_price()
    assert best is not None
    feed.opening(subscription, TIME)
    instrument.book.asks.apply((best,), (7,))
    assert feed.frames(BookChange(LISTING, TIME, (), ((best, 7),)), ()) == []
    (snapshot,) = feed.opening(subscription, TIME)
    assert json.loads(snapshot, parse_float=str)["data"][0]["asks"][0]["qty"] == "0.00000007"
    instrument.book.asks.apply((best,), (8,))
    ((_, frame),) = feed.frames(BookChange(LISTING, TIME, (), ((best, 8),)), {topic})
    assert json.loads(frame, parse_float=str)["data"][0]["asks"] == [
        {"price": LISTING.price_text(best), "qty": "0.00000008"}
    ]


def test_changes_out_of_scope_send_nothing(feed: KrakenFeed) -> None:
    subscription = VenueSubscription(BOOK, "BTC/USD", "book", 10, snapshot=False)
    assert feed.opening(subscription, TIME) == []
    book = feed.instruments["BTC/USD"].book
    far = book.bids.top(100)[99][0]
    book.bids.apply((far,), (3,))
    assert feed.frames(BookChange(LISTING, TIME, ((far, 3),), ()), {feed.topic(subscription)}) == []
