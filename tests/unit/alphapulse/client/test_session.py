"""The client's core, step by step, against a gateway in memory."""

from __future__ import annotations

from typing import Any

import pytest

from alphapulse.client.errors import SubscriptionOverlap
from alphapulse.client.events import Answered, Authenticated, Confirmed, Failed, HangUp, Refused, TokenNeeded
from alphapulse.client.messages import BookDelta, BookSnapshot, Gap, Status, Trades, TradesSnapshot
from alphapulse.client.reconnecting import BROKEN, DEAD, UNAUTHORIZED
from alphapulse.client.session import AGAIN_AFTER, DEAD_HEARTBEATS, REFUSED_RETRY, Session
from alphapulse.client.subscriptions import Request
from tests.unit.alphapulse.client.conftest import BOOK, Pair

KRAKEN = {"venue": "kraken", "symbol": "BTC-USD"}
TRADES = Request("trades", ("kraken",), ("BTC-USD",))


def trade(number: int) -> dict[str, Any]:
    return {"id": str(number), "side": "buy", "price": "100.5", "size": "0.1", "time": 5, "received_time": 6}


def book_of(pair: Pair) -> tuple[Any, Any, str, int]:
    book = pair.session.book("book", "kraken", "BTC-USD")
    assert book is not None
    return book.bids, book.asks, book.epoch, book.sequence


def in_step(pair: Pair) -> bool:
    bids, asks, epoch, sequence = book_of(pair)
    assert (epoch, sequence) == (str(pair.market.epoch), pair.market.sequence)
    return (bids, asks) == pair.market.history[epoch, sequence]


def test_a_subscription_keeps_a_book_and_delivers_its_messages(pair: Pair) -> None:
    key = pair.session.subscribe(BOOK)
    pair.connect()
    pair.move(5)
    assert Confirmed(key) in pair.events
    assert [type(message) for message in pair.messages] == [BookSnapshot] + [BookDelta] * 5
    assert in_step(pair)
    book = pair.session.book("book", "kraken", "BTC-USD")
    assert book is not None
    assert book.valid
    assert (book.best_bid, book.best_ask) == (book.bids[0], book.asks[0])


def test_several_messages_in_one_websocket_message(pair: Pair) -> None:
    pair.session.subscribe(BOOK)
    pair.connect()
    for _ in range(5):
        pair.market.move()
        pair.gateway.moved()
    pair.exchange(together=5)
    assert in_step(pair)


def test_a_reconnection_continues_where_it_was_lost_and_tells_no_gap(pair: Pair) -> None:
    pair.session.subscribe(BOOK)
    pair.connect()
    pair.move()
    position = {"epoch": str(pair.market.epoch), "sequence": pair.market.sequence}
    pair.disconnect()
    book = pair.session.book("book", "kraken", "BTC-USD")
    assert book is not None
    assert book.reason == "disconnected"
    pair.move(3)
    pair.connect()
    assert pair.gateway.received[-1]["since"] == [KRAKEN | position]
    assert not any(isinstance(message, Gap) for message in pair.messages)
    assert sum(isinstance(message, BookSnapshot) for message in pair.messages) == 1
    assert in_step(pair)
    assert book.valid


def test_a_book_that_missed_nothing_is_valid_again_without_a_message(pair: Pair) -> None:
    pair.session.subscribe(BOOK)
    pair.connect()
    pair.disconnect()
    pair.connect()
    book = pair.session.book("book", "kraken", "BTC-USD")
    assert book is not None
    assert book.valid
    assert len(pair.messages) == 1


def test_what_cannot_be_recovered_is_told_before_the_snapshot(pair: Pair) -> None:
    pair.session.subscribe(BOOK)
    pair.connect()
    pair.disconnect()
    pair.move(pair.gateway.history + 1)
    pair.connect()
    assert [type(message) for message in pair.messages] == [BookSnapshot, Gap, BookSnapshot]
    assert pair.messages[1] == Gap(channel="book", venue="kraken", symbol="BTC-USD", reason="not_recovered")
    assert in_step(pair)


