from __future__ import annotations

import json
from typing import Any

import pytest

from alphapulse.config import VenueSettings
from alphapulse.errors import ConfigError, FrameRefused, ValueRefused
from producers.feed.actions import Reconnect, Resubscribe, Send
from producers.venue_server.session import BOOK, TRADES
from producers.venues.okx import VENUE
from producers.venues.okx.instruments import parse_instruments
from producers.venues.okx.protocol import DEPTH, OkxProtocol
from producers.venues.okx.server import classify
from producers.venues.okx.symbols import canonical_symbol
from schemas.records import L2Update, Trade
from tests.fixtures.protocol_run import ProtocolRun

Levels = list[list[str]]


def book(
    before: int, number: int, bids: Levels, asks: Levels, *, action: str = "update", symbol: str = "BTC-USDT"
) -> bytes:
    sides = {"bids": [[*level, "0", "1"] for level in bids], "asks": [[*level, "0", "1"] for level in asks]}
    data = {**sides, "ts": "1597026383085", "checksum": 0, "seqId": number, "prevSeqId": before}
    return json.dumps({"arg": {"channel": "books", "instId": symbol}, "action": action, "data": [data]}).encode()


def snapshot(number: int = 10, symbol: str = "BTC-USDT") -> bytes:
    return book(-1, number, [["10.0", "1"]], [["11.0", "2.5"]], action="snapshot", symbol=symbol)


def trade(trade_id: int, **fields: Any) -> bytes:
    data = {"instId": "BTC-USDT", "tradeId": str(trade_id), "px": "10.5", "sz": "2", "side": "sell", **fields}
    argument = {"channel": "trades", "instId": data["instId"]}
    return json.dumps({"arg": argument, "data": [{"ts": "1630048897897", "count": "1", **data}]}).encode()


def made() -> ProtocolRun:
    return ProtocolRun(OkxProtocol(VenueSettings(symbols=("BTC-USDT", "ETH-USDT"))))


def text(run: ProtocolRun, symbol: str = "BTC-USDT") -> str:
    reader = run.readers[symbol]
    return reader.book.text(reader.price_exponent, reader.size_exponent)


def test_a_book_follows_the_chain_of_messages() -> None:
    run = made()
    run.frame(1, snapshot())
    run.frame(2, book(10, 17, [["10.0", "0"], ["9.5", "3"]], []))
    run.frame(3, book(17, 17, [], []))
    run.frame(4, book(17, 18, [], [["12.00000001", "4"]]))
    assert text(run) == "B 9.5 3\nA 11 2.5\nA 12.00000001 4\n"
    records = [record for record in run.records if isinstance(record, L2Update)]
    assert [(record.kind, record.sequence, record.exchange_sequence) for record in records] == [
        ("SNAPSHOT", 0, 10),
        ("DELTA", 1, 17),
        ("DELTA", 2, 18),
    ]
    assert records[1].exchange_time == 1597026383085000000
    assert run.protocol.ignored == {"unchanged": 1}


def test_a_broken_chain_ends_the_epoch_of_that_book_alone() -> None:
    run = made()
    run.frame(1, snapshot())
    run.frame(1, snapshot(symbol="ETH-USDT"))
    run.frame(2, book(12, 13, [["9", "1"]], []))
    assert not run.valid("BTC-USDT")
    assert run.valid("ETH-USDT")
    assert run.commands == [Resubscribe("BTC-USDT")]
    assert [note.kind for note in run.notes] == ["gap", "resync"]
    assert "follows 12, but the last one received was 10" in run.notes[0].message
    run.frame(3, book(13, 14, [["9", "1"]], []))
    tally = run.protocol.instruments["BTC-USDT"].tally
    assert (tally.gaps, tally.ignored) == (1, 1)
    run.frame(4, snapshot(20))
    run.frame(5, book(20, 21, [["9", "1"]], []))
    assert run.valid("BTC-USDT")


def test_a_repeated_message_changes_nothing() -> None:
    run = made()
    run.frame(1, snapshot())
    for _ in range(2):
        run.frame(2, book(10, 12, [["9", "1"]], []))
    tally = run.protocol.instruments["BTC-USDT"].tally
    assert (tally.deltas, tally.ignored, tally.gaps) == (1, 1, 0)


def test_numbers_may_start_again_lower_as_long_as_the_chain_holds() -> None:
    run = made()
    run.frame(1, snapshot(100))
    run.frame(2, book(100, 3, [["9", "1"]], []))
    run.frame(3, book(3, 5, [["8", "1"]], []))
    assert run.valid("BTC-USDT")
    run.frame(4, book(6, 7, [["7", "1"]], []))
    assert not run.valid("BTC-USDT")


def test_what_falls_out_of_the_depth_is_deleted() -> None:
    run = made()
    bids = [[f"{1000 - n}", "1"] for n in range(DEPTH)]
    run.frame(1, book(-1, 1, bids, [["1100", "1"]], action="snapshot"))
    run.frame(2, book(1, 2, [["1001", "1"]], []))
    assert len(run.readers["BTC-USDT"].book.bids) == DEPTH


