"""Several connections, and what becomes of them."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import pytest
from aiohttp import web
from websockets.asyncio.server import ServerConnection, serve
from websockets.exceptions import ConnectionClosed

from alphapulse.config import VenueSettings
from alphapulse.errors import ConfigError
from producers.collector import discovery as listing_module
from producers.collector import pool
from producers.feed.actions import Halt, Outputs, Reconnect
from producers.feed.venue import Limit
from producers.net.backoff import Backoff
from producers.registry import load
from producers.venues.coinbase.protocol import CoinbaseProtocol
from tests.fixtures.live import live, market
from tests.fixtures.venue_server import rest_venue, until, websocket_venue

SYMBOLS = tuple(f"A{number}-USD" for number in range(10))


class CoinbaseServer:
    """Answers subscriptions with snapshots and remembers what was asked for."""

    def __init__(self) -> None:
        self.connections: list[list[dict[str, Any]]] = []
        self.sockets: list[ServerConnection] = []
        self.deaf = False

    async def talk(self, socket: ServerConnection) -> None:
        heard: list[dict[str, Any]] = []
        self.connections.append(heard)
        self.sockets.append(socket)
        try:
            async for message in socket:
                if message == "ping":
                    heard.append({"type": "ping"})
                    continue
                request = json.loads(message)
                heard.append(request)
                if request["type"] == "subscribe" and not self.deaf:
                    for product in request["product_ids"]:
                        await socket.send(snapshot(product))
        except ConnectionClosed:
            return

    def subscribed(self) -> list[list[str]]:
        """Return the products each connection asked for."""
        asked = [[r for r in heard if r["type"] == "subscribe"] for heard in self.connections]
        return [sorted(product for request in requests for product in request["product_ids"]) for requests in asked]


def snapshot(product: str) -> str:
    return json.dumps({"type": "snapshot", "product_id": product, "bids": [["10.00", "1"]], "asks": [["11.00", "2"]]})


async def test_symbols_are_shared_among_connections_within_the_venues_limit() -> None:
    server = CoinbaseServer()
    async with websocket_venue(server.talk) as url:
        venue = replace(load("coinbase"), symbols_per_connection=4)
        async with live(venue, VenueSettings(symbols=SYMBOLS, websocket_url=url)) as it:
            await until(lambda: all(it.figures(symbol).get("valid") for symbol in SYMBOLS))
            assert sorted(map(len, server.subscribed())) == [3, 3, 4]
            assert len(it.collector.status()["connections"]) == 3
            await server.sockets[0].close()
            await until(lambda: it.events("disconnected"))
            await until(lambda: all(it.figures(symbol).get("valid") for symbol in SYMBOLS))
            lost = set(server.subscribed()[0])
            assert {symbol for symbol in SYMBOLS if "INVALID" in it.kinds(symbol)} == lost
            assert it.ready == [True], "the other connections stood"


async def test_connects_keep_to_the_limit() -> None:
    server = CoinbaseServer()
    async with websocket_venue(server.talk) as url:
        venue = replace(load("coinbase"), symbols_per_connection=1, connects=Limit(3, 0.5))
        async with live(venue, VenueSettings(symbols=SYMBOLS, websocket_url=url)) as it:
            await until(lambda: len(it.events("connected")) == len(SYMBOLS))
            times = sorted(event.time for event in it.events("connected"))
            assert all(late - early > 0.45e9 for early, late in zip(times, times[3:], strict=False))


async def test_an_added_symbol_takes_the_room_there_is_and_a_removed_one_leaves_the_rest() -> None:
    server = CoinbaseServer()
    async with websocket_venue(server.talk) as url:
        venue = replace(load("coinbase"), symbols_per_connection=3)
        settings = VenueSettings(symbols=SYMBOLS[:2], websocket_url=url)
        async with live(venue, settings) as it:
            await until(lambda: it.figures(SYMBOLS[1]).get("valid"))
            it.collector.reconfigure(settings.model_copy(update={"symbols": SYMBOLS[:5]}))
            await until(lambda: all(it.figures(symbol).get("valid") for symbol in SYMBOLS[:5]))
            assert sorted(map(len, server.subscribed())) == [2, 3]
            it.collector.reconfigure(settings.model_copy(update={"symbols": SYMBOLS[1:3]}))
            await until(lambda: it.events("connection_ended"))
            await until(lambda: it.kinds(SYMBOLS[0]) == ["SNAPSHOT", "INVALID"])
            assert it.kinds(SYMBOLS[1]) == it.kinds(SYMBOLS[2]) == ["SNAPSHOT"]
            await until(lambda: any(r["type"] == "unsubscribe" for r in server.connections[0]))
            await server.sockets[0].send(snapshot(SYMBOLS[0]))  # what still comes of it is not heard
            it.collector.reconfigure(settings.model_copy(update={"symbols": SYMBOLS[:3]}))
            await until(lambda: it.figures(SYMBOLS[0]).get("valid"))
            it.collector.reconfigure(settings.model_copy(update={"enabled": False}))
            await until(lambda: it.collector.status()["connections"] == [])
            await until(lambda: it.kinds(SYMBOLS[1]) == ["SNAPSHOT", "INVALID"])
            assert it.ready == [True, False]


async def test_what_the_venue_does_not_offer_is_refused_and_nothing_changes() -> None:
    server = CoinbaseServer()
    async with websocket_venue(server.talk) as url:
        settings = VenueSettings(symbols=SYMBOLS[:1], websocket_url=url)
        async with live(load("coinbase"), settings) as it:
            await until(lambda: it.figures(SYMBOLS[0]).get("valid"))
            with pytest.raises(ConfigError, match="cannot be set for this venue"):
                it.collector.reconfigure(settings.model_copy(update={"depth": 5, "symbols": ()}))
            assert it.collector.settings == settings
            assert it.figures(SYMBOLS[0])["valid"]


async def test_where_one_connection_is_allowed_it_ends_before_the_next_begins() -> None:
    server = CoinbaseServer()
    open_at_once = []

    async def talk(socket: ServerConnection) -> None:
        open_at_once.append(sum(s.state.name == "OPEN" for s in server.sockets) + 1)
        await server.talk(socket)

    async with websocket_venue(talk) as url:
        venue = replace(load("coinbase"), connections_limit=1)
        settings = VenueSettings(symbols=SYMBOLS[:2], websocket_url=url, reconnect_hours=0.4 / 3600)
        async with live(venue, settings) as it:
            await until(lambda: len(it.events("connected")) >= 3)
            assert set(open_at_once) == {1}
            assert it.events("replacing") == []


class Wordy(CoinbaseProtocol):
    """Asks for a new connection, or for none, when told to."""

    def receive(self, frame: bytes | str, received_time: int) -> Outputs:
        if frame == b'"halt"':
            return [Halt("wrong key")]
        if frame == b'"reconnect"':
            return [Reconnect("useless")]
        return super().receive(frame, received_time)


async def test_a_halted_connection_stays_closed_and_says_why() -> None:
    server = CoinbaseServer()
    async with websocket_venue(server.talk) as url:
        venue = replace(load("coinbase"), protocol=Wordy)
        async with live(venue, VenueSettings(symbols=SYMBOLS[:1], websocket_url=url)) as it:
            await until(lambda: it.figures(SYMBOLS[0]).get("valid"))
            await server.sockets[0].send('"halt"')
            await until(lambda: it.ready == [True, False])
            await until(lambda: it.kinds(SYMBOLS[0]) == ["SNAPSHOT", "INVALID"] and it.events("disconnected"))
            assert it.events("halted")[0].message == "wrong key"
            assert it.collector.status()["connections"][0]["halted"] == "wrong key"
            assert len(server.connections) == 1
            # A changed configuration is worth another try.
            settings = it.collector.settings
            it.collector.reconfigure(settings.model_copy(update={"rest_url": "http://127.0.0.1:1"}))
            await until(lambda: it.figures(SYMBOLS[0]).get("valid") and it.ready == [True, False, True])


async def test_a_venue_that_never_likes_its_connections_is_asked_ever_more_slowly() -> None:
    lives = 0

    async def talk(socket: ServerConnection) -> None:
        nonlocal lives
        lives += 1
        await socket.send('"reconnect"')
        await socket.wait_closed()

    async with websocket_venue(talk) as url:
        venue = replace(load("coinbase"), protocol=Wordy, connects=Limit(5, 60.0))
        async with live(venue, VenueSettings(symbols=SYMBOLS[:1], websocket_url=url)) as it:
            await until(lambda: lives == 5)
            assert it.collector.status()["frames"] <= 10


async def test_an_old_connection_stays_when_no_new_one_can_be_had(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pool, "HANDOVER_SECONDS", 0.3)
    server = CoinbaseServer()
    refuse = False

    async def talk(socket: ServerConnection) -> None:
        if refuse:
            await socket.close(1013, "full")
            return
        await server.talk(socket)

    def gate(connection: ServerConnection, request: Any) -> Any:
        return connection.respond(503, "full") if refuse else None

    async with serve(talk, "127.0.0.1", 0, compression=None, process_request=gate) as listening:
        url = f"ws://127.0.0.1:{next(iter(listening.sockets)).getsockname()[1]}"
        settings = VenueSettings(symbols=SYMBOLS[:1], websocket_url=url, reconnect_hours=0.3 / 3600)
        async with live(load("coinbase"), settings) as it:
            await until(lambda: it.figures(SYMBOLS[0]).get("valid"))
            refuse = True
            await until(lambda: it.events("replace_failed"))
            assert it.kinds(SYMBOLS[0]) == ["SNAPSHOT"]
            assert it.collector.connected
            refuse = False
            await until(lambda: it.events("replaced"))
            assert "INVALID" not in it.kinds(SYMBOLS[0])


async def test_pings_go_as_text_where_the_venue_wants_it() -> None:
    server = CoinbaseServer()
    async with websocket_venue(server.talk) as url:
        venue = replace(load("coinbase"), text_ping="ping", ping_seconds=0.05)
        async with live(venue, VenueSettings(symbols=SYMBOLS[:1], websocket_url=url)):
            await until(lambda: sum(r["type"] == "ping" for heard in server.connections for r in heard) >= 3)


async def test_a_list_of_instruments_that_cannot_be_had_is_told_and_tried_again(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(listing_module, "Backoff", lambda **_: Backoff(base=0.01, cap=0.02))
    answers = [web.Response(status=500), web.Response(text="no list"), web.Response(text='[{"id":"A1-USD"}]')]

    async def answer(request: web.Request) -> web.StreamResponse:
        assert request.path == "/products"
        return answers.pop(0)

    server = CoinbaseServer()
    async with websocket_venue(server.talk) as url, rest_venue(answer) as rest:
        settings = VenueSettings(symbols=("A0-USD", "*1-USD"), websocket_url=url, rest_url=rest)
        async with live(load("coinbase"), settings) as it:
            await until(lambda: it.figures("A1-USD").get("valid"))
            assert len(it.events("listing_failed")) == 2
            assert it.kinds("A0-USD") == ["SNAPSHOT"], "what is named does not wait for the list"


async def test_what_the_venue_trades_and_cannot_be_named_is_told_once() -> None:
    async def answer(request: web.Request) -> web.StreamResponse:
        return web.Response(text='[{"id":"A1-USD"},{"id":"$-USD"},{"id":"A_B-USD"}]')

    server = CoinbaseServer()
    async with websocket_venue(server.talk) as url, rest_venue(answer) as rest:
        settings = VenueSettings(symbols=("*-USD",), websocket_url=url, rest_url=rest)
        async with live(load("coinbase"), settings) as it:
            await until(lambda: it.figures("A1-USD").get("valid"))
            it.collector.reconfigure(settings.model_copy(update={"symbols": ("*-USD", "B-*")}))  # asks for the list
            await until(lambda: any("B-*" in event.message for event in it.events("symbols_resolved")))
            (event,) = it.events("symbols_left_out")
            assert (event.severity, event.venue) == ("WARNING", "coinbase")
            assert "2 instruments" in event.message
            assert event.message.endswith("'$-USD', 'A_B-USD'")
            assert it.collector.status()["left_out"] == ["$-USD", "A_B-USD"]


async def test_symbols_of_any_script_are_collected() -> None:
    symbol = "币安人生-USDT"
    async with market("binance", symbol) as there, live(load("binance"), there.settings("*-USDT")) as it:
        await until(lambda: it.figures(symbol).get("valid") and it.trades(symbol))
        await there.agrees(it, [symbol])


async def test_a_venue_without_a_list_says_that_patterns_cannot_be_resolved() -> None:
    server = CoinbaseServer()
    async with websocket_venue(server.talk) as url:
        venue = replace(load("coinbase"), listing=None)
        async with live(venue, VenueSettings(symbols=("*-USD",), websocket_url=url)) as it:
            await until(lambda: it.events("listing_failed"))
            assert (
                it.events("listing_failed")[0].message
                == "coinbase has no list of instruments for patterns; list the symbols"
            )


async def test_epochs_rise_even_when_the_machines_clock_goes_back() -> None:
    server = CoinbaseServer()
    async with (
        websocket_venue(server.talk) as url,
        live(load("coinbase"), VenueSettings(symbols=SYMBOLS[:1], websocket_url=url)) as it,
    ):
        await until(lambda: it.figures(SYMBOLS[0]).get("valid"))
        it.collector.clock.source = lambda: 5
        await server.sockets[0].close()
        await until(lambda: it.kinds(SYMBOLS[0]) == ["SNAPSHOT", "INVALID", "SNAPSHOT"])
        first, _, second = it.l2(SYMBOLS[0])
        assert second.epoch > first.epoch


async def test_a_change_during_a_handover_is_not_forgotten() -> None:
    server = CoinbaseServer()
    async with websocket_venue(server.talk) as url, websocket_venue(server.talk) as other, rest_venue(nothing) as rest:
        settings = VenueSettings(symbols=SYMBOLS[:1], websocket_url=url, rest_url=rest)
        async with live(load("coinbase"), settings) as it:
            await until(lambda: it.figures(SYMBOLS[0]).get("valid"))
            it.collector.reconfigure(settings.model_copy(update={"instrument_silence_seconds": 99.0}))
            await until(lambda: it.events("replacing"))
            it.collector.reconfigure(settings.model_copy(update={"websocket_url": other}))
            await until(lambda: len(it.events("replaced")) == 2)
            assert it.events("connected")[-1].message == f"connected to {other}"
            assert it.kinds(SYMBOLS[0]) == ["SNAPSHOT"] * 3
            await until(lambda: len(it.collector.shards) == 1)
            it.collector.reconfigure(settings.model_copy(update={"websocket_url": other, "connections": 3}))
            assert len(it.collector.shards) == 1, "nothing that a connection would have to be replaced for"


async def nothing(request: web.Request) -> web.StreamResponse:
    return web.Response(status=404)