@pytest.mark.parametrize("fault", ["sequence", "checksum"])
def test_a_wrong_book_is_told_and_asked_for_again(pair: Pair, fault: str) -> None:
    pair.session.subscribe(BOOK)
    pair.connect()
    pair.now += AGAIN_AFTER
    pair.market.move()
    pair.gateway.moved()
    if fault == "sequence":
        pair.gateway.sent[-1]["previous_sequence"] += 1
    else:
        pair.gateway.sent[-1]["checksum"] ^= 1
    pair.exchange()
    assert [type(message) for message in pair.messages] == [BookSnapshot, Gap, BookSnapshot]
    assert pair.messages[1].reason == fault  # type: ignore[union-attr]
    assert pair.gateway.received[-1] == {"op": "subscribe", "channel": "book", "checksum": True, "id": 3} | KRAKEN
    assert in_step(pair)


def test_a_book_that_is_wrong_again_and_again_is_asked_for_with_pauses(pair: Pair) -> None:
    pair.session.subscribe(BOOK)
    pair.connect()
    asked = len(pair.gateway.received)
    for _ in range(4):
        pair.gateway.snapshot()
        pair.gateway.sent[-1]["checksum"] ^= 1
        pair.exchange()
    assert len(pair.gateway.received) == asked
    book = pair.session.book("book", "kraken", "BTC-USD")
    assert book is not None
    assert book.reason == "checksum"
    pair.pass_time(AGAIN_AFTER)
    assert in_step(pair)
    assert book.valid


def test_an_invalid_book_has_the_gateways_reason_and_no_levels(pair: Pair) -> None:
    pair.session.subscribe(BOOK)
    pair.connect()
    pair.gateway.snapshot("invalid")
    pair.exchange()
    book = pair.session.book("book", "kraken", "BTC-USD")
    assert book is not None
    assert (book.valid, book.reason, list(book.bids), book.best_ask) == (False, "invalid", [], None)
    pair.disconnect()
    pair.connect()
    assert "since" not in pair.gateway.received[-1], "there is nothing to continue from"
    assert book.valid


def test_a_book_nobody_confirms_becomes_stale_by_the_gateways_clock(pair: Pair) -> None:
    pair.session.subscribe(BOOK)
    pair.connect()
    book = pair.session.book("book", "kraken", "BTC-USD")
    assert book is not None
    pair.now += 4.9
    assert (book.age, book.valid) == (4_900_000, True)
    pair.now += 0.2
    assert (book.valid, book.reason) == (False, "stale")
    pair.gateway.now += 5_100_000
    pair.move()
    assert book.valid


def test_trades_continue_after_the_last_one() -> None:
    pair = Pair()
    pair.session.subscribe(TRADES)
    pair.connect()
    pair.say(type="subscribed", id=2, channel="trades", feeds=[KRAKEN | {"recovered": None}])
    pair.say(type="snapshot", channel="trades", trades=[trade(1), trade(2)], **KRAKEN)
    pair.say(type="trades", channel="trades", trades=[trade(3)], **KRAKEN)
    pair.disconnect()
    pair.connect()
    assert pair.gateway.received[-1]["since"] == [KRAKEN | {"trade_id": "3"}]
    pair.say(type="subscribed", id=3, channel="trades", feeds=[KRAKEN | {"recovered": True}])
    pair.say(type="trades", channel="trades", trades=[trade(4)], **KRAKEN)
    assert [type(message) for message in pair.messages] == [TradesSnapshot, Trades, Trades]
    pair.say(type="snapshot", channel="trades", trades=[trade(9)], gap=True, **KRAKEN)
    assert [type(message) for message in pair.messages[3:]] == [Gap, TradesSnapshot]


def test_feeds_that_a_pattern_covers_later_belong_to_its_subscription() -> None:
    pair = Pair()
    key = pair.session.subscribe(Request("trades", ("*",), ("BTC-*", "ETH-USD")))
    pair.connect()
    pair.say(type="subscribed", id=2, channel="trades", feeds=[])
    new = {"venue": "okx", "symbol": "BTC-EUR"}
    pair.say(type="subscribed", id=2, channel="trades", feeds=[new | {"recovered": None}])
    pair.say(type="trades", channel="trades", trades=[trade(3)], **new)
    pair.say(type="trades", channel="trades", trades=[trade(3)], venue="okx", symbol="SOL-EUR")
    assert pair.events.count(Confirmed(key)) == 2
    assert len(pair.messages) == 1, "what belongs to no subscription is left out"


