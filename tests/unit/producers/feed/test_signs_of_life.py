"""What a collector takes for life and what for damage, hours of it in virtual time: venues of which each says what the
documentation says it does."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable
from typing import Any
from zlib import crc32

import pytest
from aiohttp import web
from websockets.asyncio.server import ServerConnection
from websockets.exceptions import ConnectionClosed

from alphapulse.config import VenueSettings
from producers.registry import load
from tests.fixtures.live import Live, live
from tests.fixtures.venue_server import rest_venue, websocket_venue
from tests.fixtures.virtual_time import run

TIME = "2026-09-01T00:00:00.000000Z"
Say = Callable[..., Awaitable[None]]


class Venue:
    """A venue: ``asked`` answers a client's message, ``second`` is called every second."""

    name = ""

    def __init__(self) -> None:
        self.requests: list[dict[str, Any]] = []
        self.seconds = 0

    async def asked(self, request: dict[str, Any], say: Say) -> None:
        raise NotImplementedError

    async def second(self, say: Say) -> None:
        raise NotImplementedError

    async def talk(self, socket: ServerConnection) -> None:
        async def say(*messages: dict[str, Any]) -> None:
            for message in messages:
                await socket.send(json.dumps(message, separators=(",", ":")))

        async def clock() -> None:
            while True:
                await asyncio.sleep(1)
                self.seconds += 1
                await self.second(say)

        ticking = asyncio.create_task(clock())
        try:
            async for message in socket:
                if message == "ping":
                    await socket.send("pong")
                else:
                    self.requests.append(json.loads(message))
                    await self.asked(self.requests[-1], say)
        except ConnectionClosed:
            pass
        finally:
            ticking.cancel()
            await asyncio.gather(ticking, return_exceptions=True)


def collect(venue: Venue, symbols: tuple[str, ...], *moments: float, rest: str = "") -> list[dict[str, dict[str, Any]]]:
    """Collect; return at each of the moments what is known of each symbol, with the kinds of its records and events."""

    def known(it: Live, symbol: str) -> dict[str, Any]:
        events = [event.kind for event in it.records() if getattr(event, "kind", "") and event.symbol == symbol]  # type: ignore[union-attr]
        loud = [kind for kind in events if kind not in ("SNAPSHOT", "INVALID", "DELTA", "HEARTBEAT", "subscribed")]
        return {**it.figures(symbol), "kinds": it.kinds(symbol), "events": loud, "lost": len(it.events("disconnected"))}

    async def work() -> list[dict[str, dict[str, Any]]]:
        found = []
        async with websocket_venue(venue.talk) as url:
            settings = VenueSettings(symbols=symbols, websocket_url=url, rest_url=rest or "http://127.0.0.1:9")
            async with live(load(venue.name), settings) as it:
                for moment in moments:
                    await asyncio.sleep(moment - asyncio.get_running_loop().time())
                    found.append({symbol: known(it, symbol) for symbol in symbols})
        return found

    return run(work(), sockets=True)


class Okx(Venue):
    """One busy book, and a quiet one that is said to be unchanged once a minute."""

    name = "okx"

    async def asked(self, request: dict[str, Any], say: Say) -> None:
        for argument in request["args"]:
            await say({"event": request["op"], "arg": argument, "connId": "x"})
            if request["op"] == "subscribe" and argument["channel"] == "books":
                number = 41 if argument["instId"] == "QUIET-USDT" else 100 + self.seconds
                await say(self.book(argument["instId"], -1, number, [["9.9", "1", "0", "1"]], "snapshot"))

    def book(
        self, symbol: str, before: int, number: int, bids: list[list[str]], action: str = "update"
    ) -> dict[str, Any]:
        asks = [["10.1", "2", "0", "1"]] if action == "snapshot" else []
        data = {"bids": bids, "asks": asks, "ts": "1790000000000", "checksum": 0, "seqId": number, "prevSeqId": before}
        return {"arg": {"channel": "books", "instId": symbol}, "action": action, "data": [data]}

    async def second(self, say: Say) -> None:
        number = 100 + self.seconds
        await say(self.book("BUSY-USDT", number - 1, number, [["9.9", str(1 + number % 7), "0", "1"]]))
        if self.seconds % 60 == 0:
            await say(self.book("QUIET-USDT", 41, 41, []))


def test_okx_says_that_nothing_changed() -> None:
    venue = Okx()
    (found,) = collect(venue, ("QUIET-USDT", "BUSY-USDT"), 700)
    assert [(one["kinds"], one["events"]) for one in found.values()] == [(["SNAPSHOT"], [])] * 2
    assert len(venue.requests) == 1


