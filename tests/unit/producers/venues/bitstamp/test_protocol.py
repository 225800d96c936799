"""Bitstamp: diffs joined to a REST snapshot, what shows of a loss, and what does not."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

import pytest

from alphapulse.config import VenueSettings
from alphapulse.errors import ConfigError, FrameRefused
from producers.feed.actions import FetchSnapshot, Reconnect, Send
from producers.registry import load
from producers.venues.bitstamp.instruments import parse_instruments
from producers.venues.bitstamp.protocol import BitstampProtocol
from producers.venues.bitstamp.synchronizer import QUIET_NS
from schemas.records import L2Update, Trade
from tests.fixtures.protocol_run import ProtocolRun, run

S = 1_000_000_000
BTC, ETH = "BTC-USD", "ETH-USD"


def frame(event: str, channel: str, **data: Any) -> bytes:
    return json.dumps({"data": data, "channel": channel, "event": event}).encode()


def diff(stamp: int, bids: Sequence[Any] = (), asks: Sequence[Any] = (), market: str = "btcusd") -> bytes:
    return frame("data", f"diff_order_book_{market}", timestamp="1", microtimestamp=str(stamp), bids=bids, asks=asks)


def answer(stamp: int, bids: Sequence[Any] = (["10", "1"],), asks: Sequence[Any] = (["11", "2"],)) -> bytes:
    return json.dumps({"timestamp": "1", "microtimestamp": str(stamp), "bids": bids, "asks": asks}).encode()


def confirmed(channel: str = "diff_order_book_btcusd") -> bytes:
    return frame("bts:subscription_succeeded", channel)


def error(message: str, channel: str = "") -> bytes:
    return frame("bts:error", channel, code=None, message=message)


def started(*symbols: str) -> ProtocolRun:
    """Return a run whose books wait for their first diff."""
    it = run("bitstamp", symbols or (BTC,))
    it.protocol.subscribe()
    for state in it.protocol.instruments.values():
        it.frame(1, confirmed(f"diff_order_book_{state.venue_symbol}"))
    return it


def fetched(it: ProtocolRun, body: bytes, symbol: str = BTC, time: int = 5) -> None:
    """SessionAnswer the request for a snapshot that is awaited."""
    request = it.wanted.pop(symbol)
    it.take(it.protocol.snapshot(request, body, time))


def live(*symbols: str) -> ProtocolRun:
    """Return a run whose books are 1 at 10 and 2 at 11, of stamp 100."""
    it = started(*symbols)
    for state in it.protocol.instruments.values():
        it.frame(2, diff(100, market=state.venue_symbol))
        fetched(it, answer(100), state.symbol)
        assert it.valid(state.symbol)
    return it


def book(it: ProtocolRun, symbol: str = BTC) -> str:
    reader = it.readers[symbol]
    return reader.book.text(reader.price_exponent, reader.size_exponent)


def kinds(it: ProtocolRun, symbol: str = BTC) -> list[str]:
    return [one.kind for one in it.records if isinstance(one, L2Update) and one.symbol == symbol]


def losses(it: ProtocolRun) -> list[str | None]:
    return [note.loss for note in it.notes if note.loss is not None]


# --- requests ---


def test_each_message_asks_for_one_channel() -> None:
    it = run("bitstamp", (BTC, ETH))
    sent = [json.loads(send.text) for send in it.protocol.subscribe()]
    assert all(message["event"] == "bts:subscribe" for message in sent)
    channels = [message["data"]["channel"] for message in sent]
    assert channels == [
        "diff_order_book_btcusd",
        "diff_order_book_ethusd",
        "live_trades_btcusd",
        "live_trades_ethusd",
    ]
    it.take(it.protocol.remove(ETH, 5))
    gone = [json.loads(one.text) for one in it.commands if isinstance(one, Send)]
    assert [(one["event"], one["data"]["channel"]) for one in gone] == [
        ("bts:unsubscribe", "diff_order_book_ethusd"),
        ("bts:unsubscribe", "live_trades_ethusd"),
    ]
    it.frame(6, diff(100, market="ethusd"))
    assert it.protocol.ignored["other_symbol"] == 1


def test_a_depth_and_two_names_of_one_market_are_refused() -> None:
    with pytest.raises(ConfigError) as caught:
        BitstampProtocol(VenueSettings(symbols=("BTC-USD", "BTCU-SD", "AAPL"), depth=100))
    faults = "\n".join(caught.value.faults)
    assert "venues.bitstamp.depth: the venue offers no choice, found 100" in faults
    assert "'BTCU-SD' is the same market as 'BTC-USD'" in faults
    assert "not a pair: 'AAPL'" in faults


def test_a_refusal_without_a_channel_is_of_the_oldest_request_that_is_open() -> None:
    it = run("bitstamp", (BTC, ETH))
    it.protocol.subscribe()
    it.frame(1, confirmed())
    it.frame(1, error("Invalid channel provided."))
    assert it.protocol.refusals() == {ETH: {"diff_order_book": "request refused: Invalid channel provided."}}
    assert it.protocol.unwatched() == {ETH}
    it.take(it.protocol.retry(10))
    it.take(it.protocol.retry(11.5))
    assert '"diff_order_book_ethusd"' in [one.text for one in it.commands if isinstance(one, Send)][-1]
    it.frame(2, confirmed("diff_order_book_ethusd"))
    assert it.protocol.refusals() == {}


def test_a_refusal_that_names_its_channel_is_of_that_channel() -> None:
    it = run("bitstamp", (BTC, ETH))
    it.protocol.subscribe()
    it.frame(1, error("no", "live_trades_ethusd"))
    assert it.protocol.refusals() == {ETH: {"live_trades": "request refused: no"}}


def test_a_heartbeat_is_a_pong_and_a_request_to_reconnect_is_followed() -> None:
    it = run("bitstamp", (BTC,))
    it.frame(1, frame("bts:heartbeat", "", status="success"))
    assert it.protocol.pongs == 1
    it.frame(2, b'{"event":"bts:request_reconnect","channel":"","data":""}')
    assert [type(one) for one in it.commands] == [Reconnect]
    assert json.loads(load("bitstamp").text_ping or "")["event"] == "bts:heartbeat"


# --- beginning ---


def test_a_book_is_the_snapshot_and_the_newer_diffs() -> None:
    it = started()
    it.frame(2, diff(100, [["9", "5"]]))
    assert [one.path for one in it.commands if isinstance(one, FetchSnapshot)] == ["/api/v2/order_book/btcusd/?group=1"]
    it.frame(3, diff(101, [["9", "0.00000000"]], [["12", "3"]]))
    it.frame(4, diff(102, [], [["11", "0.00000000"]]))
    assert it.protocol.waiting == 3
    assert not it.valid(BTC)
    fetched(it, answer(101, [["10", "1"]], [["11", "2"], ["12", "3"]]))
    assert book(it) == "B 10 1\nA 12 3\n"
    assert it.protocol.waiting == 0
    tally = it.protocol.instruments[BTC].tally
    assert (tally.snapshots, tally.deltas, tally.ignored, tally.gaps) == (1, 1, 2, 0)
    last = it.records[-1]
    assert isinstance(last, L2Update)
    assert (last.exchange_sequence, last.exchange_time) == (102, 102_000)


def test_a_snapshot_from_before_the_first_diff_is_fetched_again_with_a_pause() -> None:
    it = started()
    it.frame(2, diff(100))
    fetched(it, answer(99))
    assert not it.valid(BTC)
    assert it.wanted[BTC].attempt == 1
    fetched(it, answer(100))
    assert it.valid(BTC)


def test_an_answer_that_is_not_awaited_changes_nothing() -> None:
    it = started()
    it.frame(2, diff(100))
    request = it.wanted[BTC]
    it.take(it.protocol.disconnected(3))
    it.take(it.protocol.snapshot(request, answer(100), 4))
    assert it.records == []


def test_a_market_without_diffs_begins_once_it_has_been_quiet() -> None:
    it = run("bitstamp", (BTC,))
    it.protocol.subscribe()
    it.take(it.protocol.overdue(S))
    it.take(it.protocol.overdue(S + 2 * QUIET_NS))
    assert not it.wanted, "it is not known to be subscribed to"
    it.frame(2 * S, confirmed())
    it.take(it.protocol.overdue(20 * S))
    assert not it.wanted
    it.take(it.protocol.overdue(20 * S + QUIET_NS))
    fetched(it, answer(50))
    assert it.valid(BTC)
    it.take(it.protocol.overdue(90 * S))
    assert not it.wanted


@pytest.mark.parametrize("body", [b"<html>", b"{}", answer(100, [["x", "1"]]), answer(-1)])
def test_an_unreadable_snapshot_is_kept_and_fetched_again(body: bytes) -> None:
    it = started()
    it.frame(2, diff(100))
    fetched(it, body)
    assert [one.value for one in it.refused] == [body]
    assert it.wanted[BTC].attempt == 1
    fetched(it, answer(100))
    assert it.valid(BTC)


# --- what shows ---


def test_a_lost_diff_does_not_show() -> None:
    it = live()
    it.frame(3, diff(101, [["9", "1"]]))
    it.frame(4, diff(103, [["8", "1"]]))  # whether there was one of 102 nobody can know
    assert it.valid(BTC)
    assert losses(it) == []


def test_a_diff_that_comes_again_is_ignored() -> None:
    it = live()
    for stamp in (101, 102, 101, 102, 100):
        it.frame(3, diff(stamp, [["9", str(stamp)]]))
    assert it.valid(BTC)
    assert book(it) == "B 10 1\nB 9 102\nA 11 2\n"
    assert it.protocol.instruments[BTC].tally.ignored == 4
    assert losses(it) == []


def test_a_diff_that_comes_late_ends_the_book_and_only_that() -> None:
    it = live(BTC, ETH)
    it.frame(3, diff(102, [["9", "1"]]))
    it.frame(4, diff(101, [["8", "1"]]))
    assert kinds(it) == ["SNAPSHOT", "DELTA", "INVALID"]
    assert losses(it) == ["sequence"]
    assert it.protocol.instruments[BTC].tally.gaps == 1
    assert not it.wanted, "a snapshot of this moment may be older than what is missing"
    it.frame(5, diff(103))
    fetched(it, answer(103, [["9", "1"]]))
    assert book(it) == "B 9 1\nA 11 2\n"
    assert kinds(it, ETH) == ["SNAPSHOT"]
    assert it.valid(ETH)


def test_a_crossed_book_ends_and_its_snapshot_has_the_diff_that_crossed_it() -> None:
    it = live()
    it.frame(3, diff(101, [["11.5", "1"]]))
    assert not it.valid(BTC)
    assert losses(it) == ["crossed"]
    fetched(it, answer(100))
    assert not it.valid(BTC), "older than the diff"
    fetched(it, answer(101, [["11.5", "1"]], [["12", "2"]]))
    assert book(it) == "B 11.5 1\nA 12 2\n"


def test_a_snapshot_that_is_crossed_itself_is_followed_and_not_published() -> None:
    it = started()
    it.frame(2, diff(100))
    fetched(it, answer(100, [["11", "1"]], [["10", "1"]]))
    assert not it.valid(BTC)
    it.frame(3, diff(101, [["11", "0"], ["9", "1"]]))
    assert book(it) == "B 9 1\nA 10 1\n"
    assert it.valid(BTC)


def test_a_confirmation_begins_the_stream_anew() -> None:
    it = live()
    it.frame(3, confirmed("live_trades_btcusd"))
    assert it.valid(BTC)
    it.frame(4, confirmed())
    assert not it.valid(BTC)
    assert losses(it) == ["sequence"]
    it.frame(5, diff(105))
    fetched(it, answer(105))
    assert it.valid(BTC)


def test_a_connection_forgets_what_the_one_before_it_knew() -> None:
    it = live()
    it.take(it.protocol.disconnected(9))
    assert not it.valid(BTC)
    it.frame(10, confirmed())
    it.frame(11, diff(90))
    fetched(it, answer(90))
    assert it.valid(BTC)


# --- quiet books ---


def test_a_quiet_book_is_compared_with_its_snapshot() -> None:
    it = live()
    it.take(it.protocol.verify(BTC, 300))
    fetched(it, answer(200, [["10.0", "1.00000000"]]))
    tally = it.protocol.instruments[BTC].tally
    assert (tally.unchanged, it.valid(BTC), kinds(it)) == (1, True, ["SNAPSHOT"])
    assert not it.protocol.instruments[BTC].book.verifying


def test_a_diff_says_as_much_as_the_snapshot_that_was_asked_for() -> None:
    it = live()
    it.take(it.protocol.verify(BTC, 300))
    it.frame(6, diff(201, [["9", "1"]]))
    fetched(it, answer(150))
    assert it.valid(BTC)
    assert not it.protocol.instruments[BTC].book.verifying
    assert losses(it) == []


@pytest.mark.parametrize("changed", [answer(200, [["9", "1"]]), answer(200, [["10.000000000001", "1"]])])
def test_a_quiet_book_that_differs_twice_is_in_doubt_and_subscribed_to_again(changed: bytes) -> None:
    it = live()
    it.take(it.protocol.verify(BTC, 300))
    fetched(it, changed)
    assert it.valid(BTC), "a diff may be on its way"
    assert it.wanted[BTC].attempt == 1
    it.commands.clear()
    fetched(it, changed)
    assert not it.valid(BTC)
    assert losses(it) == ["silence"]
    asked = [json.loads(one.text) for one in it.commands if isinstance(one, Send)]
    assert [one["event"] for one in asked] == ["bts:unsubscribe"] * 2 + ["bts:subscribe"] * 2
    it.frame(7, confirmed())
    it.frame(8, diff(201))
    fetched(it, answer(201, [["9", "1"]]))
    assert book(it) == "B 9 1\nA 11 2\n"


def test_a_book_that_differs_while_a_diff_was_on_its_way_goes_on() -> None:
    it = live()
    it.take(it.protocol.verify(BTC, 300))
    fetched(it, answer(200, [["9", "1"]]))
    it.frame(7, diff(200, [["10", "0"], ["9", "1"]]))
    fetched(it, answer(200, [["9", "1"]]))
    assert it.valid(BTC)
    assert losses(it) == []
    assert kinds(it) == ["SNAPSHOT", "DELTA"]


def test_a_snapshot_older_than_the_book_proves_nothing() -> None:
    it = live()
    it.take(it.protocol.verify(BTC, 300))
    for _ in range(3):
        fetched(it, answer(99, [["9", "1"]]))
    assert it.valid(BTC)
    assert it.wanted[BTC].attempt == 3


def test_a_book_whose_snapshot_does_not_come_is_subscribed_to_again() -> None:
    it = live()
    it.take(it.protocol.verify(BTC, 300))
    it.take(it.protocol.revive(BTC, 9, 30))
    assert not it.valid(BTC)
    assert losses(it) == ["silence"]
    assert '"bts:subscribe"' in [one.text for one in it.commands if isinstance(one, Send)][-1]


# --- frames that cannot be read ---


@pytest.mark.parametrize(
    ("broken", "ended"),
    [
        (diff(101, [["9", "-1"]]), [BTC]),
        (diff(101, [["x", "1"]]), [BTC]),
        (diff(101).replace(b'"101"', b'"99999999999999999"'), [BTC]),
        (diff(101).replace(b'"asks"', b'"sksa"'), [BTC]),
        (diff(101)[:-5], [BTC]),
        (diff(101)[:30], [BTC, ETH]),
        (diff(101, market="ethusd")[:-5], [ETH]),
        (b'{"data":{"id":1,"amount":1,"amount_str":"1","pri', []),
        (frame("trade", "live_trades_btcusd", id=-1), []),
        (frame("bts:subscription_succeeded", "diff_order_book_btcusd")[:-3], []),
        (frame("data", "ticker_btcusd"), []),
        (frame("surprise", "live_trades_btcusd"), []),
    ],
)
def test_a_frame_that_cannot_be_read_ends_what_it_may_have_been_about(broken: bytes, ended: list[str]) -> None:
    it = live(BTC, ETH)
    it.frame(3, broken)
    assert [one.value for one in it.refused] == [broken]
    assert [symbol for symbol in (BTC, ETH) if not it.valid(symbol)] == ended
    for symbol, market in ((BTC, "btcusd"), (ETH, "ethusd")):
        it.frame(4, diff(105, market=market))
        if symbol in ended:
            fetched(it, answer(105), symbol)
        assert it.valid(symbol)


@pytest.mark.parametrize(("event", "channel"), [("data", "order_book_btcusd"), ("order_created", "live_orders_btcusd")])
def test_other_channels_are_counted(event: str, channel: str) -> None:
    it = live()
    it.frame(3, frame(event, channel))
    assert it.refused == []
    assert it.protocol.ignored[channel.removesuffix("_btcusd") if event == "data" else event] == 1


# --- trades ---


def test_the_side_is_the_aggressors_and_ids_tell_repetitions_only() -> None:
    it = run("bitstamp", (BTC,))

    def trade(number: int, kind: int) -> bytes:
        given: dict[str, Any] = {"id": number, "amount": 0.1, "amount_str": "0.10000000", "price": 5112.85}
        given |= {"price_str": "5112.85", "type": kind, "timestamp": "1555135143", "microtimestamp": "1555135143665724"}
        return frame("trade", "live_trades_btcusd", **given)

    for number, kind in ((85, 1), (90, 0), (90, 0)):
        it.frame(5, trade(number, kind))
    trades = [one for one in it.records if isinstance(one, Trade)]
    assert [(one.trade_id, one.side) for one in trades] == [("85", "SELL"), ("90", "BUY")]
    assert {(one.price * 10**one.price_exponent, one.exchange_time) for one in trades} == {
        (511285000000 * 10**-8, 1_555_135_143_665_724_000)
    }
    tally = it.protocol.instruments[BTC].tally
    assert (tally.trade_gaps, tally.duplicate_trades, tally.base_volume) == (0, 1, "0.2")


# --- the list of markets ---


def test_the_list_names_what_is_traded_and_can_be_asked_for() -> None:
    body = json.dumps(
        [
            {"name": "BTC/USD", "url_symbol": "btcusd", "base_decimals": 8, "trading": "Enabled"},
            {"name": "OLD/USD", "url_symbol": "oldusd", "trading": "Disabled"},
            {"name": "BTC/USD-PERP", "url_symbol": "btcusd-perp", "trading": "Enabled"},
            {"name": "XYZ/USD", "url_symbol": "zyxusd", "trading": "Enabled"},
        ]
    ).encode()
    left_out: list[str] = []
    assert parse_instruments(body, left_out.append) == ["BTC-USD"]
    assert left_out == ["BTC/USD-PERP", "XYZ/USD"]
    with pytest.raises(FrameRefused, match="list of markets"):
        parse_instruments(b"{}")
