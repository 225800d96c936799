from __future__ import annotations

import json
from typing import Any

import pytest

from alphapulse.config import VenueSettings
from alphapulse.errors import ConfigError
from producers.feed.actions import FetchSnapshot, Reconnect
from producers.venues.binance import VENUE
from producers.venues.binance.protocol import BinanceProtocol
from producers.venues.binance.synchronizer import MOST_KEPT
from producers.venues.binance_us import VENUE as VENUE_US
from schemas.records import L2Update, Trade
from tests.fixtures.protocol_run import ProtocolRun

Pairs = list[list[str]]


def diff(first: int, last: int, bids: Pairs | None = None, asks: Pairs | None = None, symbol: str = "BTCUSDT") -> bytes:
    data = {
        "e": "depthUpdate",
        "E": 1723161255208,
        "s": symbol,
        "U": first,
        "u": last,
        "b": bids or [],
        "a": asks or [],
    }
    return stream(data, "depth@100ms", symbol)


def stream(data: dict[str, Any], name: str, symbol: str = "BTCUSDT") -> bytes:
    return json.dumps({"stream": f"{symbol.lower()}@{name}", "data": data}).encode()


def answer(last: int, bids: Pairs | None = None, asks: Pairs | None = None) -> bytes:
    return json.dumps(
        {"lastUpdateId": last, "bids": bids or [["10.00", "1.0"]], "asks": asks or [["11.00", "2.0"]]}
    ).encode()


def trade(trade_id: int, *, maker_bought: bool = True, price: str = "10.5", **fields: Any) -> bytes:
    data = {"e": "trade", "E": 1, "s": "BTCUSDT", "t": trade_id, "p": price, "q": "0.5", "T": 1723161255342}
    return stream({**data, "m": maker_bought, "M": True, **fields}, "trade")


def aggregate(trade_id: int) -> bytes:
    data = {
        "e": "aggTrade",
        "E": 1,
        "s": "BTCUSDT",
        "a": trade_id,
        "p": "1",
        "q": "2",
        "f": 1,
        "l": 2,
        "T": 3,
        "m": False,
    }
    return stream(data, "aggTrade")


def made(**settings: Any) -> ProtocolRun:
    return ProtocolRun(BinanceProtocol(VenueSettings(symbols=("BTC-USDT", "ETH-USDT"), **settings)))


def give(run: ProtocolRun, body: bytes, time: int = 100, symbol: str = "BTC-USDT") -> None:
    run.take(run.protocol.snapshot(run.wanted.pop(symbol), body, time))


def text(run: ProtocolRun) -> str:
    reader = run.readers["BTC-USDT"]
    return reader.book.text(reader.price_exponent, reader.size_exponent)


def live() -> ProtocolRun:
    run = made()
    run.frame(1, diff(5, 6))
    give(run, answer(6))
    return run


def test_diffs_are_kept_until_the_snapshot_and_published_behind_it() -> None:
    run = made()
    run.frame(1, diff(5, 6, [["9", "9"]]))
    run.frame(2, diff(7, 9, [["9", "7"]]))
    run.frame(3, diff(10, 12, [["10.00", "0.00"]], [["12.00000000", "4"]]))
    assert run.records == []
    assert run.protocol.waiting == 3
    (request,) = run.commands
    assert request == FetchSnapshot("BTC-USDT", "/api/v3/depth?symbol=BTCUSDT&limit=5000", 1)

    give(run, answer(8), time=50)

    snapshot, first, second = run.records
    assert isinstance(snapshot, L2Update)
    assert (snapshot.kind, snapshot.epoch, snapshot.exchange_sequence, snapshot.exchange_time) == ("SNAPSHOT", 50, 8, 0)
    assert isinstance(second, L2Update)
    assert (second.sequence, second.exchange_sequence, second.exchange_time) == (2, 12, 1723161255208000000)
    assert (first.received_time, second.received_time) == (2, 3)
    assert text(run) == "B 9 7\nA 11 2\nA 12 4\n"
    assert run.protocol.instruments["BTC-USDT"].tally.ignored == 1
    assert run.protocol.waiting == 0


@pytest.mark.parametrize(("last", "joins"), [(3, False), (4, True), (5, True), (6, True), (99, True)])
def test_a_snapshot_must_reach_the_first_diff(last: int, joins: bool) -> None:
    run = made()
    run.frame(1, diff(5, 6))
    give(run, answer(last))
    assert run.valid("BTC-USDT") is joins
    if not joins:
        assert run.commands[-1] == FetchSnapshot("BTC-USDT", "/api/v3/depth?symbol=BTCUSDT&limit=5000", 2, 1)
        assert run.protocol.waiting == 1
        give(run, answer(5))
        assert run.valid("BTC-USDT")
        assert run.protocol.waiting == 0