class Coinbase(Venue):
    """Books of the products subscribed to, and a heartbeat a second for each.

    Attributes:
        moving: whether the product's number rises although its book stays the same.
        dead: products whose book channel has died.
        heals: whether subscribing again brings it back.
    """

    name = "coinbase"
    moving = False
    heals = False

    def __init__(self) -> None:
        super().__init__()
        self.bids: dict[str, dict[str, str]] = {}
        self.dead: set[str] = set()
        self.last_trade = 77

    async def asked(self, request: dict[str, Any], say: Say) -> None:
        for product in request["product_ids"]:
            bids = self.bids.setdefault(product, {"1.00": "10"})
            if self.heals:
                self.dead.discard(product)
            if request["type"] == "subscribe" and "level2_batch" in request["channels"] and product not in self.dead:
                asks = [["1.10", "20"]]
                await say({"type": "snapshot", "product_id": product, "bids": list(bids.items()), "asks": asks})
            if request["type"] == "subscribe" and "matches" in request["channels"]:
                await say(self.match(product, "last_match"))
        await say({"type": "subscriptions", "channels": []})

    def match(self, product: str, kind: str = "match") -> dict[str, Any]:
        numbers = {"trade_id": self.last_trade, "sequence": 900 + self.seconds}
        return {
            "type": kind,
            "product_id": product,
            "side": "sell",
            "size": "1",
            "price": "1.05",
            "time": TIME,
            **numbers,
        }

    async def bid(self, say: Say, product: str, price: str, size: str) -> None:
        self.bids[product][price] = size
        if size == "0":
            del self.bids[product][price]
        if product not in self.dead:
            change = {"changes": [["buy", price, size]], "time": TIME}
            await say({"type": "l2update", "product_id": product, **change})

    async def second(self, say: Say) -> None:
        for product in self.bids:
            numbers = {"last_trade_id": self.last_trade, "sequence": 900 + self.seconds * self.moving}
            await say({"type": "heartbeat", "product_id": product, **numbers, "time": TIME})


def test_coinbase_heartbeats_say_that_nothing_changed() -> None:
    venue = Coinbase()
    (found,) = collect(venue, ("A-USD", "B-USD"), 700)
    assert [(one["kinds"], one["events"]) for one in found.values()] == [(["SNAPSHOT"], [])] * 2
    assert len(venue.requests) == 2, "one for each product, and nothing is asked for again"


class Moving(Coinbase):
    moving = True


def test_a_quiet_book_at_a_venue_that_does_not_say_so_is_compared_and_stays_valid() -> None:
    """Its product has messages, but not of a channel of ours."""
    venue = Moving()
    (found,) = collect(venue, ("A-USD", "B-USD"), 1000)
    for one in found.values():
        assert (one["kinds"], one["events"]) == (["SNAPSHOT"], ["quiet"] * 2)
        assert (one["invalidations"], one["resyncs"], one["lost"]) == (0, 0, 0)


class Dying(Moving):
    """A channel dies: the subscription is no more, but the product's heartbeats go on, and the book changes."""

    async def second(self, say: Say) -> None:
        await super().second(say)
        if self.seconds == 100:
            self.dead.add("A-USD")
        if self.seconds > 50:
            for product in self.bids:
                await self.bid(say, product, "1.00", str(self.seconds))


@pytest.mark.parametrize("heals", [True, False])
def test_a_dead_channel_is_noticed_behind_the_heartbeats(*, heals: bool) -> None:
    venue = Dying()
    venue.heals = heals
    before, after = collect(venue, ("A-USD", "B-USD"), 398, 445)
    assert before["A-USD"]["kinds"] == ["SNAPSHOT"]
    assert after["B-USD"]["kinds"] == ["SNAPSHOT"]
    assert [kind for kind in after["A-USD"]["events"] if kind != "resync"] == ["quiet", "silent"]
    assert after["A-USD"]["kinds"] == ["SNAPSHOT", "INVALID", *(["SNAPSHOT"] if heals else [])]


class Mute(Coinbase):
    """Nothing but answers to pings, from the second minute on."""

    async def asked(self, request: dict[str, Any], say: Say) -> None:
        if self.seconds < 60:
            await super().asked(request, say)

    async def second(self, say: Say) -> None:
        await say({"type": "status"})


def test_a_connection_that_says_nothing_of_any_book_is_given_up() -> None:
    early, late = collect(Mute(), ("A-USD", "B-USD"), 320, 600)
    for one in early.values():
        assert (one["kinds"], one["lost"]) == (["SNAPSHOT"], 0)
    for one in late.values():
        assert (one["kinds"], one["lost"]) == (["SNAPSHOT", "INVALID"], 1)