def test_subscriptions_that_could_share_a_feed_are_refused() -> None:
    session = Session()
    session.subscribe(Request("book", ("kraken", "bin*"), ("BTC-*",)))
    session.subscribe(Request("trades", ("*",), ("*",)))
    session.subscribe(Request("book", ("kraken",), ("ETH-USD",)))
    with pytest.raises(SubscriptionOverlap, match="overlaps the subscription to book kraken,bin"):
        session.subscribe(Request("book", ("binance",), ("*-USD",)))


def test_after_unsubscribing_nothing_is_delivered(pair: Pair) -> None:
    key = pair.session.subscribe(BOOK)
    pair.connect()
    pair.session.unsubscribe(key)
    pair.gateway.snapshot()
    pair.exchange()
    assert pair.gateway.received[-1] == {"op": "unsubscribe", "channel": "book", "id": 3} | KRAKEN
    assert len(pair.messages) == 1
    assert pair.session.book("book", "kraken", "BTC-USD") is None


def test_a_refused_subscription_is_over() -> None:
    pair = Pair()
    key = pair.session.subscribe(TRADES)
    pair.connect()
    pair.say(type="error", id=2, code="unknown_instrument", message="symbol: no BTC-USD")
    (refused,) = [event for event in pair.events if isinstance(event, Refused)]
    assert (refused.key, str(refused.error)) == (key, "unknown_instrument: symbol: no BTC-USD")


def test_a_subscription_that_was_good_before_is_tried_again() -> None:
    pair = Pair()
    pair.session.subscribe(TRADES)
    pair.connect()
    pair.say(type="subscribed", id=2, channel="trades", feeds=[KRAKEN | {"recovered": None}])
    pair.disconnect()
    pair.connect()
    pair.say(type="error", id=3, code="unknown_instrument", message="symbol: no BTC-USD yet")
    pair.pass_time(REFUSED_RETRY)
    assert [message["op"] for message in pair.gateway.received].count("subscribe") == 3
    assert not any(isinstance(event, Refused) for event in pair.events)


def test_a_rate_limit_is_waited_for() -> None:
    pair = Pair()
    pair.session.subscribe(TRADES)
    pair.connect()
    pair.say(type="error", id=2, code="rate_limited", message="slow down", retry_after_ms=700)
    pair.pass_time(0.5)
    assert len(pair.gateway.received) == 1
    pair.pass_time(0.5)
    assert len(pair.gateway.received) == 2


def test_nothing_is_asked_for_before_the_token_is_accepted() -> None:
    pair = Pair(access="required")
    pair.session.subscribe(TRADES)
    pair.connect()
    assert TokenNeeded(None) in pair.events
    assert pair.gateway.received == []
    pair.session.authenticate("secret")
    pair.exchange()
    assert pair.gateway.received == [{"op": "auth", "token": "secret", "id": 2}]
    pair.say(type="authenticated", id=2, identity="desk-1", scopes=["stream:*"], expires=99)
    assert Authenticated("desk-1", ("stream:*",), 99) in pair.events
    assert pair.gateway.received[-1]["op"] == "subscribe"
    pair.say(type="token_expiring", expires=99)
    assert pair.events[-1] == TokenNeeded(99)
    pair.session.authenticate("wrong")
    pair.exchange()
    pair.say(type="error", id=4, code="unauthorized", message="no")
    assert HangUp(UNAUTHORIZED, "unauthorized: no") in pair.events


def test_feeds_that_new_credentials_do_not_cover_are_told() -> None:
    pair = Pair()
    pair.session.subscribe(BOOK)
    pair.connect()
    pair.say(type="unsubscribed", id=None, channel="book", feeds=[KRAKEN])
    assert pair.messages[-1] == Gap(channel="book", reason="forbidden", **KRAKEN)
    book = pair.session.book("book", "kraken", "BTC-USD")
    assert book is not None
    assert book.reason == "forbidden"


