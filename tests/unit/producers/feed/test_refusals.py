"""What each venue refuses, in its own words, and in collectors at work."""

from __future__ import annotations

import asyncio
import json
from typing import Any
from zlib import crc32

import pytest
from websockets.asyncio.server import ServerConnection, serve

from alphapulse.config import VenueSettings
from producers.feed.actions import Note, Output, Send
from producers.feed.protocol import VenueProtocol
from producers.registry import load
from tests.fixtures.conversation import Conversation, made
from tests.fixtures.live import live, market
from tests.fixtures.venue_server import until, websocket_venue
from tests.fixtures.virtual_time import run


def hear(protocol: VenueProtocol, **message: Any) -> list[Output]:
    return protocol.receive(json.dumps(message).encode(), 1)


def sent(outputs: list[Output]) -> list[Any]:
    return [json.loads(output.text) for output in outputs if isinstance(output, Send)]


def refused(outputs: list[Output]) -> list[tuple[str | None, str | None]]:
    return [
        (output.symbol, output.details.get("channels"))
        for output in outputs
        if isinstance(output, Note) and output.kind == "subscription_refused"
    ]


def retries(protocol: VenueProtocol, seconds: int = 30) -> list[Any]:
    return [message for now in range(seconds) for message in sent(protocol.retry(now))]


@pytest.mark.parametrize("venue", ["coinbase", "coinbase_advanced"])
@pytest.mark.parametrize("others", [["BTC-USD", "ETH-USD"], [f"A{number}-USD" for number in range(9)]])
def test_one_unknown_product_does_not_keep_the_others_out(venue: str, others: list[str]) -> None:
    it = Conversation(venue, [*others, "GONE-USD"], ["GONE-USD"])
    assert it.complete, "without waiting: the refusal names it"
    assert it.told() == {"GONE-USD"}
    assert {*it.protocol.refusals()} == {"GONE-USD"}
    assert it.protocol.unwatched() == {"GONE-USD"}, "its silence is no news"


def test_a_product_is_not_taken_for_one_whose_name_it_begins() -> None:
    protocol = made("coinbase", ["BTC-USD", "BTC-USDT", "ETH-USD", "SOL-USD", "ADA-USD"])
    protocol.subscribe()
    outputs = hear(protocol, type="error", message="Failed to subscribe", reason="BTC-USDT is not a valid product")
    assert [symbol for symbol, _ in refused(outputs)] == ["BTC-USDT"]
    assert sent(outputs)[0]["product_ids"] == ["BTC-USD", "ETH-USD", "SOL-USD", "ADA-USD"]


def test_a_repair_that_is_refused_is_asked_for_again_with_its_own_channel() -> None:
    it = Conversation("coinbase", ["BTC-USD", "ETH-USD"])
    it.refusals = 1
    it.act(list(it.protocol.resubscribe("ETH-USD")))
    assert it.told() == {"ETH-USD"}
    assert it.protocol.refusals() == {
        "ETH-USD": {"level2_batch": "Failed to subscribe: Too many subscriptions; try again"}
    }
    it.go_on(3)
    assert it.complete
    assert it.protocol.refusals() == {}


def test_a_refused_book_is_not_taken_for_granted_because_its_trades_are() -> None:
    it = Conversation("coinbase", ["BTC-USD", "ETH-USD"])
    it.refusals = 1
    it.act(list(it.protocol.resubscribe("ETH-USD")))
    it.disconnect()
    it.connect()
    assert {*it.protocol.refusals()} == {"ETH-USD"}
    it.go_on(3)
    assert it.complete


def test_kraken_names_the_request_where_it_names_no_symbol() -> None:
    protocol = made("kraken", ["BTC-USD", "ETH-USD"])
    requests = sent(list(protocol.subscribe()))
    trades = next(request for request in requests if request["params"]["channel"] == "trade")
    outputs = hear(protocol, method="subscribe", success=False, error="Exceeded msg rate", req_id=trades["req_id"])
    assert refused(outputs) == [(None, "trade")]
    (again,) = retries(protocol, 3)
    assert again["params"] == {"channel": "trade", "symbol": ["BTC/USD", "ETH/USD"], "snapshot": False}