class Auction(Coinbase):
    """From 60 s to 660 s the book of a product is crossed.

    Attributes:
        silent: whether no updates come meanwhile.
        changes: whether it is uncrossed for every other second.
    """

    def __init__(self, *, begun: bool = False, silent: bool = False, changes: bool = False) -> None:
        super().__init__()
        self.silent = silent
        self.changes = changes
        if begun:
            self.bids["NEW-USD"] = {"1.00": "10", "1.20": "7"}

    async def second(self, say: Say) -> None:
        await super().second(say)
        if self.seconds == 660 and self.silent:
            del self.bids["NEW-USD"]["1.20"]
        elif self.seconds == 60:
            await self.bid(say, "NEW-USD", "1.20", "7.5")
        elif 60 < self.seconds < 660 and not self.silent:
            gone = self.changes and self.seconds % 2
            if not (gone and "1.20" not in self.bids["NEW-USD"]):
                await self.bid(say, "NEW-USD", "1.20", "0" if gone else str(self.seconds))
        elif self.seconds == 660:
            await self.bid(say, "NEW-USD", "1.20", "0")
        elif self.seconds > 660 and self.seconds % 10 == 0:
            await self.bid(say, "NEW-USD", "1.00", str(self.seconds))


@pytest.mark.parametrize("begun", [False, True])
def test_an_auction_is_no_damage(*, begun: bool) -> None:
    venue = Auction(begun=begun)
    during, after, long_after = collect(venue, ("NEW-USD", "OLD-USD"), 659, 661.5, 900)
    assert not during["NEW-USD"]["valid"]
    assert during["NEW-USD"]["resyncs"] <= 2
    assert after["NEW-USD"]["valid"], "it is back as soon as the venue has uncrossed it"
    assert long_after["NEW-USD"]["kinds"] == [*([] if begun else ["SNAPSHOT"]), "INVALID", "SNAPSHOT"]
    assert long_after["OLD-USD"]["kinds"] == ["SNAPSHOT"]
    assert len(venue.requests) <= 6


def test_an_auction_whose_updates_are_not_sent_ends_when_the_snapshot_shows_it() -> None:
    during, after = collect(Auction(silent=True), ("NEW-USD", "OLD-USD"), 659, 970)
    assert during["NEW-USD"]["resyncs"] == 2
    assert after["NEW-USD"]["kinds"] == ["SNAPSHOT", "INVALID", "SNAPSHOT"]
    assert after["NEW-USD"]["resyncs"] == 3


def test_an_auction_that_crosses_and_uncrosses_the_book_costs_the_venue_nothing() -> None:
    venue = Auction(changes=True)
    during, after = collect(venue, ("NEW-USD", "OLD-USD"), 659, 662)
    assert during["NEW-USD"]["resyncs"] <= 2
    assert len(during["NEW-USD"]["kinds"]) < 2 * 600
    assert after["NEW-USD"]["valid"]
    assert len(venue.requests) <= 5


class Losing(Coinbase):
    """Trades of a thin product; the one at 20 s is lost, and none follows before 60 s."""

    async def second(self, say: Say) -> None:
        if self.seconds in (10, 20, 60):
            self.last_trade += 1
            if self.seconds != 20:
                await say(self.match("A-USD"))
        await super().second(say)


def test_a_lost_trade_is_told_within_two_seconds_and_once() -> None:
    before, told, after = collect(Losing(), ("A-USD",), 20.5, 22.5, 100)
    assert [one["A-USD"]["trade_gaps"] for one in (before, told, after)] == [0, 1, 1]
    assert [one["A-USD"]["trades"] for one in (before, told, after)] == [2, 3, 4], "the channel's last match fills in"
    assert after["A-USD"]["events"] == ["trade_gap"]


class Kraken(Venue):
    """A busy book, a quiet one, heartbeats.

    Attributes:
        lies: whether the busy book's checksums are wrong.
    """

    name = "kraken"
    lies = False

    async def asked(self, request: dict[str, Any], say: Say) -> None:
        parameters = request["params"]
        for symbol in parameters.get("symbol", []):
            await say({"method": request["method"], "success": True, "result": {**parameters, "symbol": symbol}})
            if request["method"] == "subscribe" and parameters["channel"] == "book":
                await say(self.book(symbol, "snapshot", "1.0"))

    def book(self, symbol: str, kind: str, size: str) -> dict[str, Any]:
        checksum = crc32(b"101209910") if size == "1.0" else 1
        sides = {
            "bids": [{"price": 9.9, "qty": 1.0}],
            "asks": [{"price": 10.1, "qty": 2.0}] if kind == "snapshot" else [],
        }
        return {"channel": "book", "type": kind, "data": [{"symbol": symbol, **sides, "checksum": checksum}]}

    async def second(self, say: Say) -> None:
        await say({"channel": "heartbeat"}, self.book("BUSY/USD", "update", "2.0" if self.lies else "1.0"))