def test_old_diffs_are_ignored_and_overlapping_ones_applied() -> None:
    run = live()
    for first, last in ((1, 6), (6, 8), (8, 8), (9, 9)):
        run.frame(2, diff(first, last))
    tally = run.protocol.instruments["BTC-USDT"].tally
    assert (tally.ignored, tally.deltas, tally.gaps) == (3, 2, 0)


def test_a_gap_starts_that_symbol_over() -> None:
    run = live()
    run.frame(2, diff(5, 6, symbol="ETHUSDT"))
    give(run, answer(6), symbol="ETH-USDT")
    run.frame(3, diff(8, 9))
    tally = run.protocol.instruments["BTC-USDT"].tally
    assert tally.gaps == 1
    assert [note.kind for note in run.notes] == ["gap", "resync"]
    assert "7 to 7" in run.notes[0].message
    assert not run.valid("BTC-USDT")
    assert run.valid("ETH-USDT")
    run.frame(4, diff(10, 10, [["9.5", "1"]]))
    assert run.protocol.waiting == 2
    give(run, answer(9))
    assert text(run) == "B 10 1\nB 9.5 1\nA 11 2\n"
    assert (tally.snapshots, tally.deltas, tally.ignored) == (2, 1, 2)


def test_a_gap_among_the_kept_diffs_starts_over_with_the_rest() -> None:
    run = made()
    for number in (5, 6, 8, 9):
        run.frame(number, diff(number, number))
    give(run, answer(5))
    tally = run.protocol.instruments["BTC-USDT"].tally
    assert (tally.gaps, tally.deltas, run.protocol.waiting) == (1, 1, 2)
    assert not run.valid("BTC-USDT")
    give(run, answer(8))
    assert run.valid("BTC-USDT")
    assert run.protocol.waiting == 0


def test_an_answer_nobody_waits_for_is_ignored() -> None:
    run = made()
    run.frame(1, diff(5, 6))
    stale = run.wanted["BTC-USDT"]
    run.take(run.protocol.disconnected(2))
    assert run.protocol.waiting == 0
    run.frame(3, diff(50, 51))
    assert run.protocol.snapshot(stale, answer(6), 4) == []
    give(run, answer(50))
    assert run.valid("BTC-USDT")


@pytest.mark.parametrize(
    ("body", "told"),
    [
        (b"<html>", "malformed"),
        (b'{"code":-1121,"msg":"Invalid symbol."}', "lastUpdateId"),
        (answer(6).replace(b'"10.00"', b'"ten"'), "'ten'"),
    ],
)
def test_an_answer_that_cannot_be_used_is_refused_and_asked_for_again(body: bytes, told: str) -> None:
    run = made()
    run.frame(1, diff(5, 6))
    give(run, body)
    (refused,) = run.refused
    assert refused.value == body
    assert told in refused.reason
    assert run.wanted["BTC-USDT"].attempt == 1
    give(run, answer(6))
    assert run.valid("BTC-USDT")


def test_a_crossed_snapshot_is_followed_by_the_diffs() -> None:
    run = made()
    run.frame(1, diff(5, 6))
    run.frame(1, diff(7, 8, [["12.0", "3"]]))
    give(run, answer(6, [["12.0", "1"], ["10.0", "1"]]))
    assert [note.kind for note in run.notes] == ["crossed_book"]
    run.frame(2, diff(9, 9))
    assert not run.wanted
    assert not run.valid("BTC-USDT")
    run.frame(3, diff(10, 10, [["12.0", "0"]]))
    assert run.valid("BTC-USDT")
    assert run.figures("BTC-USDT")["book"]["best_bid"] == "10"
    run.frame(4, diff(12, 12))
    assert [note.kind for note in run.notes][1:] == ["gap", "resync"]


def quiet() -> ProtocolRun:
    """Return a run with a book of which nothing is heard for long, and the request for what it is compared with."""
    run = made()
    run.frame(1, diff(5, 6))
    give(run, answer(6))
    run.take(run.protocol.verify("BTC-USDT", 300.0))
    assert [note.kind for note in run.notes] == ["quiet"]
    assert run.wanted["BTC-USDT"].path.endswith("&limit=5")
    assert run.valid("BTC-USDT")
    return run


def test_a_quiet_book_is_right_if_the_venue_knows_of_no_later_diff() -> None:
    run = quiet()
    state = run.protocol.instruments["BTC-USDT"]
    give(run, answer(6))
    assert (state.tally.unchanged, state.book.verifying) == (1, False)
    run.frame(2, diff(7, 7, [["9", "1"]]))
    kinds = [record.kind for record in run.records if isinstance(record, L2Update)]
    assert kinds == ["SNAPSHOT", "DELTA"]


