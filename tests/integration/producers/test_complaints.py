"""What users of the known collectors suffer from; none of it here."""

from __future__ import annotations

import asyncio
import json
from functools import partial

import pytest
from aiohttp import web
from aiokafka.errors import KafkaError
from websockets.asyncio.server import ServerConnection
from websockets.exceptions import ConnectionClosed

from alphapulse.config import VenueSettings
from alphapulse.errors import BrokerError
from producers.registry import load
from schemas.records import Trade
from tests.fixtures.held_producer import HeldProducer
from tests.fixtures.live import Live, live, market
from tests.fixtures.venue_server import rest_venue, until, websocket_venue

SNAPSHOT = '{"type":"snapshot","product_id":"BTC-USD","bids":[["10.00","1"]],"asks":[["11.00","2.5"]]}'


def update(price: str = "9.00") -> str:
    return f'{{"type":"l2update","product_id":"BTC-USD","changes":[["buy","{price}","1"]],"time":""}}'


def diff(number: int, symbol: str = "BTCUSDT") -> str:
    data = {"e": "depthUpdate", "E": 1, "s": symbol, "U": number, "u": number, "b": [["9.0", "1"]], "a": []}
    return json.dumps({"stream": f"{symbol.lower()}@depth@100ms", "data": data})


def trade(number: int) -> str:
    data = {"e": "trade", "E": 1, "s": "BTCUSDT", "t": number, "p": "10", "q": "1", "T": 1, "m": True}
    return json.dumps({"stream": "btcusdt@trade", "data": data})


async def test_a_gap_in_one_pair_leaves_all_other_pairs_alone() -> None:
    symbols = ("BTC-USD", "ETH-USD", "SOL-USD")
    async with (
        market("binance_us", *symbols) as venue,
        live(load("binance_us"), venue.settings(*symbols)) as it,
    ):
        await until(lambda: all(it.figures(symbol).get("deltas", 0) > 20 for symbol in symbols))
        for lost in range(3):
            venue.troubles.lose.add("ETH-USD")
            await until(partial(snapshots_of_eth, it, lost + 2))
        await venue.agrees(it, symbols)
        assert it.kinds("ETH-USD") == ["SNAPSHOT"] + ["INVALID", "SNAPSHOT"] * 3
        assert it.kinds("BTC-USD") == it.kinds("SOL-USD") == ["SNAPSHOT"]
        assert {event.symbol for event in it.events("gap")} == {"ETH-USD"}


def snapshots_of_eth(it: Live, count: int) -> bool:
    return bool(it.figures("ETH-USD")["snapshots"] == count)


async def test_frames_are_read_while_a_rest_snapshot_is_awaited() -> None:
    asked = asyncio.Event()
    release = asyncio.Event()

    async def answer(request: web.Request) -> web.StreamResponse:
        asked.set()
        await release.wait()
        return web.json_response({"lastUpdateId": 5, "bids": [["10.00", "1.0"]], "asks": [["11.00", "2.0"]]})

    async def talk(socket: ServerConnection) -> None:
        await socket.send(diff(5))
        await asked.wait()
        for number in range(6, 506):
            await socket.send(diff(number))
            await socket.send(trade(number))
        await socket.wait_closed()

    async with websocket_venue(talk) as url, rest_venue(answer) as rest:
        settings = VenueSettings(symbols=("BTC-USDT",), websocket_url=url, rest_url=rest)
        async with live(load("binance"), settings) as it:
            # The trades are published although the snapshot is still out.
            await until(lambda: len(it.trades("BTC-USDT")) == 500)
            assert it.l2("BTC-USDT") == []
            release.set()
            await until(lambda: it.figures("BTC-USDT").get("deltas") == 500)


async def test_a_slow_broker_holds_the_venue_back_and_memory_stays_bounded() -> None:
    sent = 0

    async def talk(socket: ServerConnection) -> None:
        nonlocal sent
        await socket.send(SNAPSHOT)
        while sent < 5000:
            await socket.send(update(f"{sent % 9}.5") + " " * 10_000)
            sent += 1
        await socket.wait_closed()

    producer = HeldProducer()
    async with websocket_venue(talk) as url:
        settings = VenueSettings(symbols=("BTC-USD",), websocket_url=url)
        async with live(load("coinbase"), settings, producer=producer, max_in_flight=100) as it:
            await until(lambda: it.publisher.full)
            before = -1
            while before != sent:  # the kernel's buffers fill up, then the venue cannot send any more
                before = sent
                await asyncio.sleep(0.2)
            assert sent < 5000
            assert it.publisher.in_flight <= 110
            producer.acknowledge()
            await until(lambda: it.figures().get("deltas") == 5000, 30)
            assert it.book().valid