def test_krakens_heartbeats_prove_no_book_so_a_quiet_one_is_compared() -> None:
    (found,) = collect(Kraken(), ("QUIET-USD", "BUSY-USD"), 950)
    assert found["QUIET-USD"]["kinds"] == found["BUSY-USD"]["kinds"] == ["SNAPSHOT"]
    assert found["QUIET-USD"]["events"] == ["quiet"] * 2
    assert found["BUSY-USD"]["events"] == []


class Lying(Kraken):
    lies = True


def test_a_book_that_no_repair_helps_is_asked_for_ever_more_rarely() -> None:
    venue = Lying()
    tenth, later = collect(venue, ("QUIET-USD", "BUSY-USD"), 600, 1320)
    assert tenth["BUSY-USD"]["resyncs"] <= 20
    assert later["BUSY-USD"]["resyncs"] - tenth["BUSY-USD"]["resyncs"] <= 720 / 120
    assert later["QUIET-USD"]["kinds"] == ["SNAPSHOT"]


class Binance(Venue):
    """A quiet book, whose update id REST tells."""

    name = "binance"

    async def asked(self, request: dict[str, Any], say: Say) -> None:
        await say({"result": None, "id": request["id"]})

    async def second(self, say: Say) -> None:
        for symbol in ("QUIETUSDT", "BUSYUSDT"):
            if symbol == "BUSYUSDT" or self.seconds == 1:
                numbers = {"E": 1, "s": symbol, "U": 100 + self.seconds, "u": 100 + self.seconds}
                data = {"e": "depthUpdate", **numbers, "b": [["9.9", str(self.seconds)]], "a": []}
                await say({"stream": f"{symbol.lower()}@depth@100ms", "data": data})


@pytest.mark.parametrize("lost", [False, True])
def test_a_quiet_book_at_binance_is_compared_by_its_update_id(*, lost: bool) -> None:
    venue = Binance()
    asked = []

    async def answer(request: web.Request) -> web.StreamResponse:
        symbol = request.query["symbol"]
        asked.append((symbol, request.query["limit"]))
        number = 101 + lost * (venue.seconds > 100) if symbol == "QUIETUSDT" else 100 + venue.seconds
        return web.json_response({"lastUpdateId": number, "bids": [["9.8", "1"]], "asks": [["10.1", "1"]]})

    async def work() -> dict[str, dict[str, Any]]:
        async with websocket_venue(venue.talk) as url, rest_venue(answer) as rest:
            settings = VenueSettings(symbols=("QUIET-USDT", "BUSY-USDT"), websocket_url=url, rest_url=rest)
            async with live(load("binance"), settings) as it:
                await asyncio.sleep(400)
                return {symbol: {"kinds": it.kinds(symbol)} for symbol in settings.symbols}

    found = run(work(), sockets=True)
    assert found["QUIET-USDT"]["kinds"] == ["INVALID", "SNAPSHOT", *(["INVALID", "SNAPSHOT"] if lost else [])]
    assert found["BUSY-USDT"]["kinds"] == ["INVALID", "SNAPSHOT"]
    assert ("QUIETUSDT", "5") in asked


def test_the_venues_own_pings_prove_a_connection_on_which_nothing_else_comes() -> None:
    """The venue (the library's server) pings every 20 s, as Binance says it does."""

    async def answer(request: web.Request) -> web.StreamResponse:
        return web.json_response({"lastUpdateId": 101, "bids": [["9.8", "1"]], "asks": [["10.1", "1"]]})

    class Quiet(Binance):
        async def second(self, say: Say) -> None:
            if self.seconds == 1:
                await super().second(say)

    async def work() -> tuple[list[str], list[str]]:
        async with websocket_venue(Quiet().talk) as url, rest_venue(answer) as rest:
            settings = VenueSettings(symbols=("QUIET-USDT",), websocket_url=url, rest_url=rest)
            async with live(load("binance"), settings) as it:
                await asyncio.sleep(290)
                return it.kinds("QUIET-USDT"), [event.message for event in it.events("disconnected")]

    assert run(work(), sockets=True) == (["INVALID", "SNAPSHOT"], [])