def test_a_quiet_book_waits_for_the_diffs_that_the_venue_knows_of() -> None:
    run = quiet()
    state = run.protocol.instruments["BTC-USDT"]
    give(run, answer(8))
    assert (state.tally.unchanged, state.book.verifying) == (0, True)
    run.frame(2, diff(7, 8, [["9", "1"]]))
    assert (state.book.verifying, run.valid("BTC-USDT")) == (False, True)


def test_a_quiet_book_whose_diffs_do_not_come_is_in_doubt() -> None:
    run = quiet()
    give(run, answer(8))
    run.take(run.protocol.revive("BTC-USDT", 3, 30.0))
    assert not run.valid("BTC-USDT")
    assert run.wanted["BTC-USDT"].path.endswith("&limit=5000")
    give(run, answer(8))
    assert run.valid("BTC-USDT")


def test_a_book_that_is_withheld_or_hidden_is_followed_while_it_is_compared() -> None:
    run = made()
    run.frame(1, diff(5, 6))
    give(run, answer(6, [["12.0", "1"], ["10.0", "1"]]))
    run.take(run.protocol.withhold(2))
    for again in (False, True):
        run.take(run.protocol.recheck("BTC-USDT") if again else run.protocol.verify("BTC-USDT", 300.0))
        number = run.protocol.instruments["BTC-USDT"].book.exchange_sequence
        assert number is not None
        run.frame(3, diff(number + 1, number + 1, [["9", str(number)]]))
        assert run.protocol.waiting == 0
        give(run, answer(number + 1))
        assert not run.protocol.instruments["BTC-USDT"].book.verifying
    run.frame(4, diff(9, 9, [["12.0", "0"]]))
    for outputs in run.protocol.resume(lambda: 5):
        run.take(outputs)
    assert run.figures("BTC-USDT")["book"]["bid_levels"] == 2
    assert run.valid("BTC-USDT")


def test_a_diff_while_a_book_is_compared_and_an_answer_that_cannot_be_read() -> None:
    run = quiet()
    run.frame(2, diff(7, 7, [["9", "1"]]))
    assert run.protocol.instruments["BTC-USDT"].book.verifying
    give(run, b"no answer")
    assert [note.kind for note in run.notes][1:] == ["dead_letter"]
    give(run, answer(7))
    assert run.valid("BTC-USDT")
    assert not run.protocol.instruments["BTC-USDT"].book.verifying


def test_a_kept_diff_that_is_refused_puts_the_book_in_doubt() -> None:
    run = made()
    bad = diff(7, 8, [["x", "1"]])
    for frame in (diff(5, 6), bad, diff(9, 9)):
        run.frame(1, frame)
    give(run, answer(6))
    assert run.refused[0].value == bad
    assert [record.kind for record in run.records if isinstance(record, L2Update)] == ["SNAPSHOT", "INVALID"]
    assert run.protocol.waiting == 1
    give(run, answer(9))
    assert run.valid("BTC-USDT")


def test_the_diffs_kept_are_bounded() -> None:
    run = made()
    for number in range(MOST_KEPT + 10):
        run.frame(1, diff(number, number))
    assert run.protocol.waiting == MOST_KEPT
    assert run.protocol.instruments["BTC-USDT"].tally.ignored == 10
    give(run, answer(8))
    assert not run.valid("BTC-USDT")
    give(run, answer(9))
    assert run.valid("BTC-USDT")


def test_trades_tell_the_aggressor() -> None:
    run = made()
    run.frame(1, trade(1, maker_bought=True))
    run.frame(1, trade(2, maker_bought=False))
    run.frame(1, trade(2))
    run.frame(1, trade(5))
    trades = [record for record in run.records if isinstance(record, Trade)]
    assert [(t.side, t.exchange_time) for t in trades][:2] == [
        ("SELL", 1723161255342000000),
        ("BUY", 1723161255342000000),
    ]
    tally = run.protocol.instruments["BTC-USDT"].tally
    assert (tally.trades, tally.duplicate_trades, tally.trade_gaps, tally.gaps) == (3, 1, 1, 0)


def test_aggregate_trades_do_as_well_but_not_both() -> None:
    run = made()
    run.frame(1, aggregate(1))
    run.frame(1, trade(77))
    run.frame(1, aggregate(2))
    assert [record.trade_id for record in run.records if isinstance(record, Trade)] == ["1", "2"]
    assert run.protocol.ignored == {"trade": 1}


def test_raw_payloads_are_understood() -> None:
    run = made()
    for frame in (diff(5, 6), trade(1), aggregate(1)):
        run.frame(1, json.dumps(json.loads(frame)["data"]).encode())
    assert run.protocol.waiting == 1
    assert run.protocol.instruments["BTC-USDT"].tally.trades == 1


