"""The client's I/O against a scripted gateway on loopback."""

from __future__ import annotations

import asyncio
import socket
from http import HTTPStatus
from itertools import islice

import pytest
from websockets.asyncio.server import ServerConnection
from websockets.http11 import Request as HttpRequest
from websockets.http11 import Response

from alphapulse.client import (
    Client,
    ClientClosed,
    ClientError,
    ConnectionRefused,
    CredentialsRefused,
    Disconnected,
    FeedMessage,
    Gap,
    OperationRefused,
    Subscription,
    Trades,
)
from alphapulse.client.wire import Encoding
from tests.integration.client.scripted import KRAKEN, Peer, at_last, forever, scripted


async def first(subscription: Subscription, count: int) -> list[FeedMessage]:
    """Return the next ``count`` messages."""
    async with asyncio.timeout(30):
        return [await anext(subscription) for _ in range(count)]


def numbers(messages: list[FeedMessage]) -> list[int]:
    return [int(trade.id) for message in messages if isinstance(message, Trades) for trade in message.trades]


@pytest.mark.parametrize("encoding", ["json", "msgpack"])
async def test_messages_come_as_an_iterator(encoding: Encoding) -> None:
    async def script(peer: Peer) -> None:
        await peer.hello()
        await peer.accept()
        for number in range(3):
            await peer.trades(number)
        await forever(peer)

    async with scripted(script) as gateway, Client(gateway.url, encoding=encoding) as client:
        trades = client.subscribe("trades", venue="kraken", symbol="BTC-USD")
        await trades.confirmed()
        found = []
        async for message in trades:
            found.append(message)
            if len(found) == 3:
                break
        assert numbers(found) == [0, 1, 2]
        assert client.gateway_time() is not None
        assert client.counters["messages"] == 5
    with pytest.raises(ClientClosed):
        await anext(trades)


async def test_a_lost_connection_is_made_again_and_continued() -> None:
    async def script(peer: Peer) -> None:
        await peer.hello()
        asked = await peer.accept(recovered=True if peer.number == 2 else None)
        if peer.number == 1:
            await peer.trades(1)
            peer.connection.transport.abort()
            return
        assert asked["since"] == [KRAKEN | {"trade_id": "1"}]
        await peer.trades(2)
        await forever(peer)

    async with scripted(script) as gateway, Client(gateway.url) as client:
        assert numbers(await first(client.subscribe("trades", venue="kraken", symbol="BTC-USD"), 2)) == [1, 2]
        assert gateway.connections == 2


async def test_what_is_not_recovered_is_told() -> None:
    async def script(peer: Peer) -> None:
        await peer.hello()
        await peer.accept(recovered=False if peer.number == 2 else None)
        await peer.trades(peer.number * 10)
        if peer.number == 1:
            await peer.connection.close(3008, "too slow")
        await forever(peer)

    async with scripted(script) as gateway, Client(gateway.url) as client:
        messages = await first(client.subscribe("trades", venue="kraken", symbol="BTC-USD"), 3)
        assert [type(message) for message in messages] == [Trades, Gap, Trades]


async def test_a_slow_user_stops_the_reading_and_loses_nothing() -> None:
    sent = 0

    async def script(peer: Peer) -> None:
        nonlocal sent
        await peer.hello()
        await peer.accept()
        for number in range(2_000):
            # More than the buffers of sockets on loopback hold, by far.
            await peer.trades(*range(number * 100, number * 100 + 100))
            sent = number
        await forever(peer)

    async with scripted(script, write_limit=4096) as gateway, Client(gateway.url, queue_size=4) as client:
        trades = client.subscribe("trades", venue="kraken", symbol="BTC-USD")
        await trades.confirmed()
        before = -1
        while before != sent:
            before = sent
            await asyncio.sleep(0.1)
        assert sent < 1_999, "the gateway feels that the user does not read"
        assert numbers(await first(trades, 2_000)) == list(range(200_000))


async def test_the_last_messages_before_a_close_reach_a_slow_user() -> None:
    async def script(peer: Peer) -> None:
        await peer.hello()
        asked = await peer.accept(recovered=True)
        last = int(asked["since"][0]["trade_id"]) if "since" in asked else 0
        for number in range(last + 1, last + 101):
            await peer.trades(number)
        await peer.connection.close(3008, "too slow")

    async with scripted(script) as gateway, Client(gateway.url, queue_size=2) as client:
        trades = client.subscribe("trades", venue="kraken", symbol="BTC-USD")
        found: list[int] = []
        while len(found) < 300:
            found += numbers(await first(trades, 10))
            await asyncio.sleep(0.001)
        assert found == list(range(1, 301))