def test_a_trade_stands_for_as_many_as_it_counts() -> None:
    run = made()
    run.frame(1, trade(5))
    run.frame(1, trade(8, count="3", side="buy"))
    run.frame(1, trade(8, count="3", side="buy"))
    assert run.notes == []
    run.frame(1, trade(12, count="2"))
    assert [note.details for note in run.notes] == [{"missing": "2"}]
    trades = [record for record in run.records if isinstance(record, Trade)]
    assert [(record.trade_id, record.side) for record in trades] == [("5", "SELL"), ("8", "BUY"), ("12", "SELL")]
    assert run.protocol.instruments["BTC-USDT"].tally.duplicate_trades == 1


@pytest.mark.parametrize(
    ("data", "name"),
    [
        (b"pong", "pong"),
        (snapshot(symbol="XRP-USDT"), "other_symbol"),
        (trade(1, instId="XRP-USDT"), "other_symbol"),
        (b'{"arg":{"channel":"tickers","instId":"BTC-USDT"},"data":[]}', "tickers"),
        (b'{"event":"unsubscribe","arg":{"channel":"books","instId":"BTC-USDT"}}', "unsubscribe"),
        (b'{"event":"subscribe","arg":{"channel":"trades","instId":"BTC-USDT"}}', "subscribe"),
    ],
)
def test_frames_we_do_not_need_are_counted_by_name(data: bytes, name: str) -> None:
    run = made()
    run.frame(1, data)
    assert run.protocol.ignored == {name: 1}
    assert not run.refused
    assert not run.notes


@pytest.mark.parametrize(
    ("data", "kind", "told"),
    [
        (b'{"event":"error","code":"60018","msg":"no such channel"}', "subscription_refused", "60018 no such channel"),
        (b'{"event":"channel-conn-count-error","channel":"books"}', "subscription_refused", "too many connections"),
        (b'{"event":"subscribe","arg":{"channel":"books","instId":"BTC-USDT"}}', "subscribed", "book"),
    ],
)
def test_answers_are_told(data: bytes, kind: str, told: str) -> None:
    run = made()
    run.frame(1, data)
    assert [note.kind for note in run.notes] == [kind]
    assert told in run.notes[0].message


def test_a_notice_of_maintenance_is_a_reason_to_reconnect() -> None:
    run = made()
    run.frame(1, b'{"event":"notice","code":"64008","msg":"soon closed"}')
    assert run.commands == [Reconnect("notice from the venue: 64008 soon closed")]


@pytest.mark.parametrize(
    ("data", "told"),
    [
        (b"", "truncated"),
        (b"ping", "malformed"),
        (b"{}", "neither event nor arg"),
        (b'{"event":"weather"}', "weather"),
        (b'{"arg":{"channel":"weather"}}', "weather"),
        (trade(1, px="ten"), "'ten'"),
        (trade(1, tradeId="x"), "tradeId"),
        (trade(1, count=2), "count"),
        (trade(1, ts="9" * 17), "not a time"),
    ],
)
def test_a_refused_frame_about_no_book_leaves_the_books_alone(data: bytes, told: str) -> None:
    run = made()
    run.frame(1, snapshot())
    run.frame(2, data)
    (refused,) = run.refused
    assert refused.value == data
    assert told in refused.reason
    assert run.valid("BTC-USDT")


@pytest.mark.parametrize(
    ("data", "told"),
    [
        (book(10, 11, [["9", "-1"]], []), "bids size: negative: '-1'"),
        (book(10, 11, [["x", "1"]], []), "'x'"),
        (book(10, 11, [], [["9"]]), "asks"),
        (book(10, 11, [], [], action="patch"), "patch"),
        (book(10, 11, [["9", "1"]], [])[:-9], "truncated"),
        (book(10, 11, [], []).replace(b'"seqId": 11', b'"seqId": "a"'), "seqId"),
        (book(-1, 1, [["1", "y"]], [], action="snapshot"), "'y'"),
    ],
)
def test_a_refused_frame_about_a_book_puts_that_book_in_doubt(data: bytes, told: str) -> None:
    run = made()
    run.frame(1, snapshot())
    run.frame(1, snapshot(symbol="ETH-USDT"))
    run.frame(2, data)
    (refused,) = run.refused
    assert told in refused.reason
    assert not run.valid("BTC-USDT")
    assert run.valid("ETH-USDT")
    assert run.commands == [Resubscribe("BTC-USDT")]


def test_an_update_that_crosses_the_book_is_a_doubt_and_asks_for_a_snapshot() -> None:
    run = made()
    run.frame(1, snapshot())
    run.frame(2, book(10, 11, [["11", "1"]], []))
    assert not run.valid("BTC-USDT")
    assert [note.kind for note in run.notes] == ["crossed_book", "resync"]


