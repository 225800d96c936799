"""producers.simulator.limits: what is allowed, to the last, and what is not."""

from __future__ import annotations

from math import ceil
from typing import cast

import pytest

from producers.feed.venue import Limit
from producers.registry import load
from producers.simulator.limits import Limiter, VenueLimits, one
from producers.simulator.listings import make_listings
from producers.simulator.market import Market
from producers.simulator.server import feed_of, limits_of
from producers.venue_server.dialects import served
from producers.venue_server.listener import ClientConnection

VENUES = served()
ONE, OTHER = (cast("ClientConnection", object()) for _ in range(2))


class Clock:
    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


def limiter(limits: VenueLimits) -> tuple[Limiter, Clock]:
    clock = Clock()
    return Limiter(limits, clock), clock


def test_without_limits_everything_goes() -> None:
    it, _ = limiter(VenueLimits())
    assert all(it.heard(ONE) and it.connecting() == 0 and it.rest("/", {}).status == 200 for _ in range(1000))
    assert not it.crowded_out(ONE)
    assert it.overdue() == []
    assert not it.refused


def test_messages_are_counted_by_connection_or_by_address() -> None:
    it, clock = limiter(VenueLimits(messages=Limit(2, 1.0)))
    assert [it.heard(who) for who in (ONE, ONE, ONE, OTHER)] == [True, True, False, True]
    assert it.heard(ONE, control=True)
    clock.now += 1.0
    assert it.heard(ONE)
    it, _ = limiter(VenueLimits(messages=Limit(2, 1.0), messages_by_address=True, pings_count=True))
    assert [it.heard(ONE), it.heard(OTHER, control=True), it.heard(ONE)] == [True, True, False]
    assert it.refused == {"message": 1}


def test_no_stretch_of_time_holds_more_than_the_limit() -> None:
    it, clock = limiter(VenueLimits(messages=Limit(3, 1.0)))
    allowed = []
    for step in range(400):
        clock.now = 1000.0 + step / 64
        if it.heard(ONE):
            allowed.append(clock.now)
    assert len(allowed) >= 3 * 6
    assert all(late - early >= 1.0 for early, late in zip(allowed, allowed[3:], strict=False))


def test_requests_are_counted_by_the_hour_pings_are_not() -> None:
    it, _ = limiter(VenueLimits(requests=Limit(2, 3600.0)))
    assert [it.heard(ONE, ping=ping) for ping in (False, True, False, True, False)] == [True, True, True, True, False]
    assert it.refused == {"request": 1}
    it.disconnected(ONE)
    assert it.heard(ONE)


def test_who_connects_too_often_waits_or_is_banned() -> None:
    it, clock = limiter(VenueLimits(connects=Limit(2, 10.0)))
    assert it.connecting() == 0
    clock.now += 4
    assert [it.connecting(), it.connecting()] == [0, 6.0]
    it, clock = limiter(VenueLimits(connects=Limit(2, 10.0), ban_seconds=600.0))
    assert [it.connecting() for _ in range(3)] == [0, 0, 600.0]
    clock.now += 599
    assert it.connecting() == 1.0
    clock.now += 1
    assert it.connecting() == 0
    assert it.refused == {"connect": 2}


def test_only_so_many_connections_are_served_at_a_time() -> None:
    it, _ = limiter(VenueLimits(connections=1))
    it.connected(ONE)
    it.connected(OTHER)
    assert [it.crowded_out(ONE), it.crowded_out(OTHER)] == [False, True]
    it.disconnected(ONE)
    assert not it.crowded_out(OTHER)


def test_a_lost_connection_counts_for_a_while() -> None:
    it, clock = limiter(VenueLimits(connections=1, linger_seconds=90.0))
    it.connected(ONE)
    it.disconnected(ONE, lost=True)
    it.disconnected(ONE, lost=True)
    it.connected(OTHER)
    clock.now += 89
    assert it.crowded_out(OTHER)
    clock.now += 1
    assert not it.crowded_out(OTHER)


