from __future__ import annotations

import json
from typing import Any

from gateway.feeds import ArbitrageFeed, BookFeed, CandlesFeed, Feed, StatsFeed, TradesFeed, changed_levels
from gateway.outbox import Source
from gateway.state import InstrumentState, MarketState
from schemas.records import Depth
from tests.fixtures import market
from tests.fixtures.market import SECOND, START
from tests.fixtures.stream import ClientBook


class Listener:
    def __init__(self) -> None:
        self.texts: list[str] = []

    def deliver(self, source: Source, text: str) -> None:
        self.texts.append(text)

    def take(self) -> list[dict[str, Any]]:
        texts, self.texts = self.texts, []
        return [json.loads(text) for text in texts]


def listen(feed: Feed[Any]) -> tuple[Listener, list[dict[str, Any]]]:
    listener = Listener()
    snapshot = [json.loads(text) for text in feed.snapshot()]
    feed.subscribers[listener] = None
    return listener, snapshot


def book() -> tuple[InstrumentState, BookFeed]:
    instrument = InstrumentState("kraken", "BTC-USD")
    return instrument, BookFeed(instrument)


def publish(instrument: InstrumentState, feed: BookFeed, *depths: Depth) -> None:
    for depth in depths:
        assert instrument.take_depth(depth)
        feed.publish(depth)


def test_changed_levels_are_new_changed_and_gone_ones() -> None:
    assert changed_levels([3, 2, 1], [5, 5, 5], [4, 3, 2], [9, 5, 6]) == [(4, 9), (2, 6), (1, 0)]
    assert changed_levels([3, 2], [5, 5], [3, 2], [5, 5]) == []
    assert changed_levels([], [], [1], [1]) == [(1, 1)]
    assert changed_levels([1], [1], [], []) == [(1, 0)]


def test_a_book_is_told_by_a_snapshot_and_then_its_changes() -> None:
    instrument, feed = book()
    publish(instrument, feed, market.depth(sequence=1))
    listener, snapshot = listen(feed)
    client = ClientBook()
    client.apply(snapshot[0])
    publish(
        instrument,
        feed,
        market.depth(bids=[(100, 5), (98, 1)], sequence=2),
        market.depth(bids=[(100, 4), (98, 1)], asks=[], sequence=3),
    )
    messages = listener.take()
    assert [message["type"] for message in messages] == ["delta", "delta"]
    assert messages[0]["bids"] == [["0.98", "0.001"], ["0.99", "0"]]
    assert messages[0]["asks"] == []
    for message in messages:
        client.apply(message)
    assert instrument.depth is not None
    assert client.equals(instrument.depth)


def test_all_subscribers_get_the_same_text_object() -> None:
    instrument, feed = book()
    first, _ = listen(feed)
    second, _ = listen(feed)
    publish(instrument, feed, market.depth())
    assert first.texts[0] is second.texts[0]
    assert feed.snapshot()[0] is feed.snapshot()[0]


def test_a_depth_that_changes_no_level_is_not_told() -> None:
    instrument, feed = book()
    publish(instrument, feed, market.depth(sequence=1))
    listener, snapshot = listen(feed)
    publish(instrument, feed, market.depth(sequence=2))
    assert listener.take() == []
    assert json.loads(feed.snapshot()[0])["sequence"] == snapshot[0]["sequence"]


def test_before_its_first_depth_a_book_is_not_valid() -> None:
    instrument, feed = book()
    listener, snapshot = listen(feed)
    assert (snapshot[0]["valid"], snapshot[0]["bids"]) == (False, [])
    publish(instrument, feed, market.depth())
    assert [(message["type"], message["valid"]) for message in listener.take()] == [("snapshot", True)]