def test_krakens_precisions_are_asked_for_again_too() -> None:
    protocol = made("kraken", ["BTC-USD"])
    number = sent(list(protocol.subscribe()))[0]["req_id"]
    outputs = hear(protocol, method="subscribe", success=False, error="Exceeded msg rate", req_id=number)
    assert refused(outputs) == [(None, "instrument")]
    assert retries(protocol, 3)[0]["params"] == {"channel": "instrument", "snapshot": True}
    hear(protocol, channel="instrument", type="snapshot", data={"assets": [], "pairs": []})
    assert protocol.refusals() == {}


def test_what_was_subscribed_to_already_is_no_refusal() -> None:
    protocol = made("kraken", ["BTC-USD"])
    protocol.subscribe()
    error = {"method": "subscribe", "success": False, "error": "Already subscribed", "symbol": "BTC/USD"}
    assert [hear(protocol, **error) for _ in range(2)] == [[], []]
    assert protocol.refusals() == {}


@pytest.mark.parametrize(
    ("message", "expected"),
    [
        (
            {"code": "60018", "msg": "Wrong URL or channel:trades,instId:ETH-USDT doesn't exist."},
            ("ETH-USDT", "trades"),
        ),
        ({"code": "60018", "msg": "?", "arg": {"channel": "trades", "instId": "BTC-USDT"}}, ("BTC-USDT", "trades")),
        ({"code": "50001", "msg": "Service temporarily unavailable."}, ("ETH-USDT", "books")),
        ({"code": "60014", "msg": "Requests too frequent"}, (None, "books, trades")),
    ],
)
def test_okx_refuses_an_argument_or_a_request(message: dict[str, Any], expected: tuple[str | None, str]) -> None:
    protocol = made("okx", ["BTC-USDT", "ETH-USDT"])
    protocol.subscribe()
    hear(protocol, event="subscribe", arg={"channel": "books", "instId": "BTC-USDT"})
    assert refused(hear(protocol, event="error", **message)) == [expected]
    assert retries(protocol, 3)


def test_binance_lists_what_it_left_out() -> None:
    protocol = made("binance", ["BTC-USDT", "ETH-USDT"])
    protocol.subscribe()
    (listing,) = retries(protocol, 2)
    assert listing["method"] == "LIST_SUBSCRIPTIONS"
    there = ["btcusdt@depth@100ms", "btcusdt@trade", "ethusdt@depth@100ms"]
    assert refused(hear(protocol, result=there, id=listing["id"])) == [("ETH-USDT", "trade")]
    (again,) = retries(protocol, 4)
    assert (again["method"], again["params"]) == ("SUBSCRIBE", ["ethusdt@trade"])
    hear(protocol, result=None, id=again["id"])
    (listing,) = retries(protocol, 2)
    hear(protocol, result=[*there, "ethusdt@trade"], id=listing["id"])
    assert protocol.refusals() == {}


def test_a_bad_name_in_the_address_does_not_keep_the_others_out() -> None:
    def gate(connection: ServerConnection, request: Any) -> Any:
        return connection.respond(400, "Malformed stream") if "bad" in request.path else None

    async def talk(socket: ServerConnection) -> None:
        async for text in socket:
            heard.append(json.loads(text))
            if "bad" in str(text):
                await socket.send(json.dumps({"error": {"code": 2, "msg": "Invalid request"}, "id": heard[-1]["id"]}))
            else:
                await socket.send(json.dumps({"result": None, "id": heard[-1]["id"]}))

    heard: list[dict[str, Any]] = []

    async def work() -> None:
        async with serve(talk, "127.0.0.1", 0, compression=None, process_request=gate) as listening:
            url = f"ws://127.0.0.1:{next(iter(listening.sockets)).getsockname()[1]}"
            symbols = ("A1-USDT", "A2-USDT", "BAD-USDT", "A3-USDT")
            async with live(load("binance"), VenueSettings(symbols=symbols, websocket_url=url)) as it:
                await until(lambda: "BAD-USDT" in it.collector.status()["refused"], 60.0)
                await asyncio.sleep(5.0)
                accepted = {name for m in heard for name in m.get("params", ()) if "bad" not in str(m["params"])}
                assert {name.partition("@")[0] for name in accepted} == {"a1usdt", "a2usdt", "a3usdt"}
                assert "400" in it.events("subscription_refused")[0].message

    run(work(), sockets=True)


