from __future__ import annotations

from typing import Any

import pytest

from alphapulse.errors import RequestRefused
from gateway.access.errors import CONNECTION_LIMITED, RATE_LIMITED, AccessRefused
from gateway.access.identity import EVERYONE, Identity
from gateway.close_codes import CONNECTION_LIMIT, MISUSE, SLOW, UNAUTHORIZED, CloseCode
from gateway.delivery import MAX_REFUSED, MAX_SUBSCRIPTIONS
from gateway.v2.access import OpenGate
from gateway.v2.encoding import JSON, MSGPACK, Encoding
from gateway.v2.session import MAX_DEFERRED, MAX_L2_SNAPSHOTS, MAX_L2_SUBSCRIPTIONS, MAX_PATTERNS
from tests.fixtures import market
from tests.fixtures.gateway_v2 import BenchV2
from tests.fixtures.market import SECOND, START
from tests.fixtures.stream_v2 import FollowedBook

BOOK: dict[str, Any] = {"op": "subscribe", "id": 1, "channel": "book", "venue": "kraken", "symbol": "BTC-USD"}


def kinds(messages: list[dict[str, Any]]) -> list[str]:
    return [message["type"] for message in messages]


@pytest.mark.parametrize("encoding", [JSON, MSGPACK])
def test_a_client_is_greeted_and_answered(encoding: Encoding) -> None:
    bench = BenchV2()
    client = bench.client(encoding)
    (hello,) = client.read()
    assert (hello["type"], hello["version"], hello["access"], hello["gateway"]) == (
        "hello",
        2,
        "open",
        bench.streams.gateway_id,
    )
    assert hello["limits"] == {"message": 32_768, "subscriptions": 1000, "list": 200}
    assert client.say(op="ping", id="a") == [{"type": "pong", "id": "a", "time": START // 1000}]
    assert kinds(client.say(**BOOK)) == ["subscribed", "snapshot"]
    assert kinds(client.say(op="jump", id=3)) == ["error"]


def test_lists_and_patterns_tell_what_they_matched_and_cover_what_comes_later() -> None:
    bench = BenchV2(configured={"kraken": ("BTC-USD", "ETH-USD"), "coinbase": ("BTC-USD",)})
    client = bench.client()
    answer, *snapshots = client.say(**BOOK | {"venue": ["kraken", "coin*"], "symbol": "BTC-*", "levels": 5})[1:]
    assert answer == {
        "type": "subscribed",
        "id": 1,
        "channel": "book",
        "feeds": [
            {"recovered": None, "venue": "coinbase", "symbol": "BTC-USD"},
            {"recovered": None, "venue": "kraken", "symbol": "BTC-USD"},
        ],
        "levels": 5,
        "interval_ms": 0,
        "checksum": False,
    }
    assert [(each["venue"], each["reason"]) for each in snapshots] == [("coinbase", "no_book"), ("kraken", "no_book")]
    bench.put(market.depth(venue="coinbase", symbol="BTC-EUR"), market.depth(venue="binance"))
    later, snapshot = client.read()
    assert (later["id"], later["feeds"]) == (1, [{"recovered": None, "venue": "coinbase", "symbol": "BTC-EUR"}])
    assert snapshot["valid"]
    bench.put(market.depth([(100, 9)], venue="coinbase", symbol="BTC-EUR", sequence=2))
    assert kinds(client.read()) == ["delta"]


def test_a_new_trade_of_a_new_instrument_is_told_once() -> None:
    bench = BenchV2()
    client = bench.client()
    client.say(op="subscribe", channel="trades", venue="*", symbol="*")
    bench.put(market.trade("1", symbol="ETH-USD"))
    subscribed, snapshot = client.read()
    assert (subscribed["type"], [trade["id"] for trade in snapshot["trades"]]) == ("subscribed", ["1"])


def test_an_unknown_name_does_nothing_at_all() -> None:
    bench = BenchV2(configured={"kraken": ("BTC-USD",), "coinbase": ("ETH-USD",)})
    client = bench.client()
    client.read()
    for fields, word in (
        ({"venue": ["kraken", "krakn"]}, "krakn"),
        ({"symbol": ["BTC-USD", "XRP-USD"]}, "XRP-USD"),
        ({"symbol": "ETH-USD"}, "ETH-USD"),
    ):
        (error,) = client.say(**BOOK | fields)
        assert (error["code"], error["id"]) == ("unknown_instrument", 1)
        assert word in error["message"]
    assert client.session.subscriptions == 0
    (answer, *_) = client.say(**BOOK | {"venue": ["kraken", "coinbase"], "symbol": ["BTC-USD", "ETH-USD"]})
    assert [(each["venue"], each["symbol"]) for each in answer["feeds"]] == [
        ("kraken", "BTC-USD"),
        ("coinbase", "ETH-USD"),
    ], "the combinations that exist"


def test_a_second_subscription_replaces_the_options() -> None:
    bench = BenchV2()
    bench.put(market.depth(sequence=1))
    client = bench.client()
    client.say(**BOOK)
    answer, snapshot = client.say(**BOOK | {"id": 2, "levels": 1, "interval_ms": 250})
    assert (answer["levels"], answer["interval_ms"], len(snapshot["bids"])) == (1, 250, 1)
    assert client.session.subscriptions == 1
    bench.put(market.depth(bids=[(100, 9)], sequence=2))
    assert client.read() == []
    bench.tick.advance(0.25)
    assert kinds(client.read()) == ["delta"]


def test_after_unsubscribed_nothing_follows() -> None:
    bench = BenchV2(configured={"kraken": ("BTC-USD", "ETH-USD")})
    client = bench.client()
    client.say(**BOOK | {"symbol": "*"})
    client.say(op="subscribe", channel="trades", venue="kraken", symbol="*")
    answer = client.say(op="unsubscribe", id=2, channel="book", venue="kraken", symbol="ETH-*")[-1]
    assert (answer["type"], answer["feeds"]) == ("unsubscribed", [{"venue": "kraken", "symbol": "ETH-USD"}])
    bench.put(market.depth(symbol="ETH-USD"), market.depth(symbol="SOL-USD"))
    assert [each.get("channel") for each in client.read() if each["type"] == "subscribed"] == ["book", "trades"], (
        "the pattern goes on with the rest"
    )
    client.say(op="unsubscribe", channel="book", venue="*", symbol="*")
    bench.put(market.depth(symbol="ADA-USD"), market.depth(sequence=3))
    assert [each.get("channel") for each in client.read()] == ["trades", "trades"]
    assert client.say(op="unsubscribe", channel="book", venue="nobody", symbol="*")[0]["feeds"] == []


def test_snapshots_on_demand_leave_the_subscription_alone() -> None:
    bench = BenchV2()
    bench.put(market.depth(sequence=1), market.trade("1"), market.statistics(), market.candle())
    client = bench.client()
    client.say(**BOOK | {"interval_ms": 1000})
    bench.put(market.depth(bids=[(100, 9)], sequence=2))
    snapshot, done = client.say(op="snapshot", id="x", channel="book", venue="*", symbol="*", levels=1)
    assert (snapshot["id"], snapshot["sequence"], len(snapshot["asks"])) == ("x", 2, 1), "the newest, not the told"
    assert done == {"type": "done", "id": "x", "feeds": 1}
    bench.tick.advance(1)
    (delta,) = client.read()
    assert delta["previous_sequence"] == 1
    for channel in ("bbo", "l2", "trades", "candles", "stats"):
        *found, done = client.say(op="snapshot", id=9, channel=channel, venue="kraken", symbol="BTC-USD")
        assert {each["id"] for each in found} == {9}
        assert done["feeds"] == 1
    assert [each["id"] for each in client.say(op="snapshot", id=9, channel="arbitrage", symbol="*")] == [9, 9]
    assert {each["id"] for each in client.say(op="snapshot", id=9, channel="status")} == {9}


def test_too_many_feeds_are_refused_and_none_is_taken() -> None:
    symbols = tuple(f"A{number}-USD" for number in range(MAX_SUBSCRIPTIONS // 2 + 1))
    bench = BenchV2(configured={"kraken": symbols})
    client = bench.client()
    client.say(**BOOK | {"symbol": "*"})
    (error,) = client.say(**BOOK | {"channel": "bbo", "symbol": "*"})
    assert error["code"] == "too_many_subscriptions"
    assert client.session.subscriptions == len(symbols)
    (error,) = client.say(op="snapshot", channel="book", venue="*", symbol="*")
    assert (error["code"], "at most 200" in error["message"]) == ("bad_value", True)


def test_whole_books_are_limited() -> None:
    symbols = tuple(f"A{number:02}-USD" for number in range(MAX_L2_SUBSCRIPTIONS))
    bench = BenchV2(configured={"kraken": symbols})
    client = bench.client()
    client.read()
    few = list(symbols[: MAX_L2_SNAPSHOTS + 1])
    (error,) = client.say(op="snapshot", channel="l2", venue="kraken", symbol=few)
    assert (error["code"], f"at most {MAX_L2_SNAPSHOTS}" in error["message"]) == ("too_many_subscriptions", True)
    assert client.say(op="snapshot", channel="l2", venue="kraken", symbol=few[1:])[-1]["feeds"] == MAX_L2_SNAPSHOTS
    client.say(**BOOK | {"channel": "l2", "symbol": "*"})
    assert client.session.subscriptions == MAX_L2_SUBSCRIPTIONS
    bench.put(market.depth(symbol="NEW-USD"))
    (error,) = client.read()
    assert (error["code"], error["id"]) == ("too_many_subscriptions", 1)
    assert f"at most {MAX_L2_SUBSCRIPTIONS}" in error["message"]
    (error,) = client.say(**BOOK | {"channel": "l2", "symbol": "NEW-USD"})
    assert (error["code"], f"at most {MAX_L2_SUBSCRIPTIONS}" in error["message"]) == ("too_many_subscriptions", True)
    assert client.say(**BOOK | {"symbol": "NEW-USD"})[0]["type"] == "subscribed"


def test_snapshots_larger_than_the_queue_are_made_one_by_one_whatever_else_is_asked() -> None:
    symbols = ("BTC-USD", "ETH-USD", "SOL-USD", "XRP-USD")
    bench = BenchV2(queue_bytes=1024, configured={"kraken": symbols})
    levels = [(price, 1) for price in range(1, 21)]
    bench.put(*(market.depth(levels, symbol=symbol) for symbol in symbols))
    client = bench.client()
    client.read()
    client.wire.clogged = True
    client.say(op="snapshot", id="x", channel="book", venue="kraken", symbol="*")
    assert not client.session.conflated
    found: list[dict[str, Any]] = []
    write = client.wire.write

    def write_one(frame: bytes) -> None:
        write(frame)
        client.wire.clogged = len(frame) > 200

    client.wire.write = write_one  # type: ignore[method-assign]
    for turn in range(20):
        client.wire.clogged = False
        bench.put(market.depth([*levels, (100, turn + 1)], symbol=symbols[-1], sequence=turn + 2))
        found += client.say(op="ping")
    answer = [each for each in found if each["type"] != "pong"]
    assert [each.get("symbol") for each in answer] == [*symbols, None]
    assert answer[-1] == {"type": "done", "id": "x", "feeds": 4}
    assert answer[3]["sequence"] > 2, "the newest at its writing"


def test_snapshots_that_are_not_read_are_refused_beyond_a_limit() -> None:
    bench = BenchV2(configured={"kraken": tuple(f"A{number}-USD" for number in range(200))})
    client = bench.client()
    client.read()
    client.wire.clogged = True
    for number in range(MAX_DEFERRED // 200 + 1):
        client.say(op="snapshot", id=number, channel="stats", venue="kraken", symbol="*")
    client.wire.clogged = False
    client.session.flush(bench.tick.now())
    found = client.read()
    assert [(each["code"], each["retry_after_ms"]) for each in found if each["type"] == "error"] == [
        ("rate_limited", 1000)
    ]
    assert len([each for each in found if each["type"] == "done"]) == MAX_DEFERRED // 200


def test_a_snapshot_is_refused_while_answers_overflow_the_queue() -> None:
    bench = BenchV2(queue_bytes=1024, configured={"kraken": tuple(f"A{number}-USD" for number in range(50))})
    client = bench.client()
    client.read()
    client.say(op="subscribe", channel="book", venue="kraken", symbol="A1-USD")
    client.wire.clogged = True
    client.session._outbox.begin(client.session._members[next(iter(client.session._members))].variant, [b"{}" * 600])
    client.session.receive('{"op":"snapshot","channel":"book","venue":"kraken","symbol":"A1-USD"}', None)
    assert client.session._outbox.deferred == 0


def test_patterns_are_limited() -> None:
    client = BenchV2().client()
    for number in range(MAX_PATTERNS):
        client.say(op="subscribe", channel="alerts", venue=f"{number}*")
    assert client.say(op="subscribe", channel="alerts")[-1]["code"] == "too_many_subscriptions"
    assert client.say(op="subscribe", channel="alerts", venue="7*")[0]["type"] == "subscribed", "the same again"


def test_messages_of_one_form_share_their_bytes() -> None:
    bench = BenchV2()
    bench.put(market.depth(sequence=1))
    clients = [bench.client(JSON) for _ in range(2)] + [bench.client(MSGPACK) for _ in range(2)]
    for client in clients:
        client.say(**BOOK | {"checksum": True})
    bench.put(market.depth(bids=[(100, 9)], sequence=2))
    bench.tick.run()
    frames = [client.wire.frames[-1] for client in clients]
    assert frames[0] is frames[1]
    assert frames[2] is frames[3]
    assert frames[0] != frames[2]


def test_a_slow_client_gets_the_newest_and_is_then_closed() -> None:
    bench = BenchV2(queue_bytes=2000)
    bench.put(market.depth(sequence=1))
    client = bench.client()
    client.say(**BOOK)
    client.wire.clogged = True
    for sequence in range(2, 60):
        bench.put(market.depth(bids=[(100, sequence)], sequence=sequence))
    client.tick.run()
    assert client.session.conflated
    error = client.say(op="snapshot", channel="book", venue="*", symbol="*")
    assert error == []
    client.wire.clogged = False
    bench.hub.waiting(client.session)
    found = client.read()
    assert [each["code"] for each in found if each["type"] == "error"] == ["rate_limited"]
    assert found[0]["retry_after_ms"] == 1000
    book = FollowedBook()
    book.apply(found[-1])
    assert book.sequence == 59
    client.wire.clogged = True
    for sequence in range(60, 160):
        bench.put(market.depth(bids=[(100, sequence)], sequence=sequence))
    bench.tick.run()
    bench.tick.advance(11)
    bench.hub.check()
    assert client.wire.closed_with is SLOW


def test_a_client_that_does_not_read_its_answers_is_closed() -> None:
    bench = BenchV2(queue_bytes=2000)
    client = bench.client()
    client.wire.clogged = True
    for _ in range(100):
        client.say(op="ping")
    assert client.wire.closed_with is SLOW
    assert client.say(op="ping") == [], "it is gone"


def test_refused_messages_in_a_row_close() -> None:
    client = BenchV2().client()
    for _ in range(MAX_REFUSED):
        client.say(op="x")
    assert client.wire.closed_with is MISUSE


@pytest.mark.parametrize("told", [(5_000, 30_000), (100, 900)])
def test_shutdown_tells_when_to_come_back(told: tuple[int, int]) -> None:
    bench = BenchV2(reconnect_ms=told)
    client = bench.client()
    bench.hub.shut_down()
    assert client.wire.read()[-1] == {"type": "shutdown", "reconnect_after_ms": [*told]}


def test_silence_is_broken_by_a_heartbeat() -> None:
    bench = BenchV2()
    client = bench.client()
    client.read()
    bench.tick.advance(4.5)
    bench.hub.check()
    assert kinds(client.read()) == ["heartbeat"]


# --- access -------------------------------------------------------------------------------------------------


class TokenGate(OpenGate):
    """Knows the tokens ``kraken`` and ``all``, both for a minute."""

    open = False

    def identify(self, credentials: str, address: str) -> Identity:
        scopes = {"kraken": "stream:book:kraken", "all": "stream:*:*"}
        if credentials not in scopes:
            raise RequestRefused("unauthorized", "not a token of this gateway")
        return Identity("desk-1", frozenset({scopes[credentials]}), START + 60 * SECOND)


def test_without_credentials_nothing_but_auth_is_served() -> None:
    bench = BenchV2()
    client = bench.client(gate=TokenGate(), identity=None)
    (hello,) = client.read()
    assert hello["access"] == "required"
    assert client.say(**BOOK)[0]["code"] == "unauthorized"
    assert kinds(client.say(op="ping")) == ["pong"]
    (answer,) = client.say(op="auth", id=1, token="all")
    assert answer == {
        "type": "authenticated",
        "id": 1,
        "identity": "desk-1",
        "scopes": ["stream:*:*"],
        "expires": (START + 60 * SECOND) // 1000,
    }
    assert kinds(client.say(**BOOK)) == ["subscribed", "snapshot"]


def test_a_client_that_does_not_authenticate_is_closed() -> None:
    bench = BenchV2()
    late, wrong = (bench.client(gate=TokenGate(), identity=None) for _ in range(2))
    assert wrong.say(op="auth", token="guess")[-1]["code"] == "unauthorized"
    bench.hub.check()
    assert (late.wire.closed_with, wrong.wire.closed_with) == (None, UNAUTHORIZED)
    bench.tick.advance(10)
    bench.hub.check()
    assert late.wire.closed_with is UNAUTHORIZED


class FullGate(OpenGate):
    """Refuses everybody: the identity's connections are all taken, or it is to wait."""

    open = False

    def identify(self, credentials: str, address: str) -> Identity:
        if credentials == "wait":
            raise AccessRefused(RATE_LIMITED, "too many attempts", retry_after=60)
        raise AccessRefused(CONNECTION_LIMITED, "at most 1 connections of desk-1")


def test_the_close_code_tells_why_credentials_were_refused() -> None:
    bench = BenchV2()
    full, waiting = (bench.client(gate=FullGate(), identity=None) for _ in range(2))
    assert full.say(op="auth", token="x")[-1]["code"] == "connection_limit"
    full.say(op="ping")
    waiting.say(op="auth", token="wait")
    bench.hub.check()
    assert (full.wire.closed_with, waiting.wire.closed_with) == (CONNECTION_LIMIT, None)
    bench.tick.advance(10)
    bench.hub.check()
    assert waiting.wire.closed_with == UNAUTHORIZED


def test_what_may_not_be_seen_is_refused_by_name_and_left_out_of_patterns() -> None:
    bench = BenchV2(configured={"kraken": ("BTC-USD",), "coinbase": ("BTC-USD",)})
    client = bench.client(identity=Identity("desk-1", frozenset({"stream:book:kraken"})))
    client.read()
    assert client.say(**BOOK | {"venue": ["kraken", "coinbase"]})[0]["code"] == "forbidden"
    assert client.say(op="subscribe", channel="arbitrage", symbol="*")[0]["code"] == "forbidden"
    assert client.say(op="snapshot", channel="book", venue="coinbase", symbol="*")[0]["code"] == "forbidden"
    answer = client.say(**BOOK | {"venue": "*"})[0]
    assert [each["venue"] for each in answer["feeds"]] == ["kraken"]
    bench.put(market.depth(venue="coinbase", symbol="ETH-USD"))
    assert client.read() == [], "nor when it appears later"
    assert client.say(op="subscribe", channel="trades", venue="*", symbol="*")[0]["feeds"] == []


def test_a_snapshot_is_judged_by_the_credentials_at_its_making() -> None:
    bench = BenchV2(configured={"kraken": ("BTC-USD",), "coinbase": ("BTC-USD",)})
    client = bench.client(gate=TokenGate(), identity=TokenGate().identify("all", ""))
    client.read()
    client.wire.clogged = True
    client.say(op="snapshot", id=1, channel="book", venue="*", symbol="*")
    client.say(op="auth", token="kraken")
    client.wire.clogged = False
    bench.hub.waiting(client.session)
    authenticated, snapshot, done = client.read()
    assert (authenticated["type"], snapshot["venue"], done["feeds"]) == ("authenticated", "kraken", 1)


def test_access_ends_in_time_unless_it_is_renewed() -> None:
    bench = BenchV2(configured={"kraken": ("BTC-USD",), "coinbase": ("BTC-USD",)})
    client = bench.client(gate=TokenGate(), identity=TokenGate().identify("all", ""))
    client.say(**BOOK | {"venue": "*"})
    bench.tick.advance(29)
    bench.hub.check()
    assert "token_expiring" not in kinds(client.read())
    bench.tick.advance(2)
    bench.hub.check()
    bench.hub.check()
    assert [each for each in client.read() if each["type"] == "token_expiring"] == [
        {"type": "token_expiring", "expires": (START + 60 * SECOND) // 1000}
    ]
    assert client.say(op="auth", token="guess")[0]["code"] == "unauthorized"
    assert not client.session._ended, "it still has access"
    found = client.say(op="auth", token="kraken")
    assert kinds(found) == ["authenticated", "unsubscribed"]
    assert found[1]["feeds"] == [{"venue": "coinbase", "symbol": "BTC-USD"}]
    bench.tick.advance(30)
    bench.hub.check()
    assert client.wire.closed_with == CloseCode(3000, "token expired")


def test_everyone_sees_everything() -> None:
    assert EVERYONE.may_stream("book", "kraken")
    assert EVERYONE.may_stream("arbitrage", None)