def test_doubt_new_epochs_and_exponents_are_told_by_snapshots() -> None:
    instrument, feed = book()
    publish(instrument, feed, market.depth(sequence=1))
    listener, _ = listen(feed)
    publish(instrument, feed, market.depth(sequence=1, valid=False), market.depth(sequence=1, valid=False))
    assert [(message["type"], message["valid"]) for message in listener.take()] == [("snapshot", False)]
    publish(instrument, feed, market.depth(sequence=0, epoch=START + 1))
    publish(instrument, feed, market.depth(sequence=0, epoch=START + 2))
    publish(instrument, feed, market.depth(sequence=0, epoch=START + 2, price_exponent=-3))
    messages = listener.take()
    assert [message["type"] for message in messages] == ["snapshot"] * 3
    assert [message["epoch"] for message in messages] == [str(START + 1), str(START + 2), str(START + 2)]
    assert messages[2]["bids"][0][0] == "0.1"


def test_a_book_that_changed_while_nobody_listened_starts_from_what_it_is() -> None:
    instrument, feed = book()
    publish(instrument, feed, market.depth(sequence=1))
    listener, _ = listen(feed)
    del feed.subscribers[listener]
    publish(instrument, feed, market.depth(bids=[(90, 1)], sequence=2), market.depth(bids=[(80, 1)], sequence=3))
    later, snapshot = listen(feed)
    assert snapshot[0]["bids"] == [["0.8", "0.001"]]
    publish(instrument, feed, market.depth(bids=[(80, 2)], sequence=4))
    delta = later.take()[0]
    assert delta["bids"] == [["0.8", "0.002"]]
    assert delta["sequence"] == snapshot[0]["sequence"] + 1


def test_trades() -> None:
    instrument = InstrumentState("kraken", "BTC-USD")
    feed = TradesFeed(instrument)
    instrument.take_trade(market.trade("1"))
    listener, snapshot = listen(feed)
    assert (snapshot[0]["type"], [each["id"] for each in snapshot[0]["trades"]]) == ("snapshot", ["1"])
    new = market.trade("2")
    instrument.take_trade(new)
    feed.publish(new)
    message = listener.take()[0]
    assert (message["type"], [each["id"] for each in message["trades"]]) == ("trades", ["2"])
    assert [each["id"] for each in json.loads(feed.snapshot()[0])["trades"]] == ["1", "2"]


def test_statistics() -> None:
    instrument = InstrumentState("kraken", "BTC-USD")
    feed = StatsFeed(instrument)
    listener, snapshot = listen(feed)
    assert snapshot == []
    window = market.statistics()
    instrument.take_window(window)
    feed.publish(window)
    assert listener.take()[0]["type"] == "stats"
    assert len(feed.snapshot()) == 1


def test_candles_of_all_intervals() -> None:
    instrument = InstrumentState("kraken", "BTC-USD")
    feed = CandlesFeed(instrument)
    listener, snapshot = listen(feed)
    assert snapshot == []
    for candle in (market.candle(), market.candle(interval=60 * SECOND)):
        instrument.take_candle(candle)
        feed.publish(candle)
    assert [message["interval"] for message in listener.take()] == [1, 60]
    assert len(feed.snapshot()) == 2


def test_opportunities_of_a_symbol_or_of_all() -> None:
    opportunities = MarketState().opportunities
    opportunities.take(market.opportunity("a"))
    opportunities.take(market.opportunity("b", symbol="ETH-USD"))
    listener, everything = listen(ArbitrageFeed(opportunities, "*"))
    feed = ArbitrageFeed(opportunities, "ETH-USD")
    listener, of_symbol = listen(feed)
    assert [each["opportunity_id"] for each in everything[0]["opportunities"]] == ["a", "b"]
    assert [each["opportunity_id"] for each in of_symbol[0]["opportunities"]] == ["b"]
    closed = market.opportunity("b", symbol="ETH-USD", state="CLOSED")
    opportunities.take(closed)
    feed.publish(closed)
    assert listener.take()[0]["state"] == "closed"
    assert json.loads(feed.snapshot()[0])["opportunities"] == []