def test_a_collector_collects_all_but_the_product_that_is_gone() -> None:
    async def work() -> None:
        async with (
            market("coinbase", "BTC-USD", "ETH-USD") as there,
            live(load("coinbase"), there.settings("BTC-USD", "ETH-USD", "GONE-USD")) as it,
        ):
            await until(lambda: it.figures("BTC-USD").get("valid") and it.figures("ETH-USD").get("valid"))
            (event, *_) = it.events("subscription_refused")
            assert event.symbol == "GONE-USD"
            assert event.details["channels"] == "level2_batch, matches, heartbeat"
            assert not it.figures("GONE-USD")["valid"]
            assert {*it.collector.status()["refused"]} == {"GONE-USD"}

    asyncio.run(work())


Talk = Any


def kraken_that_refuses_trades_once() -> Talk:
    digits = "101" + "200000000" + "99" + "100000000"
    refusals = iter([True])

    async def talk(socket: ServerConnection) -> None:
        trades = asyncio.create_task(asyncio.sleep(0))
        async for text in socket:
            request = json.loads(text)
            channel = request["params"]["channel"]
            if channel == "instrument":
                pair = {"symbol": "BTC/USD", "price_precision": 1, "qty_precision": 8}
                await socket.send(json.dumps({"channel": channel, "data": {"pairs": [pair]}}))
                continue
            head = {"method": request["method"], "time_in": "x", "time_out": "y"}
            if channel == "trade" and next(refusals, False):
                refusal = {"error": "Exceeded msg rate", "success": False, "symbol": "BTC/USD"}
                await socket.send(json.dumps({**head, **refusal}))
                continue
            await socket.send(
                json.dumps({**head, "result": {"channel": channel, "symbol": "BTC/USD"}, "success": True})
            )
            if channel == "book":
                levels = '"bids":[{"price":9.9,"qty":1.00000000}],"asks":[{"price":10.1,"qty":2.00000000}]'
                book = f'{{"symbol":"BTC/USD",{levels},"checksum":{crc32(digits.encode())}}}'
                await socket.send(f'{{"channel":"book","type":"snapshot","data":[{book}]}}')
            else:
                trades.cancel()
                trades = asyncio.create_task(_trade(socket))

    async def _trade(socket: ServerConnection) -> None:
        trade = {"symbol": "BTC/USD", "side": "buy", "price": 10.0, "qty": 0.5, "timestamp": "2026-09-01T00:00:00Z"}
        for number in range(100):
            await asyncio.sleep(1)
            await socket.send(
                json.dumps({"channel": "trade", "type": "update", "data": [{**trade, "trade_id": number}]})
            )

    return talk


def okx_that_refuses_trades_once() -> Talk:
    refusals = iter([True])

    async def talk(socket: ServerConnection) -> None:
        async for text in socket:
            if text == "ping":
                await socket.send("pong")
                continue
            for argument in json.loads(text)["args"]:
                if argument["channel"] == "trades" and next(refusals, False):
                    await socket.send('{"event":"error","code":"50001","msg":"Service temporarily unavailable."}')
                    continue
                await socket.send(json.dumps({"event": "subscribe", "arg": argument}))
                if argument["channel"] == "books":
                    book = {"bids": [["9.9", "1", "0", "1"]], "asks": [["10.1", "2", "0", "1"]], "ts": "1790000000000"}
                    data = [{**book, "seqId": 1, "prevSeqId": -1}]
                    await socket.send(json.dumps({"arg": argument, "action": "snapshot", "data": data}))
                else:
                    for number in range(20):
                        trade = {"px": "10", "sz": "1", "side": "buy", "ts": "1790000000000", "tradeId": str(number)}
                        data = [{**trade, "instId": argument["instId"]}]
                        await socket.send(json.dumps({"arg": argument, "data": data}))

    return talk


