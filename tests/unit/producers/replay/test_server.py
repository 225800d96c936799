"""producers.replay.server and its timeline, with real clients on loopback."""

from __future__ import annotations

import asyncio
import gzip
import json
import socket
import time
from collections.abc import Callable
from pathlib import Path

import aiohttp
import pytest
from websockets.asyncio.client import ClientConnection, connect

from alphapulse.config import Settings
from alphapulse.errors import RecordingError, ServiceError
from alphapulse.service import Service, announcement_path
from producers.replay.recording import survey
from producers.replay.server import ReplayServer
from tests.fixtures.venue_server import until
from tests.recordings import Recording, found
from tests.unit.producers.replay.conftest import Start

Write = Callable[..., Path]

S = 1_000_000_000


def kraken_book(symbol: str, number: int) -> bytes:
    return (
        b'{"channel":"book","type":"update","data":[{"symbol":"%s","bids":[{"price":%d.50,"qty":1.0}],"asks":[]}]}'
        % (symbol.encode(), number)
    )


def diff(number: int) -> bytes:
    data = b'{"e":"depthUpdate","s":"BTCUSDT","U":%d,"u":%d,"b":[],"a":[]}' % (number, number)
    return b'{"stream":"btcusdt@depth@100ms","data":' + data + b"}"


def snapshot(number: int) -> bytes:
    return b'{"rest":"/api/v3/depth?symbol=BTCUSDT&limit=1000","body":{"lastUpdateId":%d}}' % number


TICKER = b'{"stream":"btcusdt@bookTicker","data":{"u":1,"s":"BTCUSDT","b":"1","B":"1","a":"2","A":"1"}}'
STREAMS = "/stream?streams=btcusdt@depth@100ms/btcusdt@trade"


async def subscribe_kraken(client: ClientConnection, *symbols: str, channel: str = "book") -> None:
    params = {"channel": channel, "symbol": list(symbols), "depth": 10}
    await client.send(json.dumps({"method": "subscribe", "params": params, "req_id": 1}))


async def frames(client: ClientConnection, count: int) -> list[bytes]:
    """Return the next ``count`` frames that are market data."""
    got: list[bytes] = []
    async with asyncio.timeout(20):
        while len(got) < count:
            frame = await client.recv(decode=False)
            if not any(mark in frame for mark in (b'"method"', b'"status"', b'"heartbeat"', b'"subscriptions"')):
                got.append(frame)
    return got


async def test_frames_come_byte_for_byte_and_in_order_once_all_books_are_subscribed(start: Start, write: Write) -> None:
    sent = [kraken_book(("A/B", "C/D")[n % 2], n) for n in range(100)]
    path = write(*[b"%d %s" % (n, frame) for n, frame in enumerate(sent, 1)], name="kraken_1.rec")
    async with start(path) as replay:
        assert replay.announced["symbols"] == ["A-B", "C-D"]
        assert replay.announced["frames"] == 100
        assert (replay.announced["first_time"], replay.announced["last_time"]) == (1, 100)
        async with connect(replay.websocket_url) as client:
            await subscribe_kraken(client, "A/B")
            await until(lambda: "subscriptions (book C/D)" in str(replay.server.status()["waiting"]))
            assert replay.server.status()["frames_sent"] == 0
            await subscribe_kraken(client, "C/D")
            assert await frames(client, 100) == sent
            await until(lambda: replay.server.status()["finished"])
            status = await replay.status()
            assert status["frames_total"] == status["frames_sent"] == status["websocket_frames_sent"] == 100
            assert status["bytes_sent"] == sum(map(len, sent))
            assert status["waiting"] is None
            assert status["faults"] == []
            await client.send('{"method":"ping","req_id":5}')  # the connection stays open after the last frame
            reply = json.loads(await asyncio.wait_for(client.recv(), 10))
            assert (reply["method"], reply["req_id"]) == ("pong", 5)


