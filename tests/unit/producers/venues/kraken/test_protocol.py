from __future__ import annotations

import json
from typing import Any
from zlib import crc32

import pytest

from alphapulse.config import VenueSettings
from alphapulse.errors import ConfigError
from producers.feed.actions import Resubscribe
from producers.venues.kraken import VENUE
from producers.venues.kraken.protocol import KrakenProtocol
from schemas.records import L2Update, Trade
from tests.fixtures.protocol_run import ProtocolRun

# The worked example of https://docs.kraken.com/api/docs/guides/spot-ws-book-v2, checksum 3310070434.
BIDS = (
    "45283.5 0.10000000", "45283.4 1.54582015", "45282.1 0.10000000", "45281.0 0.10000000", "45280.3 1.54592586",
    "45279.0 0.07990000", "45277.6 0.03310103", "45277.5 0.30000000", "45277.3 1.54602737", "45276.6 0.15445238",
)  # fmt: skip
ASKS = (
    "45285.2 0.00100000", "45286.4 1.54571953", "45286.6 1.54571109", "45289.6 1.54560911", "45290.2 0.15890660",
    "45291.8 1.54553491", "45294.7 0.04454749", "45296.1 0.35380000", "45297.5 0.09945542", "45299.5 0.18772827",
)  # fmt: skip
PUBLISHED = 3310070434


def side(levels: tuple[str, ...]) -> str:
    return "[" + ",".join('{{"price":{},"qty":{}}}'.format(*level.split()) for level in levels) + "]"


def book(
    kind: str = "snapshot",
    bids: tuple[str, ...] = BIDS,
    asks: tuple[str, ...] = ASKS,
    checksum: int | None = PUBLISHED,
    symbol: str = "BTC/USD",
) -> bytes:
    end = "" if checksum is None else f',"checksum":{checksum}'
    time = ',"timestamp":"2023-10-06T17:35:55.440295Z"'
    data = f'{{"symbol":"{symbol}","bids":{side(bids)},"asks":{side(asks)}{end}{time}}}'
    return f'{{"channel":"book","type":"{kind}","data":[{data}]}}'.encode()


def trade(trade_id: int, price: str = "45283.5", side: str = "buy", kind: str = "update") -> bytes:
    rest = f'"side":"{side}","price":{price},"qty":0.5,"ord_type":"limit","trade_id":{trade_id}'
    data = f'{{"symbol":"BTC/USD",{rest},"timestamp":"2023-10-06T17:35:55.440295Z"}}'
    return f'{{"channel":"trade","type":"{kind}","data":[{data}]}}'.encode()


INSTRUMENT = (
    b'{"channel":"instrument","type":"snapshot","data":{"assets":[],"pairs":['
    b'{"symbol":"BTC/USD","base":"BTC","quote":"USD","price_precision":1,"qty_precision":8,"price_increment":0.1},'
    b'{"symbol":"MATIC/USD","price_precision":4,"qty_precision":8}]}}'
)


def made(**settings: Any) -> ProtocolRun:
    return ProtocolRun(KrakenProtocol(VenueSettings(symbols=("BTC-USD", "ETH-USD"), **settings)))


@pytest.mark.parametrize("with_instrument", [True, False])
def test_the_published_checksum_holds(with_instrument: bool) -> None:
    run = made()
    if with_instrument:
        run.frame(1, INSTRUMENT)
    run.frame(2, book())
    tally = run.protocol.instruments["BTC-USD"].tally
    assert (tally.checksums_ok, tally.checksums_bad) == (1, 0)
    (record,) = run.records
    assert isinstance(record, L2Update)
    assert record.checksum == PUBLISHED
    assert record.exchange_time == 1696613755440295000


@pytest.mark.parametrize("with_instrument", [True, False])
def test_stripped_zeros_are_made_up_for_by_the_instruments_precision(with_instrument: bool) -> None:
    run = made()
    if with_instrument:
        run.frame(1, INSTRUMENT)
    # 100 instead of 100.0, 0.1 instead of 0.10000000: the text alone says too few decimals.
    wanted = "".join(["1010", "25000000", "1000", "10000000", "990", "50000000"]).encode()
    run.frame(2, book(bids=("100 0.1", "99 0.5"), asks=("101 0.25",), checksum=crc32(wanted)))
    assert run.protocol.instruments["BTC-USD"].tally.checksums_ok == int(with_instrument)