async def test_a_failed_send_ends_the_collector_and_is_not_logged_away() -> None:
    async def talk(socket: ServerConnection) -> None:
        await socket.send(SNAPSHOT)
        await socket.wait_closed()

    async def run() -> None:
        producer = HeldProducer()
        async with websocket_venue(talk) as url:
            settings = VenueSettings(symbols=("BTC-USD",), websocket_url=url)
            async with live(load("coinbase"), settings, producer=producer) as it:
                await until(lambda: producer.sent)
                producer.fault = KafkaError("gone")
                await until(it.publisher.failed.is_set)

    with pytest.raises(BrokerError, match="did not accept"):
        await run()


async def test_a_reconnect_keeps_nothing_of_the_book_before() -> None:
    lives = 0

    async def talk(socket: ServerConnection) -> None:
        nonlocal lives
        lives += 1
        if lives == 1:
            await socket.send(SNAPSHOT)
            await socket.send(update("9.50"))
            await socket.close(1012, "restart")
            return
        await socket.send(update("9.75"))  # before its snapshot: belongs to no book
        await socket.send(SNAPSHOT.replace("10.00", "8.00"))
        await socket.wait_closed()

    async with (
        websocket_venue(talk) as url,
        live(load("coinbase"), VenueSettings(symbols=("BTC-USD",), websocket_url=url)) as it,
    ):
        await until(lambda: it.kinds() == ["SNAPSHOT", "INVALID", "SNAPSHOT"])
        reader = it.book()
        assert [price * 10**reader.price_exponent for price, _ in reader.book.bids] == [8]
        assert len(list(reader.book.asks)) == 1


async def test_a_storm_of_bad_checksums_is_answered_ever_more_slowly_and_stays_with_its_instrument() -> None:
    symbols = ("BTC-USD", "ETH-USD")
    async with market("kraken", *symbols) as venue, live(load("kraken"), venue.settings(*symbols)) as it:
        await until(lambda: all(it.figures(symbol).get("deltas", 0) > 20 for symbol in symbols))
        venue.troubles.lie.add("ETH-USD")
        await until(lambda: it.figures("ETH-USD")["resyncs"] >= 4)
        before = it.figures("BTC-USD")["deltas"]
        # The fourth repair waits, while frames by the hundred come that would each ask for another.
        await until(lambda: it.figures("BTC-USD")["deltas"] > before + 50)
        assert it.figures("ETH-USD")["resyncs"] <= 6
        venue.troubles.lie.clear()
        await until(lambda: it.figures("ETH-USD")["valid"], 20)
        await venue.agrees(it, symbols)
        assert it.kinds("BTC-USD") == ["SNAPSHOT"]
        assert it.figures("BTC-USD")["resyncs"] == 0
        assert {event.symbol for event in it.events("checksum_failure")} == {"ETH-USD"}


async def test_an_instrument_that_is_connected_but_mute_is_noticed_and_asked_for_again() -> None:
    symbols = ("BTC-USD", "ETH-USD")
    async with (
        market("kraken", *symbols) as venue,
        live(load("kraken"), venue.settings(*symbols, instrument_silence_seconds=0.5)) as it,
    ):
        await until(lambda: all(it.figures(symbol).get("deltas", 0) > 20 for symbol in symbols))
        venue.troubles.mute.add("ETH-USD")
        await until(lambda: it.events("silent"))
        assert it.events("silent")[0].symbol == "ETH-USD"
        assert "INVALID" in it.kinds("ETH-USD")
        venue.troubles.mute.clear()
        # What was not heard shows at the first checksum; then its book is right again.
        before = it.figures("ETH-USD")["checksums_ok"]
        await until(lambda: it.figures("ETH-USD")["checksums_ok"] > before + 50, 20)
        assert it.kinds("BTC-USD") == ["SNAPSHOT"], "the others are not disturbed"
        await venue.agrees(it, symbols)


async def test_a_connection_on_which_only_heartbeats_come_is_given_up() -> None:
    lives = 0

    async def talk(socket: ServerConnection) -> None:
        nonlocal lives
        lives += 1
        try:
            await socket.send(SNAPSHOT)
            await socket.send(SNAPSHOT.replace("BTC", "ETH"))
            while True:
                await socket.send('{"type":"heartbeat"}')
                await asyncio.sleep(0.02)
        except ConnectionClosed:
            return

    async with websocket_venue(talk) as url:
        settings = VenueSettings(symbols=("BTC-USD", "ETH-USD"), websocket_url=url, instrument_silence_seconds=0.3)
        async with live(load("coinbase"), settings) as it:
            await until(lambda: lives >= 2 and it.kinds() == ["SNAPSHOT", "INVALID", "SNAPSHOT"])
            assert (
                it.events("disconnected")[0].message == "connection open, but no message about any instrument for 0.3 s"
            )


