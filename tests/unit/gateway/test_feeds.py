from __future__ import annotations

import json
from typing import Any

from gateway.feeds import ArbitrageFeed, BookFeed, CandlesFeed, Feed, StatsFeed, TradesFeed, changed_levels
from gateway.outbox import Source
from gateway.state import MarketState, ShownInstrument
from schemas.records import Depth
from tests.fixtures import market
from tests.fixtures.market import MAX_BOOK_AGE, SECOND, START
from tests.fixtures.stream import ClientBook


class Listener:
    def __init__(self) -> None:
        self.texts: list[str] = []

    def deliver(self, source: Source[str], text: str) -> None:
        self.texts.append(text)

    def take(self) -> list[dict[str, Any]]:
        texts, self.texts = self.texts, []
        return [json.loads(text) for text in texts]


def listen(feed: Feed[Any]) -> tuple[Listener, list[dict[str, Any]]]:
    listener = Listener()
    snapshot = [json.loads(text) for text in feed.snapshot()]
    feed.subscribers[listener] = None
    return listener, snapshot


def book() -> tuple[ShownInstrument, BookFeed]:
    instrument = ShownInstrument("kraken", "BTC-USD", MAX_BOOK_AGE)
    return instrument, BookFeed(instrument)


def publish(instrument: ShownInstrument, feed: BookFeed, *depths: Depth, now: int = START) -> None:
    for depth in depths:
        assert instrument.take_depth(depth, now)
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


def test_the_numbers_are_the_books_own() -> None:
    instrument, feed = book()
    publish(instrument, feed, market.depth(sequence=17))
    listener, snapshot = listen(feed)
    assert (snapshot[0]["epoch"], snapshot[0]["sequence"]) == (str(START), 17)
    publish(instrument, feed, market.depth(bids=[(100, 1)], sequence=345), market.depth(bids=[(100, 2)], sequence=2402))
    numbers = [(each["previous_sequence"], each["sequence"]) for each in listener.take()]
    assert numbers == [(17, 345), (345, 2402)]