def test_precisions_beyond_the_values_decimals_are_padded() -> None:
    run = made()
    # price_precision 10 is wider than the 8 decimals the epoch was opened with before it was known.
    run.frame(1, book())
    run.frame(2, INSTRUMENT.replace(b'"price_precision":1,', b'"price_precision":10,'))
    run.frame(3, book("update", bids=("45283.5 0.10000000",), asks=()))
    assert run.protocol.instruments["BTC-USD"].tally.checksums_bad == 1


def test_a_bad_checksum_resyncs_that_book_only() -> None:
    run = made()
    run.frame(1, book(symbol="ETH/USD"))
    run.frame(2, book())
    run.frame(3, book("update", bids=("45283.5 0.2",), asks=(), checksum=1))
    run.frame(4, book("update", bids=("45283.5 0.3",), asks=(), checksum=2))
    state = run.protocol.instruments["BTC-USD"]
    assert (state.tally.checksums_bad, state.tally.ignored, state.tally.deltas) == (1, 1, 0)
    assert run.commands == [Resubscribe("BTC-USD")]
    assert [note.kind for note in run.notes] == ["checksum_failure", "resync"]
    assert not run.valid("BTC-USD")
    assert run.valid("ETH-USD")
    run.frame(5, book())
    assert run.valid("BTC-USD")
    assert state.book.epoch == 5


def test_resubscribing_names_the_one_symbol() -> None:
    sends = [
        json.loads(send.text)
        for send in KrakenProtocol(VenueSettings(symbols=("BTC-USD",))).resubscribe_book("BTC-USD")
    ]
    assert [send["method"] for send in sends] == ["unsubscribe", "subscribe"]
    assert sends[1]["params"] == {"channel": "book", "symbol": ["BTC/USD"], "depth": 1000, "snapshot": True}


def test_subscriptions_ask_for_earlier_trades_only_when_there_may_be_a_hole() -> None:
    protocol = KrakenProtocol(VenueSettings(symbols=("BTC-USD", "ETH-USD"), depth=25))
    first = [json.loads(send.text)["params"] for send in protocol.subscribe()]
    assert first == [
        {"channel": "instrument", "snapshot": True},
        {"channel": "book", "symbol": ["BTC/USD", "ETH/USD"], "depth": 25, "snapshot": True},
        {"channel": "trade", "symbol": ["BTC/USD", "ETH/USD"], "snapshot": False},
    ]
    protocol.receive(trade(1), 1)
    second = [json.loads(send.text)["params"] for send in protocol.subscribe()]
    assert second[2:] == [
        {"channel": "trade", "symbol": ["BTC/USD"], "snapshot": True},
        {"channel": "trade", "symbol": ["ETH/USD"], "snapshot": False},
    ]
    assert KrakenProtocol(VenueSettings()).subscribe() == []


def test_a_trade_snapshot_repeats_and_fills() -> None:
    run = made()
    for frame in (trade(5), trade(6, side="sell"), trade(5, kind="snapshot"), trade(7, kind="snapshot"), trade(9)):
        run.frame(1, frame)
    trades = [record for record in run.records if isinstance(record, Trade)]
    assert [(t.trade_id, t.side) for t in trades] == [("5", "BUY"), ("6", "SELL"), ("7", "BUY"), ("9", "BUY")]
    tally = run.protocol.instruments["BTC-USD"].tally
    assert (tally.trades, tally.duplicate_trades, tally.trade_gaps, tally.gaps) == (4, 1, 1, 0)
    assert [note.kind for note in run.notes] == ["trade_gap"]


def test_the_book_is_truncated_to_the_subscribed_depth() -> None:
    run = made(depth=10)
    run.frame(1, book())
    run.frame(2, book("update", bids=("45283.6 1.00000000",), asks=(), checksum=None))
    update = run.records[1]
    assert isinstance(update, L2Update)
    assert update.bid_prices == [4528360000000, 4527660000000]
    assert update.bid_sizes == [100000000, 0]
    assert len(run.readers["BTC-USD"].book.bids) == 10