def test_a_crossed_snapshot_is_followed_by_the_chain_of_messages() -> None:
    run = made()
    run.frame(1, snapshot().replace(b'"10.0"', b'"11.0"'))
    run.frame(2, book(10, 12, [["11", "5"]], []))
    run.frame(3, book(12, 12, [], []))
    assert [note.kind for note in run.notes] == ["crossed_book"]
    run.frame(4, book(12, 15, [["11", "0"], ["9", "2"]], []))
    assert text(run) == "B 9 2\nA 11 2.5\n"
    # A loss in the midst of it is one.
    run.frame(5, snapshot(20).replace(b'"10.0"', b'"11.0"'))
    run.frame(6, book(21, 22, [["11", "0"]], []))
    assert [note.kind for note in run.notes][1:] == ["crossed_book", "gap", "resync"]
    assert run.commands == [Resubscribe("BTC-USDT")]


def test_what_says_that_nothing_has_changed_proves_the_subscription_of_that_book() -> None:
    run = made()
    run.frame(1, snapshot())
    run.frame(2, snapshot(symbol="ETH-USDT"))
    lives = {symbol: state.tally.life for symbol, state in run.protocol.instruments.items()}
    run.frame(3, book(10, 10, [], []))
    run.frame(3, b"pong")
    run.frame(3, trade(7))
    run.frame(3, trade(7, instId="ETH-USDT"))
    lives["BTC-USDT"] += 1
    assert {symbol: state.tally.life for symbol, state in run.protocol.instruments.items()} == lives
    assert run.protocol.pongs == 1


def test_requests() -> None:
    protocol = OkxProtocol(VenueSettings(symbols=tuple(f"A{n}-USDT" for n in range(150))))
    sent = [json.loads(send.text) for send in protocol.subscribe()]
    assert [len(request["args"]) for request in sent] == [200, 100]
    assert {request["op"] for request in sent} == {"subscribe"}
    assert sent[0]["args"][0] == {"channel": "books", "instId": "A0-USDT"}
    again = [json.loads(send.text) for send in protocol.resubscribe_book("A1-USDT")]
    argument = {"channel": "books", "instId": "A1-USDT"}
    assert again == [{"op": operation, "args": [argument]} for operation in ("unsubscribe", "subscribe")]
    assert protocol.path() == ""
    assert OkxProtocol(VenueSettings()).subscribe() == []


def test_symbols_come_and_go_on_a_connection() -> None:
    run = made()
    protocol = run.protocol
    assert isinstance(protocol, OkxProtocol)
    run.frame(1, snapshot())
    (request,) = protocol.add(["SOL-USDT"])
    assert [argument["channel"] for argument in json.loads(request.text)["args"]] == ["books", "trades"]
    with pytest.raises(ValueRefused, match="AAPL"):
        protocol.add(["ADA-USDT", "AAPL"])
    assert list(protocol.instruments) == ["BTC-USDT", "ETH-USDT", "SOL-USDT"]
    assert [type(output) for output in protocol.remove("BTC-USDT", 5)] == [L2Update, Send]
    run.frame(6, book(10, 11, [["9", "1"]], []))
    assert protocol.ignored["other_symbol"] == 1


def test_the_list_of_instruments() -> None:
    instruments = [{"instId": "BTC-USDT", "state": "live"}, {"instId": "ETH-USDT", "state": "suspend"}, {"instId": "x"}]
    assert parse_instruments(json.dumps({"code": "0", "msg": "", "data": instruments}).encode()) == ["BTC-USDT"]
    with pytest.raises(FrameRefused, match="list of instruments: 50011"):
        parse_instruments(b'{"code":"50011","msg":"Too many requests","data":[]}')
    with pytest.raises(FrameRefused, match="list of instruments"):
        parse_instruments(b"{")


def test_what_the_venue_does_not_offer_is_refused_at_start() -> None:
    with pytest.raises(ConfigError) as caught:
        VENUE.protocol(VenueSettings(symbols=("AAPL",), depth=10))
    assert "venues.okx.depth: 10 is not supported" in str(caught.value)
    assert "AAPL" in str(caught.value)


def test_a_swap_is_no_spot_instrument() -> None:
    with pytest.raises(ValueRefused, match="BTC-USDT-SWAP"):
        canonical_symbol("BTC-USDT-SWAP")


@pytest.mark.parametrize(
    ("frame", "keys"),
    [
        (snapshot(), ((BOOK, "BTC-USDT"),)),
        (trade(1), ((TRADES, "BTC-USDT"),)),
        (b'{"arg":{"channel":"tickers","instId":"BTC-USDT"}}', (("tickers", "BTC-USDT"),)),
        (b'{"event":"error"}', ()),
        (b"pong", ()),
    ],
)
def test_what_a_recorded_frame_is_about(frame: bytes, keys: tuple[tuple[str, str], ...]) -> None:
    assert classify(frame).keys == keys


@pytest.mark.parametrize("frame", [b"{}", b"ping", b'{"channel":"book"}'])
def test_a_recorded_frame_of_another_venue_is_refused(frame: bytes) -> None:
    with pytest.raises(FrameRefused, match="okx"):
        classify(frame)
