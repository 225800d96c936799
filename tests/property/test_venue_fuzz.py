# ruff: noqa: E501 frames in one line, as they come
"""No frame, however mangled, makes a protocol raise: it is understood, ignored by name, or refused with its bytes."""

from __future__ import annotations

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from producers.outputs import FetchSnapshot, Refused
from producers.venues import VENUES
from schemas.codec import Codec
from schemas.records import L2Update, Trade
from tests.fixtures.protocol_run import ProtocolRun, run

SYMBOL = {"kraken": "BTC-USD", "coinbase": "BTC-USD", "binance": "BTC-USDT", "binance_us": "BTC-USDT"}

_KRAKEN = (
    b'{"channel":"instrument","type":"snapshot","data":{"assets":[],"pairs":[{"symbol":"BTC/USD","price_precision":1,"qty_precision":8}]}}',
    b'{"channel":"book","type":"snapshot","data":[{"symbol":"BTC/USD","bids":[{"price":45283.5,"qty":0.10000000}],"asks":[{"price":45285.2,"qty":0.00100000}],"timestamp":"2023-10-06T17:35:55.440295Z"}]}',
    b'{"channel":"book","type":"update","data":[{"symbol":"BTC/USD","bids":[{"price":45283.4,"qty":1e-8}],"asks":[],"checksum":2439117997,"timestamp":"2023-10-06T17:35:55.440295Z"}]}',
    b'{"channel":"trade","type":"update","data":[{"symbol":"BTC/USD","side":"sell","price":45283.4,"qty":0.5,"ord_type":"limit","trade_id":1,"timestamp":"2023-10-06T17:35:55.440295Z"}]}',
    b'{"method":"subscribe","result":{"channel":"book","symbol":"BTC/USD","depth":10},"success":true,"time_in":"x"}',
    b'{"error":"Currency pair not supported","method":"subscribe","success":false,"symbol":"X/Y"}',
)  # fmt: skip
_COINBASE = (
    b'{"type":"snapshot","product_id":"BTC-USD","bids":[["10.00","1"]],"asks":[["11.00","2.5"]]}',
    b'{"type":"l2update","product_id":"BTC-USD","changes":[["buy","9.00","0.00"],["sell","12","1"]],"time":"2021-04-17T16:43:37.075351Z"}',
    b'{"type":"match","trade_id":5,"side":"sell","size":"0.04","price":"14.77","product_id":"BTC-USD","time":"2021-04-17T16:43:30.244075Z"}',
    b'{"type":"subscriptions","channels":[{"name":"level2_batch","product_ids":["BTC-USD"]}]}',
    b'{"type":"error","message":"Failed","reason":"no"}',
)  # fmt: skip
_BINANCE = (
    b'{"stream":"btcusdt@depth@100ms","data":{"e":"depthUpdate","E":1723161255208,"s":"BTCUSDT","U":5,"u":6,"b":[["9.0","1.0"]],"a":[]}}',
    b'{"e":"depthUpdate","E":1723161255208,"s":"BTCUSDT","U":7,"u":8,"b":[["9.0","0.0"]],"a":[["12.00000000","1"]]}',
    b'{"stream":"btcusdt@trade","data":{"e":"trade","E":1,"s":"BTCUSDT","t":3,"p":"10","q":"0.5","T":1723161255342,"m":true,"M":true}}',
    b'{"stream":"btcusdt@aggTrade","data":{"e":"aggTrade","E":1,"s":"BTCUSDT","a":3,"p":"10","q":"0.5","T":1723161255342,"m":true}}',
    b'{"u":1,"s":"BTCUSDT","b":"1","B":"1","a":"1","A":"1"}',
    b'{"error":{"code":2,"msg":"Invalid request"},"id":1}',
)  # fmt: skip
FRAMES = {"kraken": _KRAKEN, "coinbase": _COINBASE, "binance": _BINANCE, "binance_us": _BINANCE}
ANSWER = b'{"lastUpdateId":6,"bids":[["10.00","1.0"]],"asks":[["11.00","2.0"]]}'

TOKENS = (
    b"", b"null", b"-1", b"1e400", b"0." + b"1" * 30, b"9" * 40, b"{}", b"[]", b'"', b"[" * 2000, b"\xff\xfe", b"\\ud800",
    b"\x00", b"NaN", b"true", b'"BTC-USD"', b"1e-400", b"-0", "٣".encode(), b'{"a":' * 50, b"snapshot", b"2300-01-01",
)  # fmt: skip

edit = st.tuples(st.integers(0, 400), st.integers(0, 12), st.one_of(st.sampled_from(TOKENS), st.binary(max_size=6)))
mutations = st.lists(st.tuples(st.integers(0, 5), st.lists(edit, max_size=3)), min_size=1, max_size=6)


def mangled(frame: bytes, edits: list[tuple[int, int, bytes]]) -> bytes:
    for at, length, token in edits:
        at %= len(frame) + 1
        frame = frame[:at] + token + frame[at + length :]
    return frame


def feed(protocol_run: ProtocolRun, frame: bytes, codec: Codec) -> None:
    before, time = protocol_run.protocol.refused, 1_700_000_000_000_000_000
    outputs = protocol_run.protocol.receive(frame, time)
    refused = [output for output in outputs if isinstance(output, Refused)]
    assert protocol_run.protocol.refused - before == len(refused) <= 1
    for refusal in refused:
        assert refusal.value == frame
        assert refusal.reason
        (refusal.reason + (refusal.symbol or "")).encode()  # fit for a record
    for output in outputs:
        if isinstance(output, L2Update | Trade):
            assert codec.decode(codec.encode(output)) == output
    protocol_run.take(outputs)
    for state in protocol_run.protocol.instruments.values():
        assert protocol_run.valid(state.symbol) == state.book.valid


@pytest.mark.parametrize("venue", sorted(VENUES))
@settings(max_examples=500, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(script=mutations, body=st.tuples(st.booleans(), st.lists(edit, max_size=2)))
def test_no_mangled_frame_raises(
    venue: str, script: list[tuple[int, list[tuple[int, int, bytes]]]], body: tuple[bool, list[tuple[int, int, bytes]]]
) -> None:
    protocol_run, codec, frames = run(venue, [SYMBOL[venue]]), Codec(), FRAMES[venue]
    feed(protocol_run, frames[0], codec)
    feed(protocol_run, frames[1], codec)
    for which, edits in script:
        request = protocol_run.wanted.pop(SYMBOL[venue], None)
        if body[0] and isinstance(request, FetchSnapshot):
            protocol_run.take(protocol_run.protocol.snapshot(request, mangled(ANSWER, body[1]), 1))
        feed(protocol_run, mangled(frames[which % len(frames)], edits), codec)
    protocol_run.take(protocol_run.protocol.disconnected(2))
    assert not protocol_run.valid(SYMBOL[venue])
    assert protocol_run.protocol.waiting == 0


@pytest.mark.parametrize("venue", sorted(VENUES))
@given(frame=st.binary(max_size=200))
def test_no_bytes_raise(venue: str, frame: bytes) -> None:
    feed(run(venue, [SYMBOL[venue]]), frame, Codec())