@pytest.mark.parametrize(
    ("frame", "name"),
    [
        (stream({"u": 1, "s": "BTCUSDT", "b": "1", "B": "1", "a": "1", "A": "1"}, "bookTicker"), "bookTicker"),
        (b'{"u":1,"s":"BTCUSDT","b":"1","B":"1","a":"1","A":"1"}', "bookTicker"),
        (stream({"e": "kline"}, "kline_1m"), "kline"),
        (stream({"lastUpdateId": 1}, "depth20@100ms"), "depth20"),
        (b'{"e":"24hrTicker","s":"BTCUSDT"}', "24hrTicker"),
        (b'{"result":null,"id":1}', "result"),
        (diff(1, 1, symbol="XRPUSDT"), "other_symbol"),
    ],
)
def test_frames_we_do_not_need_are_counted_by_name(frame: bytes, name: str) -> None:
    run = made()
    run.frame(1, frame)
    assert run.protocol.ignored == {name: 1}
    assert not run.refused


def test_a_refused_request_is_told() -> None:
    run = made()
    run.frame(1, b'{"error":{"code":2,"msg":"Invalid request"},"id":1}')
    assert [(note.kind, note.severity) for note in run.notes] == [("subscription_refused", "ERROR")]
    assert "Invalid request" in run.notes[0].message


@pytest.mark.parametrize("frame", [b'{"e":"serverShutdown","E":1}', b'{"stream":"x","data":{},"e":"serverShutdown"}'])
def test_an_announced_shutdown_asks_for_a_new_connection(frame: bytes) -> None:
    run = made()
    run.frame(1, frame)
    assert (run.commands == [Reconnect("serverShutdown announced")]) is (b"stream" not in frame)


@pytest.mark.parametrize(
    ("frame", "told"),
    [
        (b"null", "null"),
        (b"{}", "neither stream nor event nor answer"),
        (stream({}, "weather"), "'weather'"),
        (trade(1, price="-1"), "negative: '-1'"),
        (trade(1, T=2**63 - 1), "milliseconds"),
        (trade(2**63), "t`"),
        (trade(1, m="yes"), "$.m"),
    ],
)
def test_a_refused_frame_about_no_book_leaves_the_books_alone(frame: bytes, told: str) -> None:
    run = live()
    run.frame(2, frame)
    (refused,) = run.refused
    assert refused.value == frame
    assert told in refused.reason
    assert run.valid("BTC-USDT")


@pytest.mark.parametrize(
    ("frame", "told"),
    [
        (diff(7, 7, [["9", "-1"]]), "b size: negative: '-1'"),
        (diff(7, 7, [["0." + "1" * 30, "1"]]), "0.1111"),
        (diff(7, 7).replace(b'"U": 7', b'"V": 7'), "`U`"),
        (diff(7, 7).replace(b"1723161255208", b"9223372036854775807"), "milliseconds"),
        (diff(7, 7)[:-2], "truncated"),
    ],
)
def test_a_refused_frame_about_a_book_puts_that_book_in_doubt(frame: bytes, told: str) -> None:
    run = live()
    run.frame(2, frame)
    (refused,) = run.refused
    assert refused.value == frame
    assert told in refused.reason
    assert refused.symbol == "BTC-USDT"
    assert not run.valid("BTC-USDT")
    run.frame(3, diff(8, 8))
    give(run, answer(8))
    assert run.valid("BTC-USDT")


def test_a_crossed_book_is_a_doubt() -> None:
    run = live()
    run.frame(2, diff(7, 7, [["11.5", "1"]]))
    assert [note.kind for note in run.notes] == ["crossed_book", "resync"]
    run.frame(3, diff(8, 8))
    give(run, answer(8))
    assert run.valid("BTC-USDT")


def test_the_address_names_the_streams() -> None:
    run = made(depth=100)
    path = run.protocol.path()
    assert path == "/stream?streams=btcusdt@depth@100ms/btcusdt@trade/ethusdt@depth@100ms/ethusdt@trade"
    assert run.protocol.subscribe() == []
    (request,) = run.protocol.resubscribe("ETH-USDT")
    assert isinstance(request, FetchSnapshot)
    assert request.path == "/api/v3/depth?symbol=ETHUSDT&limit=100"


def test_what_the_venue_does_not_offer_is_refused_at_start() -> None:
    for venue in (VENUE, VENUE_US):
        with pytest.raises(ConfigError) as caught:
            venue.protocol(VenueSettings(symbols=("AAPL",), depth=5001))
        assert f"venues.{venue.name}.depth: 5001" in str(caught.value)
        assert "AAPL" in str(caught.value)