async def test_tokens_are_sent_in_band_and_refreshed() -> None:
    tokens = iter(("one", "two", "three"))
    heard = []

    async def token() -> str:
        return next(tokens)

    async def authenticate(peer: Peer) -> None:
        asked = await peer.heard()
        heard.append(asked["token"])
        await peer.say(type="authenticated", id=asked["id"], identity="desk", scopes=[], expires=5)

    async def script(peer: Peer) -> None:
        await peer.hello("required")
        await authenticate(peer)
        await peer.accept()
        if peer.number == 1:
            await peer.say(type="token_expiring", expires=5)
            await authenticate(peer)
            await peer.connection.close(3000, "token expired")
        else:
            await peer.trades(1)
        await forever(peer)

    async with scripted(script) as gateway, Client(gateway.url, token=token) as client:
        messages = await first(client.subscribe("trades", venue="kraken", symbol="BTC-USD"), 1)
        assert isinstance(messages[0], (Trades, Gap))
        assert heard == ["one", "two", "three"]


@pytest.mark.parametrize("token", ["wrong", lambda: "wrong"])
async def test_a_refused_token_ends_the_client(token: str) -> None:
    async def script(peer: Peer) -> None:
        await peer.hello("required")
        await peer.heard()
        await peer.connection.close(3000, "token: not valid")

    async with scripted(script) as gateway, Client(gateway.url, token=token) as client:
        trades = client.subscribe("trades", venue="kraken", symbol="BTC-USD")
        with pytest.raises(CredentialsRefused):
            await anext(trades)
        with pytest.raises(CredentialsRefused):
            client.subscribe("stats", venue="kraken", symbol="BTC-USD")


async def test_a_token_refused_in_an_answer_ends_the_client_too() -> None:
    async def script(peer: Peer) -> None:
        await peer.hello("required")
        asked = await peer.heard()
        await peer.say(type="error", id=asked["id"], code="unauthorized", message="token: not valid")
        await forever(peer)

    async with scripted(script) as gateway, Client(gateway.url, token="wrong") as client:
        with pytest.raises(CredentialsRefused, match="token: not valid"):
            await anext(client.subscribe("trades", venue="kraken", symbol="BTC-USD"))


async def test_a_gateway_that_requires_a_token_says_so() -> None:
    async def script(peer: Peer) -> None:
        await peer.hello("required")
        await forever(peer)

    async with scripted(script) as gateway, Client(gateway.url) as client:
        trades = client.subscribe("trades", venue="kraken", symbol="BTC-USD")
        with pytest.raises(CredentialsRefused, match="requires a token"):
            await anext(trades)


async def test_what_the_tokens_callback_raises_ends_the_client() -> None:
    def token() -> str:
        raise LookupError("no vault")

    async def script(peer: Peer) -> None:
        await peer.hello("required")
        await forever(peer)

    async with scripted(script) as gateway, Client(gateway.url, token=token) as client:
        with pytest.raises(ClientError, match="no vault"):
            await anext(client.subscribe("trades", venue="kraken", symbol="BTC-USD"))


async def test_a_refused_subscription_raises_where_it_is_read_and_others_go_on() -> None:
    async def script(peer: Peer) -> None:
        await peer.hello()
        asked = await peer.heard()
        await peer.say(type="error", id=asked["id"], code="unknown_instrument", message="symbol: no X")
        await peer.accept()
        await peer.trades(1)
        await forever(peer)

    async with scripted(script) as gateway, Client(gateway.url) as client:
        wrong = client.subscribe("book", venue="kraken", symbol="X")
        trades = client.subscribe("trades", venue="kraken", symbol="BTC-USD")
        with pytest.raises(OperationRefused, match="unknown_instrument: symbol: no X"):
            await anext(wrong)
        with pytest.raises(OperationRefused):
            await wrong.confirmed()
        assert numbers(await first(trades, 1)) == [1]


async def test_a_wait_that_is_given_up_loses_no_message() -> None:
    async def script(peer: Peer) -> None:
        await peer.hello()
        await peer.accept()
        for number in range(300):
            await peer.trades(number)
            await asyncio.sleep(0)
        await forever(peer)

    async with scripted(script) as gateway, Client(gateway.url) as client:
        trades = client.subscribe("trades", venue="kraken", symbol="BTC-USD")
        found: list[int] = []
        while len(found) < 300:
            waiting = asyncio.ensure_future(anext(trades))
            await asyncio.sleep(0)
            waiting.cancel()
            result = (await asyncio.gather(waiting, return_exceptions=True))[0]
            if isinstance(result, Trades):
                found += numbers([result])
        assert found == list(range(300))