@pytest.mark.parametrize(
    ("frame", "name"),
    [
        (b'{"channel":"heartbeat"}', "heartbeat"),
        (b'{"channel":"status","type":"update","data":[{"system":"online"}]}', "status"),
        (b'{"channel":"ticker","type":"update","data":[{"symbol":"BTC/USD"}]}', "ticker"),
        (b'{"method":"pong","req_id":1,"time_in":"x"}', "pong"),
        (b'{"method":"subscribe","result":{"channel":"trade","symbol":"BTC/USD"},"success":true}', "subscribe"),
        (b'{"method":"unsubscribe","result":{"channel":"book","symbol":"BTC/USD"},"success":true}', "unsubscribe"),
        (book(symbol="MATIC/USD"), "other_symbol"),
        (trade(1).replace(b"BTC/USD", b"???"), "other_symbol"),
    ],
)
def test_frames_we_do_not_need_are_counted_by_name(frame: bytes, name: str) -> None:
    run = made()
    run.frame(1, frame)
    assert run.protocol.ignored == {name: 1}
    assert not run.refused
    assert not run.notes


def test_acknowledged_and_refused_subscriptions_are_told() -> None:
    run = made()
    run.frame(1, b'{"method":"subscribe","result":{"channel":"book","symbol":"BTC/USD","depth":10},"success":true}')
    run.frame(2, b'{"error":"Currency pair not supported X/Y","method":"subscribe","success":false,"symbol":"X/Y"}')
    assert [(note.kind, note.severity, note.symbol) for note in run.notes] == [
        ("subscribed", "INFO", "BTC-USD"),
        ("subscription_refused", "ERROR", None),
    ]
    assert "Currency pair not supported X/Y" in run.notes[1].message


def test_old_names_are_understood() -> None:
    run = made()
    run.frame(1, book(symbol="XBT/USD"))
    assert run.valid("BTC-USD")


@pytest.mark.parametrize(
    ("frame", "told"),
    [
        (b"not json", "not json"),
        (b"{}", "neither channel nor method"),
        (b'{"channel":"weather","data":[]}', "'weather'"),
        (b'{"channel":"book","type":"other","data":[]}', "'other'"),
        (trade(1, price="-5"), "price: negative: '-5'"),
        (trade(1, price="1" + "0" * 30), "1000000000"),
        (trade(1, side="hold"), "hold"),
        (trade(-1), "$.trade_id"),
        (trade(1).replace(b"2023-10-06T", b"yesterday"), "yesterday"),
    ],
)
def test_a_refused_frame_about_no_book_leaves_the_books_alone(frame: bytes, told: str) -> None:
    run = made()
    run.frame(1, book())
    run.frame(2, frame)
    (refused,) = run.refused
    assert refused.value == frame
    assert told in refused.reason
    assert run.valid("BTC-USD")
    assert run.protocol.refused == 1
    assert [note.kind for note in run.notes] == ["dead_letter"]


@pytest.mark.parametrize(
    ("frame", "told"),
    [
        (book("update", bids=("45283.5 -1",), asks=()), "bids size: negative: '-1'"),
        (book("update", bids=("0." + "1" * 30 + " 1",), asks=()), "0.1111111"),
        (book("update", bids=("true 1",), asks=()), "'true'"),
        (book("update").replace(b'"checksum":3310070434', b'"checksum":"x"'), "checksum"),
        (book("update").replace(b'"asks":[', b'"asks":{'), "malformed"),
        (book("update").replace(b"2023-10-06", b"2023-99-06"), "2023-99-06"),
    ],
)
def test_a_refused_frame_about_a_book_puts_that_book_in_doubt(frame: bytes, told: str) -> None:
    run = made()
    run.frame(1, book())
    run.frame(1, book(symbol="ETH/USD"))
    run.frame(2, frame)
    (refused,) = run.refused
    assert refused.value == frame
    assert told in refused.reason
    assert refused.symbol == "BTC-USD"
    assert not run.valid("BTC-USD")
    assert run.valid("ETH-USD")
    assert run.commands == [Resubscribe("BTC-USD")]


def test_frames_may_be_text() -> None:
    run = made()
    run.take(run.protocol.receive(book().decode(), 1))
    run.take(run.protocol.receive("\ud800", 2))
    assert run.valid("BTC-USD")
    assert run.refused[0].value == b"\xed\xa0\x80"


def test_a_lost_connection_ends_every_epoch() -> None:
    run = made()
    run.frame(1, book())
    run.take(run.protocol.disconnected(9))
    assert isinstance(run.records[-1], L2Update)
    assert (run.records[-1].kind, run.records[-1].received_time) == ("INVALID", 9)
    assert not run.valid("BTC-USD")