def test_a_depth_that_changes_no_level_confirms_the_book() -> None:
    instrument, feed = book()
    publish(instrument, feed, market.depth(sequence=1))
    listener, _ = listen(feed)
    same = market.depth(sequence=1, received_time=START + SECOND)
    publish(instrument, feed, same, market.depth(sequence=2, received_time=START + 2 * SECOND))
    messages = listener.take()
    assert [(each["type"], each["bids"], each["asks"]) for each in messages] == [("delta", [], [])] * 2
    assert [(each["previous_sequence"], each["sequence"]) for each in messages] == [(1, 1), (1, 2)]
    assert [each["time"] for each in messages] == [START // 1000 + 1_000_000, START // 1000 + 2_000_000]
    assert json.loads(feed.snapshot()[0])["sequence"] == 2


def test_before_its_first_depth_a_book_is_not_valid() -> None:
    instrument, feed = book()
    listener, snapshot = listen(feed)
    assert (snapshot[0]["valid"], snapshot[0]["reason"], snapshot[0]["bids"]) == (False, "no_book", [])
    publish(instrument, feed, market.depth())
    assert [(message["type"], message["valid"], message["reason"]) for message in listener.take()] == [
        ("snapshot", True, None)
    ]


def test_doubt_new_epochs_and_exponents_are_told_by_snapshots() -> None:
    instrument, feed = book()
    publish(instrument, feed, market.depth(sequence=1))
    listener, _ = listen(feed)
    doubt = market.depth(sequence=1, valid=False)
    publish(instrument, feed, doubt, market.depth(sequence=2, valid=False))
    assert [(each["type"], each["valid"], each["reason"]) for each in listener.take()] == [
        ("snapshot", False, "invalid")
    ]
    publish(instrument, feed, market.depth(sequence=0, epoch=START + 1))
    publish(instrument, feed, market.depth(sequence=0, epoch=START + 2))
    publish(instrument, feed, market.depth(sequence=1, epoch=START + 2, price_exponent=-3))
    messages = listener.take()
    assert [message["type"] for message in messages] == ["snapshot"] * 3
    assert [message["epoch"] for message in messages] == [str(START + 1), str(START + 2), str(START + 2)]
    assert messages[2]["bids"][0][0] == "0.1"


def test_a_book_that_comes_late_is_told_as_stale_and_no_level_of_it() -> None:
    instrument, feed = book()
    publish(instrument, feed, market.depth(sequence=1))
    listener, _ = listen(feed)
    late = START + 60 * SECOND
    walk = [
        market.depth(bids=[(100, n)], sequence=n, received_time=START + n * SECOND // 10) for n in range(2, 42)
    ]  # four seconds of the past
    publish(instrument, feed, *walk, now=late)
    messages = listener.take()
    assert {(each["type"], each["valid"], each["reason"], len(each["bids"])) for each in messages} == {
        ("snapshot", False, "stale", 0)
    }
    assert [each["sequence"] for each in messages] == [2, 12, 22, 32], "once a second, so that its age is known"
    publish(instrument, feed, market.depth(sequence=99, received_time=late), now=late)
    assert [(each["type"], each["valid"], each["sequence"]) for each in listener.take()] == [("snapshot", True, 99)]
    publish(instrument, feed, market.depth(bids=[(1, 1)], sequence=100, received_time=late), now=late)
    assert listener.take()[0]["previous_sequence"] == 99


def test_a_book_that_became_stale_is_retold_to_all() -> None:
    instrument, feed = book()
    publish(instrument, feed, market.depth(sequence=4))
    first, _ = listen(feed)
    second, _ = listen(feed)
    instrument.fault = "stale"
    feed.retell()
    for listener in (first, second):
        (message,) = listener.take()
        assert (message["type"], message["reason"], message["bids"]) == ("snapshot", "stale", [])
        assert (message["epoch"], message["sequence"]) == (str(START), 4)
    assert json.loads(feed.snapshot()[0])["reason"] == "stale"


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
    assert (delta["previous_sequence"], delta["sequence"]) == (snapshot[0]["sequence"], 4)


def test_trades() -> None:
    instrument = ShownInstrument("kraken", "BTC-USD", MAX_BOOK_AGE)
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
    instrument = ShownInstrument("kraken", "BTC-USD", MAX_BOOK_AGE)
    feed = StatsFeed(instrument)
    listener, snapshot = listen(feed)
    assert snapshot == []
    window = market.statistics()
    instrument.take_window(window)
    feed.publish(window)
    assert listener.take()[0]["type"] == "stats"
    assert len(feed.snapshot()) == 1


def test_candles_of_all_intervals() -> None:
    instrument = ShownInstrument("kraken", "BTC-USD", MAX_BOOK_AGE)
    feed = CandlesFeed(instrument)
    listener, snapshot = listen(feed)
    assert snapshot == []
    for candle in (market.candle(), market.candle(interval=60 * SECOND)):
        instrument.take_candle(candle)
        feed.publish(candle)
    assert [message["interval"] for message in listener.take()] == [1, 60]
    assert len(feed.snapshot()) == 2


def market_with_books(*symbols: str) -> MarketState:
    state = MarketState(max_book_age=MAX_BOOK_AGE)
    for symbol in symbols:
        for venue in ("kraken", "coinbase"):
            state.apply(market.depth(venue=venue, symbol=symbol, received_time=START), START)
    return state


def test_opportunities_of_a_symbol_or_of_all() -> None:
    state = market_with_books("BTC-USD", "ETH-USD")
    state.apply(market.opportunity("a"), START)
    state.apply(market.opportunity("b", symbol="ETH-USD"), START)
    listener, everything = listen(ArbitrageFeed(state, "*"))
    feed = ArbitrageFeed(state, "ETH-USD")
    listener, of_symbol = listen(feed)
    assert [each["opportunity_id"] for each in everything[0]["opportunities"]] == ["a", "b"]
    assert [each["opportunity_id"] for each in of_symbol[0]["opportunities"]] == ["b"]
    closed = market.opportunity("b", symbol="ETH-USD", state="CLOSED")
    state.apply(closed, START)
    feed.publish(closed)
    assert listener.take()[0]["state"] == "closed"
    assert json.loads(feed.snapshot()[0])["opportunities"] == []


def test_an_opportunity_on_a_stale_book_is_not_told_but_its_end_is() -> None:
    state = market_with_books("BTC-USD")
    feed = ArbitrageFeed(state, "*")
    listener, _ = listen(feed)
    state.expire(START + 6 * SECOND)
    for change in ("OPENED", "CHANGED"):
        record = market.opportunity("a", state=change, updated_time=START + (change == "CHANGED"))
        assert state.apply(record, START)
        feed.publish(record)
        assert listener.take() == []
    assert json.loads(feed.snapshot()[0])["opportunities"] == []
    closed = market.opportunity("a", state="CLOSED", updated_time=START + 2)
    assert state.apply(closed, START)
    feed.publish(closed)
    assert [each["state"] for each in listener.take()] == ["closed"]