@pytest.mark.parametrize("venue_name", ["kraken", "coinbase", "binance_us"])
async def test_a_planned_reconnect_leaves_no_gap(venue_name: str) -> None:
    """Data goes on under load while connection after connection takes over, and no trade is lost or doubled."""
    symbols = ("BTC-USD", "ETH-USD")
    async with (
        market(venue_name, *symbols) as venue,
        live(load(venue_name), venue.settings(*symbols, reconnect_hours=1.5 / 3600)) as it,
    ):
        await until(lambda: len(it.events("replaced")) >= 2, 30)
        await venue.agrees(it, symbols)
        for symbol in symbols:
            kinds = it.kinds(symbol)
            assert "INVALID" not in kinds, "a book was handed over"
            assert kinds.count("SNAPSHOT") >= 3
            trades = it.trades(symbol)
            assert trades == list(range(trades[0], trades[0] + len(trades)))
            assert trades[-1] == venue.simulation.market.instruments[venue_name, symbol].trades
            assert it.figures(symbol)["trades"] == len(trades)
            assert it.figures(symbol)["published_l2"] == len(it.l2(symbol))
        assert it.events("trade_gap") == []
        assert it.events("disconnected") == []
        assert it.ready == [True]


async def test_a_server_shutdown_is_survived_without_a_gap() -> None:
    symbols = ("BTC-USD", "ETH-USD")
    async with market("binance_us", *symbols) as venue, live(load("binance_us"), venue.settings(*symbols)) as it:
        await until(lambda: all(it.figures(symbol).get("deltas", 0) > 20 for symbol in symbols))
        simulated = venue.simulation.venues["binance_us"]
        for connection in list(simulated._outboxes):
            simulated.deliver(connection, [b'{"e":"serverShutdown","E":1}'])
        await until(lambda: it.events("replaced"))
        await venue.agrees(it, symbols)
        for symbol in symbols:
            assert it.kinds(symbol) == ["SNAPSHOT", "SNAPSHOT"]
            trades = it.trades(symbol)
            assert trades == list(range(trades[0], trades[0] + len(trades)))


async def test_prices_and_sizes_keep_every_digit() -> None:
    """17 digits and more do not survive a float; neither do 0.1 and 0.2."""
    bid, ask, size = "123456789.123456789", "123456789.223456789", "0.100000000000000001"
    bids, asks = f'[{{"price":{bid},"qty":{size}}}]', f'[{{"price":{ask},"qty":0.2}}]'
    book = f'{{"channel":"book","type":"snapshot","data":[{{"symbol":"BTC/USD","bids":{bids},"asks":{asks}}}]}}'
    traded = (
        '{"channel":"trade","type":"update","data":[{"symbol":"BTC/USD","side":"buy","trade_id":1,'
        f'"price":{ask},"qty":0.3,"timestamp":"2024-01-01T00:00:00.000000Z"}}]}}'
    )

    async def talk(socket: ServerConnection) -> None:
        await socket.recv()
        await socket.send(book)
        await socket.send(traded)
        await socket.wait_closed()

    async with (
        websocket_venue(talk) as url,
        live(load("kraken"), VenueSettings(symbols=("BTC-USD",), websocket_url=url)) as it,
    ):
        await until(lambda: it.trades() and it.l2())
        snapshot = it.l2()[0]
        assert exact(snapshot.bid_prices[0], snapshot.price_exponent) == exact_text(bid)
        assert exact(snapshot.ask_prices[0], snapshot.price_exponent) == exact_text(ask)
        assert exact(snapshot.bid_sizes[0], snapshot.size_exponent) == exact_text(size)
        (made,) = [record for record in it.records() if isinstance(record, Trade)]
        assert exact(made.price, made.price_exponent) == exact_text(ask)
        assert exact(made.size, made.size_exponent) == exact_text("0.3")


def exact(mantissa: int, exponent: int) -> tuple[int, int]:
    """Return mantissa and exponent without trailing zeros."""
    while mantissa and mantissa % 10 == 0:
        mantissa, exponent = mantissa // 10, exponent + 1
    return mantissa, exponent


def exact_text(text: str) -> tuple[int, int]:
    whole, _, fraction = text.partition(".")
    return exact(int(whole + fraction), -len(fraction))
