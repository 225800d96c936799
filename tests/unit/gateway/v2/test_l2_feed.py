from __future__ import annotations

from typing import Any

import pytest

from gateway.v2.session import LOADING_SECONDS
from tests.fixtures import l2_feed
from tests.fixtures.gateway_v2 import BenchV2
from tests.fixtures.stream_v2 import FollowedBook

L2: dict[str, Any] = {"op": "subscribe", "channel": "l2", "venue": "kraken", "symbol": "BTC-USD", "checksum": True}


def begun() -> tuple[BenchV2, l2_feed.Feed]:
    bench, made = BenchV2(), l2_feed.Feed(levels=50, trade_every=0, step=1_000_000)
    bench.put(made.snapshot())
    bench.streams.l2.book("kraken", "BTC-USD")
    bench.load_l2()
    return bench, made


def same(book: FollowedBook, made: l2_feed.Feed) -> bool:
    reader = made.book()
    return (book.sequence, len(book.bids), len(book.asks)) == (
        reader.sequence,
        len(reader.book.bids),
        len(reader.book.asks),
    )


def test_each_record_is_one_delta() -> None:
    bench, made = begun()
    client, book = bench.client(), FollowedBook()
    book.apply(client.say(**L2)[-1])
    assert len(book.bids) == 50
    for _ in range(20):
        delta = made.delta()
        bench.put(delta)
        (message,) = client.read()
        assert message["sequence"] == message["previous_sequence"] + 1 == delta.sequence
        book.apply(message)
        assert same(book, made)


@pytest.mark.parametrize("interval_ms", [100, 250, 1000])
def test_an_interval_merges_and_a_newcomer_joins_what_the_others_know(interval_ms: int) -> None:
    bench, made = begun()
    client, book = bench.client(), FollowedBook()
    book.apply(client.say(**L2 | {"interval_ms": interval_ms})[-1])
    for _ in range(10):
        bench.put(made.delta())
    later, other = bench.client(), FollowedBook()
    other.apply(later.say(**L2 | {"interval_ms": interval_ms})[-1])
    assert (other.sequence, other.sides) == (book.sequence, book.sides)
    assert list(other.bids) == list(book.bids), "best first"
    bench.tick.advance(interval_ms / 1000)
    (one,), (two,) = client.read(), later.read()
    assert one == two
    book.apply(one)
    assert same(book, made)


def test_the_snapshot_of_a_subscription_is_made_when_the_client_can_be_written_to() -> None:
    bench, made = begun()
    client, book = bench.client(), FollowedBook()
    client.read()
    client.wire.clogged = True
    client.say(**L2)
    for _ in range(10):
        bench.put(made.delta())
    assert client.session._outbox.waiting < 500
    assert not client.session.conflated
    client.wire.clogged = False
    bench.hub.waiting(client.session)
    subscribed, snapshot = client.read()
    assert subscribed["type"] == "subscribed"
    book.apply(snapshot)
    assert same(book, made)
    bench.put(made.delta())
    (delta,) = client.read()
    book.apply(delta)
    assert same(book, made)


def test_an_unloaded_book_is_unknown_and_comes_by_itself() -> None:
    bench, made = BenchV2(), l2_feed.Feed(levels=5, trade_every=0)
    client = bench.client()
    snapshot = client.say(**L2)[-1]
    assert (snapshot["valid"], snapshot["reason"], snapshot["epoch"]) == (False, "no_book", "0")
    assert list(bench.streams.l2.wanted) == [("kraken", "BTC-USD")]
    bench.put(made.snapshot())
    assert client.read() == []
    bench.load_l2()
    assert [each["valid"] for each in client.read()] == [True]
    bench.hub.closed(client.session)
    assert list(bench.streams.l2.wanted) == []


def test_a_book_is_confirmed_once_a_second() -> None:
    bench, made = begun()
    client = bench.client()
    client.say(**L2)
    last = made.last_received
    bench.put(made.heartbeat(last + 400_000_000))
    assert client.read() == []
    bench.put(made.heartbeat(last + 1_000_000_000))
    (delta,) = client.read()
    assert (delta["previous_sequence"], delta["bids"]) == (delta["sequence"], [])