def test_snapshots_on_demand_change_no_subscription(pair: Pair) -> None:
    pair.session.subscribe(BOOK)
    pair.connect()
    before = book_of(pair)
    asked = pair.session.request_snapshot(BOOK)
    pair.exchange()
    for message in ({"epoch": "1", "sequence": 5}, {"epoch": "2", "sequence": 6}):
        fields = {"type": "snapshot", "channel": "book", "id": asked, "time": 1, "valid": True, "reason": None}
        pair.say(**fields | message | KRAKEN, bids=[], asks=[])
    pair.say(type="done", id=asked, feeds=2)
    (answer,) = [event for event in pair.events if isinstance(event, Answered)]
    assert [message.sequence for message in answer.messages] == [5, 6]  # type: ignore[union-attr]
    assert book_of(pair) == before
    pair.session.request_snapshot(BOOK)
    pair.disconnect()
    assert [type(event) for event in pair.events[-1:]] == [Failed]


def test_a_silent_connection_is_hung_up_unless_the_user_is_the_slow_one(pair: Pair) -> None:
    pair.connect()
    pair.now += DEAD_HEARTBEATS * 5 + 1
    assert pair.session.tick(reading=False) == []
    pair.now += DEAD_HEARTBEATS * 5 + 1
    (event,) = pair.session.tick()
    assert isinstance(event, HangUp)
    assert event.code == DEAD


def test_what_cannot_be_read_at_all_ends_the_connection() -> None:
    pair = Pair()
    pair.session.subscribe(BOOK)
    pair.connect()
    for data in ("{", "[1]", '{"no":"type"}', '{"type":"hello"}'):
        (event,) = pair.session.receive(data)
        assert isinstance(event, HangUp)
        assert event.code == BROKEN
    assert pair.session.counters["unreadable"] == 4


def test_an_unreadable_message_of_a_feed_is_a_gap_of_that_feed() -> None:
    pair = Pair()
    pair.session.subscribe(BOOK)
    pair.connect()
    pair.now += AGAIN_AFTER
    pair.say(type="delta", channel="book", epoch="1", previous_sequence="zero", **KRAKEN)
    assert [type(message) for message in pair.messages] == [BookSnapshot, Gap, BookSnapshot]
    assert in_step(pair)


def test_many_positions_are_sent_in_several_messages() -> None:
    pair = Pair()
    symbols = tuple(f"S{n}-USD" for n in range(200))
    pair.session.subscribe(Request("trades", ("kraken",), symbols))
    pair.connect()
    feeds = [{"venue": "kraken", "symbol": symbol, "recovered": None} for symbol in symbols]
    pair.say(type="subscribed", id=2, channel="trades", feeds=feeds)
    for symbol in symbols:
        pair.say(type="trades", channel="trades", venue="kraken", symbol=symbol, trades=[trade(1)])
    pair.disconnect()
    pair.session.opened(pair.now)
    pair.gateway.hello()
    for frame in pair.gateway.frames():
        pair.session.receive(frame)
    sent = pair.session.data_to_send()
    assert len(sent) == 4
    assert max(map(len, sent)) < 16_384
    assert sum(str(data).count("trade_id") for data in sent) == 200


def test_services_belong_to_every_venue() -> None:
    pair = Pair()
    pair.session.subscribe(Request("status"))
    pair.connect()
    pair.say(type="status", channel="status", service="gateway", status="ok", lag_records=None, time=1)
    pair.say(type="status", channel="status", venue="kraken", status="late", valid_books=1, time=1)
    assert [type(message) for message in pair.messages] == [Status, Status]


def test_unknown_messages_and_fields_are_ignored(pair: Pair) -> None:
    pair.session.subscribe(BOOK)
    pair.connect()
    before = len(pair.events)
    pair.say(type="weather", temperature=20)
    pair.say(type="snapshot", channel="weather", **KRAKEN)
    pair.say(type="sunny", channel="book", **KRAKEN)
    assert len(pair.events) == before