async def test_the_rest_starts_when_a_client_that_wants_less_is_quiet(
    start: Start, write: Write, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("producers.replay.gate.QUIET_SECONDS", 0.2)
    path = write(b"1 " + kraken_book("A/B", 1), b"2 " + kraken_book("C/D", 2), name="kraken_1.rec")
    async with start(path) as replay, connect(replay.websocket_url) as client:
        await subscribe_kraken(client, "A/B")
        assert await frames(client, 2) == [kraken_book("A/B", 1), kraken_book("C/D", 2)]


async def test_instruments_go_ahead_of_the_book_subscriptions(start: Start, write: Write) -> None:
    instruments = b'{"channel":"instrument","type":"snapshot","data":{"pairs":[]}}'
    path = write(b"1 " + instruments, b"2 " + kraken_book("A/B", 1), name="kraken_1.rec")
    async with start(path) as replay, connect(replay.websocket_url) as client:
        await client.send('{"method":"subscribe","params":{"channel":"instrument"}}')
        assert await frames(client, 1) == [instruments]
        await subscribe_kraken(client, "A/B")
        assert await frames(client, 1) == [kraken_book("A/B", 1)]


async def test_lines_that_are_no_frames_are_served_all_the_same(start: Start, write: Write) -> None:
    lines = [b"1 " + diff(1), b"what is this", b'2 {"stream":', b"3 \xff\xfe", b"4 [1]", b"5 " + diff(2)]
    path = write(*lines)
    async with start(path) as replay, connect(replay.websocket_url + STREAMS) as client:
        got = await frames(client, 6)
        assert got == [diff(1), b"what is this", b'{"stream":', b"\xff\xfe", b"[1]", diff(2)]
        faults = replay.server.status()["faults"]
        assert [fault.removeprefix(f"{path}:").partition(":")[0] for fault in faults] == ["2", "3", "4", "5"]


async def test_a_cut_off_recording_is_served_as_far_as_it_goes(start: Start, tmp_path: Path) -> None:
    path = tmp_path / "binance.rec.gz"
    path.write_bytes(gzip.compress(b"".join(b"%d %s\n" % (n, diff(n)) for n in range(1, 500)))[:-10])
    async with start(path) as replay, connect(replay.websocket_url + STREAMS) as client:
        total = replay.announced["frames"]
        assert total > 100
        assert await frames(client, total) == [diff(n) for n in range(1, total + 1)]
        await until(lambda: replay.server.status()["finished"])
        (incomplete,) = replay.server.status()["incomplete"]
        assert incomplete.startswith(f"{path}:{total + 1}: the recording is truncated")
        assert replay.server.status()["faults"] == [incomplete]


async def test_a_request_waits_until_the_timeline_gets_to_its_answer(start: Start, write: Write) -> None:
    lines = [b"1 " + diff(1), b"2 " + diff(2), b"3 " + snapshot(1), b"4 " + diff(3)]
    async with (
        start(write(*lines), paced=True) as replay,
        aiohttp.ClientSession() as http,
        connect(replay.websocket_url + STREAMS) as client,
    ):
        asked = asyncio.create_task(http.get(f"{replay.rest_url}/api/v3/depth?limit=5&symbol=btcusdt"))
        await replay.credit(1)
        assert await frames(client, 1) == [diff(1)]
        assert not asked.done()
        await replay.credit(10**6)
        response = await asyncio.wait_for(asked, 10)
        assert await response.text() == '{"lastUpdateId":1}'
        assert await frames(client, 2) == [diff(2), diff(3)]
        await until(lambda: replay.server.status()["finished"])
        assert replay.server.status()["rest_answers"] == 1
        # None is left: the venue is too busy for ever.
        async with http.get(f"{replay.rest_url}/api/v3/depth?symbol=BTCUSDT") as busy:
            assert busy.status == 503
            assert int(busy.headers["Retry-After"]) > 0


async def test_an_answer_nobody_asked_for_holds_the_timeline_a_moment_and_is_latched(
    start: Start, write: Write, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("producers.replay.timeline.REST_HOLD_SECONDS", 0.05)
    lines = [b"1 " + diff(1), b"2 " + snapshot(1), b"3 " + snapshot(2), b"4 " + diff(2)]
    async with (
        start(write(*lines)) as replay,
        aiohttp.ClientSession() as http,
        connect(replay.websocket_url + STREAMS) as client,
    ):
        assert await frames(client, 2) == [diff(1), diff(2)]
        async with http.get(f"{replay.rest_url}/api/v3/depth?symbol=BTCUSDT&limit=100") as answer:
            assert await answer.read() == b'{"lastUpdateId":2}'


async def test_a_request_within_the_hold_gets_the_answer_in_its_place(start: Start, write: Write) -> None:
    lines = [b"1 " + diff(1), b"2 " + snapshot(1), b"3 " + diff(2)]
    async with (
        start(write(*lines)) as replay,
        aiohttp.ClientSession() as http,
        connect(replay.websocket_url + STREAMS) as client,
    ):
        assert await frames(client, 1) == [diff(1)]
        await until(lambda: str(replay.server.status()["waiting"]).startswith("request /api/v3/depth"))
        async with http.get(f"{replay.rest_url}/api/v3/depth?symbol=BTCUSDT") as answer:
            assert await answer.read() == b'{"lastUpdateId":1}'
        assert await frames(client, 1) == [diff(2)]


async def test_rest_paths_and_symbols_that_the_venue_does_not_have(start: Start, write: Write) -> None:
    async with start(write(b"1 " + diff(1))) as replay, aiohttp.ClientSession() as http:
        for target, status, code in [
            ("/api/v3/depth", 400, -1102),
            ("/api/v3/depth?symbol=NOPE", 400, -1121),
            ("/api/v3/exchangeInfo", 404, None),
        ]:
            async with http.get(replay.rest_url + target) as answer:
                assert answer.status == status
                assert (await answer.json()).get("code") == code


async def test_a_market_may_be_named_in_the_path_of_its_book(start: Start, write: Write) -> None:
    lines = [
        b'1 {"data":{},"channel":"diff_order_book_%s","event":"data"}' % market for market in (b"btcusd", b"ethusd")
    ]
    book = b'2 {"rest":"/api/v2/order_book/btcusd/?group=1","body":{"microtimestamp":"7"}}'
    async with (
        start(write(*lines, book, name="bitstamp_x.rec")) as replay,
        aiohttp.ClientSession() as http,
        connect(replay.websocket_url) as client,
    ):
        for market in ("btcusd", "ethusd"):
            await client.send(f'{{"event":"bts:subscribe","data":{{"channel":"diff_order_book_{market}"}}}}')
        await frames(client, 4)
        for market, status in (("btcusd", 200), ("ethusd", 503), ("nope", 400)):
            async with http.get(f"{replay.rest_url}/api/v2/order_book/{market}/?group=1") as answer:
                assert answer.status == status, market
        async with http.get(f"{replay.rest_url}/api/v2/trading-pairs-info/") as answer:
            assert answer.status == 404


async def test_credit_paces_frame_by_frame(start: Start, write: Write) -> None:
    sent = [diff(n) for n in range(1, 30)]
    size = len(sent[0])
    async with (
        start(write(*[b"%d %s" % (n, frame) for n, frame in enumerate(sent, 1)]), paced=True) as replay,
        connect(replay.websocket_url + STREAMS) as client,
    ):
        await until(lambda: replay.server.status()["waiting"] == "credit")
        assert replay.server.status()["frames_sent"] == 0
        assert await replay.credit(1) == 200
        assert await frames(client, 1) == sent[:1]
        await replay.credit(3 * size)
        assert await frames(client, 2) == sent[1:3]
        await until(lambda: replay.server.status()["waiting"] == "credit")
        assert replay.server.status()["bytes_sent"] == 3 * size
        await replay.credit(10**9)
        assert await frames(client, 26) == sent[3:]


@pytest.mark.parametrize("total", [-1, "many", None, 1.5])
async def test_credit_that_is_no_number_of_bytes_is_refused(start: Start, write: Write, total: object) -> None:
    async with start(write(b"1 " + diff(1)), paced=True) as replay:
        assert await replay.credit(total) == 400


async def test_the_original_pace_times_n(start: Start, write: Write) -> None:
    lines = [b"%d %s" % (1000 * S + n * S, diff(n)) for n in range(5)] + [b"%d %s" % (999 * S, diff(9))]
    async with start(write(*lines), speed=20.0) as replay, connect(replay.websocket_url + STREAMS) as client:
        began = time.monotonic()
        await frames(client, 6)
        # Four recorded seconds; the frame whose time runs backwards waits no more.
        assert time.monotonic() - began >= 4 / 20 - 0.02


async def test_after_a_reconnect_it_goes_on_with_the_next_frame(start: Start, write: Write) -> None:
    sent = [kraken_book("A/B", n) for n in range(10)]
    path = write(*[b"%d %s" % (n, frame) for n, frame in enumerate(sent, 1)], name="kraken_1.rec")
    async with start(path, paced=True) as replay:
        async with connect(replay.websocket_url) as client:
            await subscribe_kraken(client, "A/B")
            await replay.credit(len(sent[0]) * 4)
            assert await frames(client, 4) == sent[:4]
        await until(lambda: replay.server.status()["connections"] == 0)
        await replay.credit(10**6)
        async with connect(replay.websocket_url) as client:
            await subscribe_kraken(client, "A/B")
            assert await frames(client, 6) == sent[4:]
        assert replay.server.status()["reconnects"] == 1


async def test_a_book_subscribed_anew_is_acknowledged_and_the_timeline_goes_on(start: Start, write: Write) -> None:
    sent = [kraken_book("A/B", n) for n in range(4)]
    path = write(*[b"%d %s" % (n, frame) for n, frame in enumerate(sent, 1)], name="kraken_1.rec")
    async with start(path, paced=True) as replay, connect(replay.websocket_url) as client:
        await subscribe_kraken(client, "A/B")
        await replay.credit(1)
        assert await frames(client, 1) == sent[:1]
        await client.send('{"method":"unsubscribe","params":{"channel":"book","symbol":["A/B"],"depth":10}}')
        assert json.loads(await client.recv())["success"] is True
        await subscribe_kraken(client, "A/B")
        assert json.loads(await client.recv())["success"] is True
        await replay.credit(10**6)
        assert await frames(client, 3) == sent[1:]


async def test_old_spellings_of_symbols_are_subscribed_to_by_the_new_ones(start: Start, write: Write) -> None:
    sent = [kraken_book("XBT/USD", 1), kraken_book("XBT/USD", 2)]
    async with (
        start(write(*[b"1 " + frame for frame in sent], name="kraken_1.rec")) as replay,
        connect(replay.websocket_url) as client,
    ):
        assert replay.announced["symbols"] == ["BTC-USD"]
        await subscribe_kraken(client, "BTC/USD")
        assert await frames(client, 2) == sent


async def test_two_connections_share_the_symbols(start: Start, write: Write) -> None:
    ticker = b'{"channel":"ticker","type":"update","data":[{"symbol":"C/D"}]}'
    lines = [
        b"1 " + kraken_book("A/B", 1),
        b"2 " + kraken_book("C/D", 2),
        b"3 " + ticker,
        b"4 " + kraken_book("C/D", 3),
    ]
    async with (
        start(write(*lines, name="kraken_1.rec")) as replay,
        connect(replay.websocket_url) as first,
        connect(replay.websocket_url) as second,
    ):
        await subscribe_kraken(first, "A/B")
        await subscribe_kraken(second, "C/D")
        assert await frames(first, 2) == [lines[0][2:], ticker]
        assert await frames(second, 2) == [lines[1][2:], lines[3][2:]]


async def test_a_lost_connections_symbols_are_held_until_somebody_takes_them(start: Start, write: Write) -> None:
    lines = [b"1 " + kraken_book("A/B", 1), b"2 " + kraken_book("C/D", 2), b"3 " + kraken_book("C/D", 3)]
    async with start(write(*lines, name="kraken_1.rec"), paced=True) as replay, connect(replay.websocket_url) as first:
        async with connect(replay.websocket_url) as second:
            await subscribe_kraken(first, "A/B")
            await subscribe_kraken(second, "C/D")
            await replay.credit(1)
            assert await frames(first, 1) == [kraken_book("A/B", 1)]
        await until(lambda: replay.server.status()["connections"] == 1)
        await replay.credit(10**6)
        async with connect(replay.websocket_url) as third:
            await subscribe_kraken(third, "C/D")
            assert await frames(third, 2) == [kraken_book("C/D", 2), kraken_book("C/D", 3)]


async def test_idle_clients_get_the_venues_heartbeats(
    start: Start, write: Write, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("producers.replay.server._HEARTBEAT_SECONDS", 0.05)
    match = b'{"type":"match","trade_id":7,"sequence":70,"product_id":"A-B","side":"buy","price":"1","size":"1"}'
    async with start(write(b"1 " + match, name="coinbase_1.rec")) as replay, connect(replay.websocket_url) as client:
        await client.send('{"type":"subscribe","product_ids":["A-B"],"channels":["matches","heartbeat"]}')
        assert await frames(client, 1) == [match]
        beat = json.loads(await asyncio.wait_for(client.recv(), 10))
        assert (beat["type"], beat["last_trade_id"], beat["sequence"]) == ("heartbeat", 7, 70)
    path = write(b"1 " + kraken_book("A/B", 1), name="kraken_1.rec")
    async with start(path) as replay, connect(replay.websocket_url) as client:
        await subscribe_kraken(client, "A/B")
        await frames(client, 1)
        assert await asyncio.wait_for(client.recv(), 10) == '{"channel":"heartbeat"}'
        await until(lambda: replay.server.status()["control_frames_sent"] > 3)


async def test_a_slow_client_holds_the_timeline_and_loses_nothing(start: Start, write: Write) -> None:
    pad = b"x" * 50_000
    sent = [
        b'{"stream":"btcusdt@depth","data":{"e":"depthUpdate","s":"BTCUSDT","u":%d,"p":"%s"}}' % (n, pad)
        for n in range(400)
    ]
    path = write(*[b"%d %s" % (n, frame) for n, frame in enumerate(sent, 1)])
    async with start(path) as replay, connect(replay.websocket_url + STREAMS, max_queue=1) as client:
        await frames(client, 1)
        # Twenty megabytes fit into no socket.
        await until(lambda: replay.server.status()["frames_sent"] > 10)
        assert not replay.server.status()["finished"]
        assert await frames(client, 399) == sent[1:]


ADVANCED = b'{"channel":"l2_data","sequence_num":%d,"events":[{"type":"update","product_id":"%s","updates":[]}]}'


async def numbers(client: ClientConnection, count: int) -> list[int]:
    """Return the numbers of the next ``count`` frames, whatever they are."""
    async with asyncio.timeout(20):
        return [json.loads(await client.recv())["sequence_num"] for _ in range(count)]


async def subscribe_advanced(client: ClientConnection, *products: str) -> None:
    await client.send(json.dumps({"type": "subscribe", "channel": "level2", "product_ids": list(products)}))


async def test_frames_of_a_venue_that_numbers_them_get_each_clients_own_numbers(start: Start, write: Write) -> None:
    """The recorder had two connections, of one of which two frames were lost."""
    recorded = [(0, b"A-B"), (0, b"C-D"), (1, b"C-D"), (1, b"A-B"), (4, b"A-B"), (2, b"C-D"), (5, b"A-B")]
    path = write(*[b"1 " + ADVANCED % frame for frame in recorded], name="coinbase_advanced_x.rec")
    async with start(path) as running, connect(running.websocket_url) as first, connect(running.websocket_url) as other:
        await subscribe_advanced(first, "A-B")
        await subscribe_advanced(other, "C-D")
        # Whose frames were lost cannot be told: both clients see a gap.
        assert await numbers(first, 5) == [0, 1, 2, 5, 6]
        assert await numbers(other, 4) == [0, 1, 2, 5]


async def test_a_client_with_any_key_gets_what_comes_behind_the_handshake(start: Start, write: Write) -> None:
    symbols = [f"A{chr(65 + number // 10)}{chr(65 + number % 10)}" for number in range(40)]
    talk = [b'[{"T":"success","msg":"connected"}]', b'[{"T":"error","code":407,"msg":"slow client"}]']
    data = [b'[{"T":"q","S":"%s","bp":1}]' % symbol.encode() for symbol in symbols]
    path = write(*[b"1 " + frame for frame in (*talk, *data[:20], *talk, *data[20:])], name="alpaca_x.rec")
    async with start(path) as running, connect(running.websocket_url) as client, asyncio.timeout(20):
        assert (running.announced["key"], running.announced["symbols"]) == ("any", symbols)
        assert json.loads(await client.recv()) == [{"T": "success", "msg": "connected"}]
        await client.send(json.dumps({"action": "auth", "key": "somebody's", "secret": "own"}))
        assert json.loads(await client.recv()) == [{"T": "success", "msg": "authenticated"}]
        await client.send(json.dumps({"action": "subscribe", "quotes": symbols, "trades": symbols}))
        assert json.loads(await client.recv())[0]["quotes"] == symbols
        assert [await client.recv(decode=False) for _ in data] == data
        await until(lambda: bool(running.server.status()["finished"]))
        status = await running.status()
    assert (status["frames_sent"], status["websocket_frames_sent"], status["faults"]) == (44, 40, [])


async def test_a_port_in_use_is_told(write: Write, tmp_path: Path) -> None:
    server = ReplayServer(survey(write(b"1 " + diff(1))), speed=None, paced=False)
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        with pytest.raises(ServiceError, match=rf"port: cannot listen on 127\.0\.0\.1:{port}"):
            await server.serve(Service("replay-x", Settings(data_dir=tmp_path)), port)


async def test_a_file_that_changes_under_the_replay_ends_it(write: Write, tmp_path: Path) -> None:
    path = tmp_path / "binance.rec.gz"
    path.write_bytes(gzip.compress(b"1 " + diff(1) + b"\n"))
    server = ReplayServer(survey(path), speed=None, paced=False)
    path.write_bytes(path.read_bytes()[:-4])
    service = Service("replay-x", Settings(data_dir=tmp_path))
    serving = asyncio.create_task(server.serve(service))
    await until(lambda: service.ready)
    announced = json.loads(announcement_path(service.settings, service.name).read_text())
    async with connect(announced["websocket_url"] + STREAMS) as client:
        assert await frames(client, 1) == [diff(1)]
        with pytest.raises(RecordingError, match="truncated"):
            await asyncio.wait_for(serving, 10)


@pytest.mark.parametrize("recording", found("binance_us"), ids=str)
async def test_a_binance_recording_comes_whole(start: Start, recording: Recording) -> None:
    lines = [line.split(b" ", 1)[1] for line in gzip.decompress(recording.path.read_bytes()).splitlines()]
    expected = [frame for frame in lines if not frame.startswith(b'{"rest"')]
    answers = [json.loads(frame) for frame in lines if frame.startswith(b'{"rest"')]
    names = [symbol.replace("-", "") for symbol in recording.instruments]
    streams = "/".join(f"{name.lower()}@{stream}" for name in names for stream in ("depth@100ms", "trade"))
    async with (
        start(recording.path) as replay,
        aiohttp.ClientSession() as http,
        connect(f"{replay.websocket_url}/stream?streams={streams}") as client,
    ):
        requests = [asyncio.create_task(http.get(replay.rest_url + answer["rest"])) for answer in answers]
        assert await frames(client, len(expected)) == expected
        bodies = [await (await request).json() for request in requests]
        told = [(answer["rest"], body["lastUpdateId"]) for answer, body in zip(answers, bodies, strict=True)]
        assert sorted(told) == sorted((answer["rest"], answer["body"]["lastUpdateId"]) for answer in answers)