def test_one_delta_continues_from_any_position_of_the_epoch() -> None:
    bench, made = begun()
    client, books = bench.client(), []
    book = FollowedBook()
    for message in client.say(**L2)[2:]:
        book.apply(message)
    for _ in range(10):
        before = FollowedBook()
        before.bids, before.asks = dict(book.bids), dict(book.asks)
        before.valid, before.epoch, before.sequence = True, book.epoch, book.sequence
        books.append(before)
        bench.put(made.delta())
        book.apply(client.read()[0])
    for before in books:
        answer, delta = bench.client().say(**L2 | {"since": [before.position()]})[1:]
        assert answer["feeds"][0]["recovered"] is True
        before.apply(delta)
        assert before.sides == book.sides
    (answer,) = bench.client().say(**L2 | {"since": [book.position()]})[1:]
    assert answer["feeds"][0]["recovered"] is True
    answer, snapshot = bench.client().say(**L2 | {"since": [book.position() | {"epoch": "5"}]})[1:]
    assert (answer["feeds"][0]["recovered"], snapshot["type"]) == (False, "snapshot")


def restarted() -> tuple[BenchV2, l2_feed.Feed, FollowedBook]:
    """Return a gateway that does not read the book yet, the book's feed, and a client's book from before."""
    bench, made = begun()
    book = FollowedBook()
    book.apply(bench.client().say(**L2)[-1])
    list(made.run(5))
    return BenchV2(), made, book


def test_a_client_that_comes_back_first_waits_for_the_book_and_continues() -> None:
    bench, made, book = restarted()
    client = bench.client()
    (answer,) = client.say(**L2 | {"id": 7, "since": [book.position()]})[1:]
    assert (answer["id"], answer["feeds"]) == (7, [])
    bench.put(*made.records)
    assert client.read() == []
    bench.load_l2()
    answer, delta = client.read()
    assert (answer["id"], answer["feeds"]) == (7, [{"recovered": True, "venue": "kraken", "symbol": "BTC-USD"}])
    book.apply(delta)
    assert same(book, made)
    bench.put(made.delta())
    book.apply(client.read()[0])
    assert same(book, made)


def test_it_does_not_wait_for_ever() -> None:
    bench, _, book = restarted()
    client = bench.client()
    client.say(**L2 | {"since": [book.position()]})
    bench.hub.check()
    bench.tick.advance(11)
    bench.hub.check()
    answer, snapshot = [each for each in client.read() if each["type"] != "heartbeat"]
    assert (answer["feeds"][0]["recovered"], snapshot["reason"]) == (False, "no_book")
    bench.load_l2()
    assert client.session.subscriptions == 1


@pytest.mark.parametrize("end", ["unsubscribe", "subscribe", "close"])
def test_a_wait_can_be_ended(end: str) -> None:
    bench, made, book = restarted()
    client = bench.client()
    client.say(**L2 | {"since": [book.position()]})
    if end == "unsubscribe":
        (answer,) = client.say(op="unsubscribe", channel="l2", venue="kraken", symbol="*")
        assert answer["feeds"] == [{"venue": "kraken", "symbol": "BTC-USD"}]
    elif end == "subscribe":
        assert client.say(**L2)[-1]["reason"] == "no_book"
    else:
        bench.hub.closed(client.session)
    bench.put(*made.records)
    bench.load_l2()
    assert [each["type"] for each in client.read()] == (["snapshot"] if end == "subscribe" else [])


def test_a_position_waits_for_its_book_however_long_the_machine_has_been_up() -> None:
    bench, made = BenchV2(), l2_feed.Feed(levels=5, trade_every=0)
    bench.tick.advance(3_600)
    client = bench.client()
    position = {"venue": "kraken", "symbol": "BTC-USD", "epoch": "5", "sequence": 1}
    (answer,) = client.say(**L2 | {"since": [position]})[1:]
    assert answer["feeds"] == []
    bench.tick.advance(1)
    bench.hub.check()
    assert client.read() == []
    bench.put(made.snapshot())
    bench.load_l2()
    answer, snapshot = client.read()
    assert (answer["feeds"][0]["recovered"], snapshot["reason"]) == (False, "stale"), "loaded, though an hour old"


def test_a_position_does_not_wait_for_ever() -> None:
    bench = BenchV2()
    client = bench.client()
    position = {"venue": "kraken", "symbol": "BTC-USD", "epoch": "5", "sequence": 1}
    client.say(**L2 | {"since": [position]})
    bench.tick.advance(LOADING_SECONDS)
    bench.hub.check()
    answer, snapshot, *_ = client.read()
    assert (answer["feeds"][0]["recovered"], snapshot["reason"]) == (False, "no_book")