def test_what_the_venue_does_not_offer_is_refused_at_start() -> None:
    with pytest.raises(ConfigError) as caught:
        VENUE.protocol(VenueSettings(symbols=("AAPL",), depth=7))
    assert "venues.kraken.depth: 7" in str(caught.value)
    assert "AAPL" in str(caught.value)


def test_a_crossed_book_is_found_although_the_checksum_holds() -> None:
    run = made()
    run.frame(1, book(checksum=None))
    run.frame(2, book("update", bids=("45285.2 1.0",), asks=(), checksum=None))
    assert [note.kind for note in run.notes] == ["crossed_book", "resync"]
    assert not run.valid("BTC-USD")


def joined(*frames: bytes) -> bytes:
    """Return one frame with the entries of ``frames``, which are all of one channel and type."""
    head = frames[0].partition(b'"data":[')[0]
    entries = [frame.partition(b'"data":[')[2].removesuffix(b"]}") for frame in frames]
    return head + b'"data":[' + b",".join(entries) + b"]}"


@pytest.mark.parametrize("at", [0, 1, 2])
def test_the_other_books_of_a_refused_frame_are_kept_up(at: int) -> None:
    bad = book("update", bids=("45283.5 -1",), asks=(), checksum=None)
    run = ProtocolRun(KrakenProtocol(VenueSettings(symbols=("BTC-USD", "ETH-USD", "SOL-USD"), depth=10)))
    for symbol in ("BTC/USD", "ETH/USD", "SOL/USD"):
        run.frame(1, book(symbol=symbol))
    entries = [
        book("update", symbol=symbol, bids=("45283.5 0.7",), asks=(), checksum=None)
        for symbol in ("ETH/USD", "SOL/USD")
    ]
    frame = joined(*entries[:at], bad, *entries[at:])
    run.frame(2, frame)
    (refused,) = run.refused
    assert (refused.value, refused.symbol, run.protocol.refused) == (frame, "BTC-USD", 1)
    assert [note.kind for note in run.notes] == ["dead_letter", "resync"]
    assert run.commands == [Resubscribe("BTC-USD")]
    assert [run.valid(symbol) for symbol in ("BTC-USD", "ETH-USD", "SOL-USD")] == [False, True, True]
    for symbol in ("ETH-USD", "SOL-USD"):
        assert next(iter(run.readers[symbol].book.bids)) == (4528350000000, 70000000)


def test_a_frame_with_several_refused_books_is_kept_once_and_puts_each_in_doubt() -> None:
    run = made()
    run.frame(1, book())
    run.frame(1, book(symbol="ETH/USD"))
    bad = [book("update", symbol=name, bids=("45283.5 -1",), asks=()) for name in ("BTC/USD", "ETH/USD")]
    run.frame(2, joined(*bad))
    assert [refused.symbol for refused in run.refused] == ["BTC-USD"]
    assert [(note.kind, note.symbol) for note in run.notes] == [
        ("dead_letter", "BTC-USD"),
        ("resync", "BTC-USD"),
        ("resync", "ETH-USD"),
    ]
    assert not run.valid("BTC-USD")
    assert not run.valid("ETH-USD")


def test_nothing_is_published_of_a_book_behind_its_refused_entry() -> None:
    run = made()
    run.frame(1, book())
    updates = [book("update", bids=(f"45283.5 {size}",), asks=(), checksum=None) for size in ("-1", "0.7")]
    run.frame(2, joined(*updates))
    records = [record for record in run.records if isinstance(record, L2Update)]
    assert [record.kind for record in records] == ["SNAPSHOT", "INVALID"]


def test_a_frame_that_cannot_be_read_puts_all_books_it_names_in_doubt() -> None:
    run = made()
    run.frame(1, book())
    run.frame(1, book(symbol="ETH/USD"))
    run.frame(2, joined(book("update"), book("update", symbol="ETH/USD"))[:-1])
    assert len(run.refused) == 1
    assert run.commands == [Resubscribe("BTC-USD"), Resubscribe("ETH-USD")]
    assert not run.valid("BTC-USD")
    assert not run.valid("ETH-USD")


def test_the_other_trades_of_a_refused_frame_are_published() -> None:
    run, bad = made(), trade(2, price="-5")
    frame = joined(trade(1), bad, trade(3))
    run.frame(1, frame)
    assert [record.trade_id for record in run.records if isinstance(record, Trade)] == ["1", "3"]
    assert [refused.value for refused in run.refused] == [frame]
    assert [note.kind for note in run.notes].count("dead_letter") == 1
    assert run.commands == []