def test_connections_on_which_nothing_happens_are_found() -> None:
    it, clock = limiter(VenueLimits(idle_seconds=30.0))
    it.connected(ONE)
    it.connected(OTHER)
    clock.now += 20
    it.told(ONE)
    clock.now += 20
    assert it.overdue() == [OTHER]
    assert it.refused == {"stay": 1}
    it.heard(OTHER)
    assert it.overdue() == []


def test_connections_that_are_too_old_are_found_however_busy() -> None:
    it, clock = limiter(VenueLimits(life_seconds=86_400.0))
    it.connected(ONE)
    clock.now += 1
    it.connected(OTHER)
    clock.now += 86_400.0
    it.told(ONE)
    assert it.overdue() == [ONE]


def test_weights_are_added_up_and_who_does_not_back_off_is_banned_ever_longer() -> None:
    weigh = VenueLimits(
        rest=Limit(10, 60.0), rest_weight=lambda path, query: float(query["w"]), used_header="U", patience=2
    )
    it, clock = limiter(weigh)
    assert it.rest("/", {"w": "4"}) == (200, 0.0, {"U": "4"})
    clock.now += 10
    assert it.rest("/", {"w": "6"}) == (200, 0.0, {"U": "10"})
    assert it.rest("/", {"w": "1"}) == (429, 50.0, {"U": "10"})
    assert it.rest("/", {"w": "5"}) == (429, 60.0, {"U": "10"})
    assert it.rest("/", {"w": "1"}).status == 418
    clock.now += 119
    assert it.rest("/", {"w": "1"})[:2] == (418, 1.0)
    clock.now += 1
    assert it.rest("/", {"w": "10"}).status == 200
    assert [it.rest("/", {"w": "10"}).status for _ in range(2)] == [429, 429]
    assert it.rest("/", {"w": "10"})[:2] == (418, 240.0)
    assert it.refused == {"rest": 6, "rest_banned": 1}


def test_scaled_limits_are_as_much_in_less_time_and_none_at_zero() -> None:
    whole = limits_of("binance")
    tenfold = whole.scaled(10)
    assert tenfold.messages == Limit(5, 0.1)
    assert tenfold.rest == Limit(6000, 6.0)
    assert tenfold.rest_weight is whole.rest_weight
    assert whole.scaled(0) == VenueLimits()


@pytest.mark.parametrize("venue", VENUES)
def test_the_collector_asks_for_no_more_than_the_venue_allows(venue: str) -> None:
    ours, theirs = load(venue), limits_of(venue)

    def within(mine: Limit | None, allowed: Limit | None) -> bool:
        if allowed is None:
            return True
        # However short ours is: as many of them as the venue's has room for.
        return mine is not None and mine.amount * ceil(allowed.seconds / mine.seconds) <= allowed.amount

    assert within(ours.connects, theirs.connects)
    assert within(ours.rest_limit, theirs.rest) or ours.rest_url is None
    assert theirs.messages is None or ours.messages_per_second <= theirs.messages.amount / theirs.messages.seconds
    assert ours.messages_by_address or not theirs.messages_by_address
    assert within(ours.requests, theirs.requests)
    assert theirs.connections is None or ours.connections_limit == theirs.connections
    for path in ("/api/v3/depth?symbol=X&limit=100", "/api/v3/depth?symbol=X&limit=5000", "/api/v3/exchangeInfo"):
        place, _, query = path.partition("?")
        asked = dict(part.split("=") for part in query.split("&")) if query else {}
        if theirs.rest_weight is not one:
            assert ours.rest_weight(path) == theirs.rest_weight(place, asked)


@pytest.mark.parametrize("venue", [venue for venue in VENUES if load(venue).listing is not None])
def test_every_venue_lists_its_instruments(venue: str) -> None:
    symbols = ["BTC-USD", "ETH-USD"]
    market = Market(make_listings([venue], symbols), seed=1, rate=1.0, start_ns=0)
    feed = feed_of(venue)(list(market.instruments.values()))
    listing = load(venue).listing
    assert listing is not None
    path, _, query = listing.path.partition("?")
    reply = feed.rest(path, dict(part.split("=") for part in query.split("&")) if query else {}, 0)
    assert reply is not None
    left_out: list[str] = []
    assert listing.parse(reply.body, left_out.append) == symbols
    assert left_out == []
    assert feed.rest("/nothing", {}, 0) is None