@pytest.mark.parametrize(
    ("venue", "symbol", "talk"),
    [("kraken", "BTC-USD", kraken_that_refuses_trades_once()), ("okx", "BTC-USDT", okx_that_refuses_trades_once())],
)
def test_trades_refused_once_are_asked_for_again_though_the_book_is_there(venue: str, symbol: str, talk: Talk) -> None:
    async def work() -> None:
        async with websocket_venue(talk) as url:
            settings = VenueSettings(symbols=(symbol,), websocket_url=url, depth=10 if venue == "kraken" else None)
            async with live(load(venue), settings) as it:
                await until(lambda: len(it.trades(symbol)) >= 15, 60.0)
                assert it.kinds(symbol) == ["SNAPSHOT"], "the book was left alone"
                (event,) = it.events("subscription_refused")
                assert (event.symbol, event.details["channels"]) == (symbol, load(venue).protocol(settings).TRADES)

    run(work(), sockets=True)


def test_a_request_that_got_lost_is_made_again_for_what_does_not_come() -> None:
    protocol = made("okx", ["BTC-USDT"])
    protocol.subscribe()
    book = {"bids": [["9.9", "1", "0", "1"]], "asks": [["10.1", "2", "0", "1"]], "ts": "1", "seqId": 1, "prevSeqId": -1}
    hear(protocol, arg={"channel": "books", "instId": "BTC-USDT"}, action="snapshot", data=[book])
    notes = [output for now in range(12) for output in protocol.retry(now) if isinstance(output, Note)]
    assert [(note.kind, note.symbol) for note in notes] == [("subscription_unanswered", "BTC-USDT")]
    (again,) = retries(protocol, 20)
    assert again["args"] == [{"channel": "trades", "instId": "BTC-USDT"}]


@pytest.mark.parametrize("listed", [[], [{"name": "level2_50", "product_ids": ["BTC-USD"]}]])
@pytest.mark.parametrize("comes", [True, False])
def test_a_list_that_does_not_name_a_channel_is_judged_by_what_comes(listed: list[Any], comes: bool) -> None:
    protocol = made("coinbase", ["BTC-USD"])
    protocol.subscribe()
    assert refused(hear(protocol, type="subscriptions", channels=listed)) == []
    if comes:
        book = {"product_id": "BTC-USD", "bids": [["9.9", "1"]], "asks": [["10.1", "2"]]}
        hear(protocol, type="snapshot", **book)
    notes = [output.kind for now in range(12) for output in protocol.retry(now) if isinstance(output, Note)]
    assert notes == ([] if comes else ["subscription_unanswered"])
    channels = {channel for now in range(12, 30) for m in sent(protocol.retry(now)) for channel in m["channels"]}
    assert channels == (set() if comes else {"matches", "heartbeat"}), "the book has a watchdog of its own"


def test_a_valid_book_does_not_hide_that_its_channel_was_refused() -> None:
    protocol = made("kraken", ["BTC-USD"])
    protocol.subscribe()
    for channel in ("book", "trade"):
        hear(protocol, method="subscribe", success=True, result={"channel": channel, "symbol": "BTC/USD"})
    levels = {"bids": [{"price": 9.9, "qty": 1}], "asks": [{"price": 10.1, "qty": 1}]}
    hear(protocol, channel="book", type="snapshot", data=[{"symbol": "BTC/USD", **levels}])
    assert protocol.instruments["BTC-USD"].book.valid
    protocol.resubscribe("BTC-USD")
    hear(protocol, method="subscribe", success=False, error="Exceeded msg rate", symbol="BTC/USD")
    assert {*protocol.refusals()["BTC-USD"]} == {"book"}
    assert [message["params"]["channel"] for message in retries(protocol, 4)][-1] == "book"