async def test_closing_a_subscription_ends_its_iteration() -> None:
    async def script(peer: Peer) -> None:
        await peer.hello()
        await peer.accept()
        await peer.trades(1)
        assert (await peer.heard())["op"] == "unsubscribe"
        await peer.accept()
        await peer.trades(2)
        await forever(peer)

    async with scripted(script) as gateway, Client(gateway.url) as client:
        trades = client.subscribe("trades", venue="kraken", symbol="BTC-USD")
        async for _ in trades:
            trades.close()
        again = client.subscribe("trades", venue="kraken", symbol="BTC-USD")
        assert numbers(await first(again, 1)) == [2]


async def test_a_subscription_without_messages_keeps_books_and_stops_nobody() -> None:
    async def script(peer: Peer) -> None:
        await peer.hello()
        await peer.accept()
        head = {"channel": "book", "epoch": "1", "time": 1, "asks": []} | KRAKEN
        await peer.say(type="snapshot", sequence=0, valid=True, reason=None, bids=[["1", "1"]], **head)
        for n in range(100):
            await peer.say(type="delta", previous_sequence=n, sequence=n + 1, bids=[[str(n + 2), "1"]], **head)
        await forever(peer)

    async with scripted(script) as gateway, Client(gateway.url, queue_size=1) as client:
        silent = client.subscribe("book", venue="kraken", symbol="BTC-USD", messages=False)
        book = client.book("kraken", "BTC-USD")
        await at_last(lambda: book.sequence == 100)
        assert [level.price for level in islice(book.bids, 2)] == ["101", "100"]
        with pytest.raises(ClientError, match="messages=False"):
            await anext(silent)
        with pytest.raises(ClientError, match="no subscription covers l2 kraken BTC-USD"):
            client.book("kraken", "BTC-USD", channel="l2")


async def test_snapshots_on_demand() -> None:
    async def script(peer: Peer) -> None:
        await peer.hello()
        asked = await peer.heard()
        assert (asked["op"], asked["channel"]) == ("snapshot", "trades")
        await peer.say(type="snapshot", channel="trades", id=asked["id"], trades=[], **KRAKEN)
        await peer.say(type="done", id=asked["id"], feeds=1)
        asked = await peer.heard()
        await peer.say(type="error", id=asked["id"], code="forbidden", message="no")
        await peer.heard()
        peer.connection.transport.abort()

    async with scripted(script) as gateway, Client(gateway.url) as client:
        (found,) = await client.snapshot("trades", venue="kraken", symbol="BTC-USD")
        assert (found.channel, found.venue) == ("trades", "kraken")
        with pytest.raises(OperationRefused, match="forbidden"):
            await client.snapshot("trades", venue="kraken", symbol="BTC-USD")
        with pytest.raises(Disconnected):
            await client.snapshot("trades", venue="kraken", symbol="BTC-USD")


async def test_a_gateway_that_catches_up_is_waited_for() -> None:
    refused = 0

    def refuse(connection: ServerConnection, _: HttpRequest) -> Response | None:
        nonlocal refused
        if refused == 2:
            return None
        refused += 1
        return connection.respond(HTTPStatus.SERVICE_UNAVAILABLE, '{"code":"catching_up"}')

    async def script(peer: Peer) -> None:
        await peer.hello()
        await forever(peer)

    async with scripted(script, process_request=refuse) as gateway, Client(gateway.url):
        assert gateway.connections == 1
        assert refused == 2


async def test_a_handshake_refused_for_good_raises_at_once() -> None:
    def refuse(connection: ServerConnection, _: HttpRequest) -> Response:
        return connection.respond(HTTPStatus.NOT_FOUND, "no such path")

    async with scripted(forever, process_request=refuse) as gateway:
        with pytest.raises(ConnectionRefused, match="404"):
            await Client(gateway.url).__aenter__()


async def test_no_gateway_in_time_is_told_with_the_reason() -> None:
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    with pytest.raises(Disconnected, match=r"no connection in 0\.5 s"):
        await Client(f"ws://127.0.0.1:{port}/ws/v2", open_timeout=0.5).__aenter__()


async def test_a_silent_connection_is_replaced() -> None:
    async def script(peer: Peer) -> None:
        await peer.hello(heartbeat_ms=1 if peer.number == 1 else 60_000)
        await peer.accept()
        if peer.number == 2:
            await peer.trades(2)
        await forever(peer)

    async with scripted(script) as gateway, Client(gateway.url) as client:
        assert [
            type(message) for message in await first(client.subscribe("trades", venue="kraken", symbol="BTC-USD"), 2)
        ] == [Gap, Trades]
        assert gateway.connections == 2


def test_arguments_are_checked() -> None:
    with pytest.raises(ValueError, match="encoding: 'xml' unknown; known: json, msgpack"):
        Client("ws://localhost", encoding="xml")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="queue_size"):
        Client("ws://localhost", queue_size=0)
