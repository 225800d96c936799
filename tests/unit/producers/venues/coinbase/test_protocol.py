from __future__ import annotations

import json
from typing import Any

import pytest

from alphapulse.config import VenueSettings
from alphapulse.errors import ConfigError
from producers.feed.actions import Resubscribe, Send
from producers.venues.coinbase import VENUE
from producers.venues.coinbase.protocol import CoinbaseProtocol
from producers.venues.coinbase.symbols import canonical_symbol
from schemas.records import L2Update, Trade
from tests.fixtures.protocol_run import ProtocolRun


def frame(**fields: Any) -> bytes:
    return json.dumps({"product_id": "BTC-USD", **fields}).encode()


def snapshot(product_id: str = "BTC-USD") -> bytes:
    return frame(type="snapshot", product_id=product_id, bids=[["10.00", "1"]], asks=[["11.00", "2.5"]])


def update(*changes: list[str], time: str = "2021-04-17T16:43:37.075351Z", **fields: Any) -> bytes:
    return frame(type="l2update", changes=list(changes), time=time, **fields)


def match(trade_id: int, **fields: Any) -> bytes:
    head = {"type": "match", "trade_id": trade_id, "side": "sell", "size": "0.04", "price": "10.5"}
    return frame(**{**head, "time": "2021-04-17T16:43:37.075351Z", **fields})


def made() -> ProtocolRun:
    return ProtocolRun(CoinbaseProtocol(VenueSettings(symbols=("BTC-USD", "ETH-USD"))))


def test_a_book_follows_snapshot_and_updates() -> None:
    run = made()
    run.frame(1, snapshot())
    run.frame(
        2, update(["buy", "10.00", "0.000000"], ["buy", "9.5", "3"], ["sell", "11.00", "0.0"], ["sell", "12", "1"])
    )
    reader = run.readers["BTC-USD"]
    assert reader.book.text(reader.price_exponent, reader.size_exponent) == "B 9.5 3\nA 12 1\n"
    record = run.records[1]
    assert isinstance(record, L2Update)
    assert record.exchange_time == 1618677817075351000
    assert run.protocol.instruments["BTC-USD"].tally.level_changes == 4


def test_the_aggressor_is_the_makers_opposite() -> None:
    run = made()
    run.frame(1, match(1, side="sell"))
    run.frame(1, match(2, side="buy"))
    assert [record.side for record in run.records if isinstance(record, Trade)] == ["BUY", "SELL"]


def test_a_last_match_is_a_trade_unless_it_was_seen() -> None:
    run = made()
    for data in (match(5, type="last_match"), match(6), match(6, type="last_match"), match(7)):
        run.frame(1, data)
    tally = run.protocol.instruments["BTC-USD"].tally
    assert (tally.trades, tally.duplicate_trades, tally.gaps) == (3, 1, 0)


def test_a_jump_in_trade_ids_is_the_only_gap_there_is() -> None:
    run = made()
    run.frame(1, snapshot())
    run.frame(1, match(5))
    run.frame(1, match(9))
    tally = run.protocol.instruments["BTC-USD"].tally
    assert (tally.gaps, tally.trade_gaps) == (1, 1)
    assert run.valid("BTC-USD")
    assert [(note.kind, note.details) for note in run.notes] == [("trade_gap", {"missing": "3"})]


def test_the_bogus_year_gives_no_exchange_time() -> None:
    run = made()
    run.frame(1, match(1, time="0001-01-01T00:00:00.000000Z"))
    run.frame(1, snapshot())
    run.frame(1, update(["buy", "9", "1"], time="0001-01-01T00:00:00.000000Z"))
    times = [record.exchange_time for record in run.records if not isinstance(record, Trade)]
    assert times == [0, 0]
    assert isinstance(run.records[0], Trade)
    assert run.records[0].exchange_time == 0


@pytest.mark.parametrize(
    ("data", "name"),
    [
        (frame(type="heartbeat", sequence=1, last_trade_id=2, time="x"), "heartbeat"),
        (frame(type="subscriptions", channels=[]), "subscriptions"),
        (frame(type="ticker", price="1"), "ticker"),
        (frame(type="status", products=[]), "status"),
        (snapshot("XRP-USD"), "other_symbol"),
        (update(["buy", "1", "1"], product_id="XRP-USD"), "other_symbol"),
        (match(1, product_id="XRP-USD"), "other_symbol"),
    ],
)
def test_frames_we_do_not_need_are_counted_by_name(data: bytes, name: str) -> None:
    run = made()
    run.frame(1, data)
    assert run.protocol.ignored == {name: 1}
    assert not run.refused


def test_an_error_is_told() -> None:
    run = made()
    run.frame(1, frame(type="error", message="Failed to subscribe", reason="XX is not a valid product"))
    (note,) = run.notes
    assert (note.kind, note.severity) == ("subscription_refused", "ERROR")
    assert "XX is not a valid product" in note.message


@pytest.mark.parametrize(
    ("data", "told"),
    [
        (b"[1,2]", "object"),
        (frame(type="weather"), "weather"),
        (frame(kind="match"), "type"),
        (match(1, price="ten"), "'ten'"),
        (match(1, price="-1"), "negative: '-1'"),
        (match(1, size=1), "size"),
        (match(1, time="noon"), "'noon'"),
        (b'{"type":"match","product_id":"BTC-USD"}', "trade_id"),
    ],
)
def test_a_refused_frame_about_no_book_leaves_the_books_alone(data: bytes, told: str) -> None:
    run = made()
    run.frame(1, snapshot())
    run.frame(2, data)
    (refused,) = run.refused
    assert refused.value == data
    assert told in refused.reason
    assert run.valid("BTC-USD")


@pytest.mark.parametrize(
    ("data", "told"),
    [
        (update(["buy", "9", "-1"]), "buy size: negative: '-1'"),
        (update(["sell", "0." + "3" * 30, "1"]), "0.33333"),
        (update(["hold", "9", "1"]), "hold"),
        (update(["buy", "9"]), "changes"),
        (update(["buy", "9", "1"], time="noon"), "'noon'"),
        (update(["buy", "9", "1"])[:-9], "truncated"),
        (frame(type="snapshot", bids=[["x", "1"]], asks=[]), "'x'"),
        (frame(type="snapshot", bids=[["1", "1"]]), "asks"),
    ],
)
def test_a_refused_frame_about_a_book_puts_that_book_in_doubt(data: bytes, told: str) -> None:
    run = made()
    run.frame(1, snapshot())
    run.frame(1, snapshot("ETH-USD"))
    run.frame(2, data)
    (refused,) = run.refused
    assert refused.value == data
    assert told in refused.reason
    assert refused.symbol == "BTC-USD"
    assert not run.valid("BTC-USD")
    assert run.valid("ETH-USD")
    assert run.commands == [Resubscribe("BTC-USD")]


def test_an_update_that_crosses_the_book_is_a_doubt_and_asks_for_a_snapshot() -> None:
    run = made()
    run.frame(1, snapshot())
    run.frame(2, update(["buy", "11", "1"]))
    assert not run.valid("BTC-USD")
    assert [note.kind for note in run.notes] == ["crossed_book", "resync"]


def test_a_crossed_snapshot_is_the_venues_word() -> None:
    """An auction: https://docs.cdp.coinbase.com/exchange/reference/exchangerestapi_getproductbook."""
    run = made()
    run.frame(1, snapshot())
    run.frame(2, update(["buy", "11.5", "1"]))
    run.commands.clear()
    run.notes.clear()
    crossed = frame(type="snapshot", bids=[["11.50", "1"], ["10.00", "1"]], asks=[["11.00", "2.5"]])
    run.frame(3, crossed)
    run.frame(4, update(["buy", "11.50", "3"]))
    run.frame(5, crossed)
    assert run.commands == []
    assert [note.kind for note in run.notes] == ["crossed_book"]
    assert "in the venue's snapshot" in run.notes[0].message
    run.frame(6, update(["buy", "11.50", "0"], ["sell", "11.00", "2"]))
    assert run.valid("BTC-USD")
    assert run.figures("BTC-USD")["book"]["best_bid"] == "10"
    kinds = [record.kind for record in run.records if isinstance(record, L2Update)]
    assert kinds == ["SNAPSHOT", "INVALID", "SNAPSHOT"]


def test_a_book_crossed_for_long_is_asked_for_again() -> None:
    run = made()
    run.frame(1, snapshot().replace(b'"10.00"', b'"11.00"'))
    run.take(run.protocol.recheck("BTC-USD"))
    assert run.commands == [Resubscribe("BTC-USD")]
    assert [note.kind for note in run.notes] == ["crossed_book", "resync"]
    run.frame(2, snapshot())
    assert run.valid("BTC-USD")


def beat(last_trade_id: int, sequence: int = 0, **fields: Any) -> bytes:
    return frame(type="heartbeat", last_trade_id=last_trade_id, sequence=sequence, time="x", **fields)


def gaps(run: ProtocolRun) -> list[dict[str, str]]:
    assert all(note.loss == "trade_id" for note in run.notes)
    return [dict(note.details) for note in run.notes]


def test_a_lost_trade_that_no_later_one_shows_is_told_by_the_second_heartbeat_that_knows_of_it() -> None:
    run = made()
    for data in (match(5), beat(5), beat(7)):
        run.frame(1, data)
    assert run.notes == [], "the match may be on its way"
    run.frame(1, beat(7))
    assert gaps(run) == [{"missing": "2", "first": "6", "last": "7"}]
    for data in (beat(7), match(8), beat(8), beat(8)):
        run.frame(1, data)
    assert len(run.notes) == 1, "a loss is told once"
    tally = run.protocol.instruments["BTC-USD"].tally
    assert (tally.gaps, tally.trade_gaps, tally.trades) == (1, 1, 2)


def test_a_heartbeat_that_overtakes_its_match_tells_of_no_loss() -> None:
    run = made()
    for data in (
        match(5),
        beat(7),
        match(6),
        match(7),
        beat(7),
        beat(7),
        beat(8),
        match(8),
        beat(9),
        match(9),
        beat(9),
    ):
        run.frame(1, data)
    assert run.notes == []


def test_a_trade_that_comes_after_its_loss_was_told_is_published_all_the_same() -> None:
    run = made()
    for data in (match(5), beat(7), beat(7), match(7), match(6), match(6), match(8)):
        run.frame(1, data)
    assert [int(record.trade_id) for record in run.records if isinstance(record, Trade)] == [5, 7, 6, 8]
    assert len(run.notes) == 1


def test_a_loss_that_a_later_match_shows_is_not_told_again() -> None:
    run = made()
    for data in (match(5), beat(7), match(9), beat(9), beat(9)):
        run.frame(1, data)
    assert gaps(run) == [{"missing": "3"}]


def test_trades_before_the_first_heartbeat_are_not_missing() -> None:
    run = made()
    for data in (beat(70), beat(70), match(70, type="last_match"), match(71), beat(71)):
        run.frame(1, data)
    assert run.notes == []
    for data in (beat(73), beat(73)):
        run.frame(1, data)
    assert gaps(run) == [{"missing": "2", "first": "72", "last": "73"}]


@pytest.mark.parametrize("ids", [(0, 0, 0), (7, 0, 7), (4, 4, 4), (900, 5, 5)])
def test_ids_that_the_next_heartbeat_does_not_bear_out_are_not_believed(ids: tuple[int, ...]) -> None:
    # For years the venue sent 0 whatever had been traded.
    run = made()
    run.frame(1, match(5))
    for last_trade_id in ids:
        run.frame(1, beat(last_trade_id))
    run.frame(1, match(6))
    assert run.notes == []


def test_heartbeats_of_a_new_connection_are_believed_anew() -> None:
    run = made()
    run.frame(1, match(5))
    run.frame(1, beat(9))
    run.take(run.protocol.disconnected(2))
    run.frame(3, beat(9))
    assert run.notes == []
    run.frame(4, beat(9))
    assert gaps(run) == [{"missing": "4", "first": "6", "last": "9"}]


def test_matches_that_only_heartbeats_tell_of_are_subscribed_to_again_once() -> None:
    run = made()
    for data in (match(5), beat(6), beat(7), beat(8), beat(9)):
        run.frame(1, data)
    assert len(run.notes) == 3
    (send,) = run.commands
    assert isinstance(send, Send)
    assert json.loads(send.text) == {"type": "subscribe", "product_ids": ["BTC-USD"], "channels": ["matches"]}
    for data in (match(9, type="last_match"), beat(11), beat(11)):
        run.frame(1, data)
    assert len(run.commands) == 2


def test_a_heartbeat_with_the_number_of_the_one_before_says_that_nothing_has_changed() -> None:
    run = made()
    tally = run.protocol.instruments["BTC-USD"].tally
    for sequence in (90, 90, 91, 92, 92):
        run.frame(1, beat(5, sequence))
    assert tally.unchanged == 2
    run.frame(1, beat(5, 92, product_id="XRP-USD"))
    run.frame(1, beat(5, 92, product_id="ETH-USD"))
    assert tally.unchanged == 2
    run.frame(1, beat(0, 0))
    run.frame(1, beat(0, 0))
    assert tally.unchanged == 2, "no number says nothing"


@pytest.mark.parametrize("fields", [{"last_trade_id": -1}, {"sequence": "7"}, {"last_trade_id": 2**63}])
def test_a_heartbeat_that_cannot_be_read_is_refused_and_harms_no_book(fields: dict[str, Any]) -> None:
    run = made()
    run.frame(1, snapshot())
    run.frame(2, frame(**{"type": "heartbeat", "last_trade_id": 5, "sequence": 9, **fields}))
    assert len(run.refused) == 1
    assert run.valid("BTC-USD")


def test_what_is_given_up_is_forgotten() -> None:
    run = made()
    for data in (match(5), beat(6), beat(6)):
        run.frame(1, data)
    run.take(run.protocol.remove("BTC-USD", 2))
    run.take(run.protocol.add(["BTC-USD"]))
    run.notes.clear()
    for data in (beat(9), match(10)):
        run.frame(3, data)
    assert run.notes == []


@pytest.mark.parametrize(
    ("data", "doubtful"),
    [
        (b'{"type":"l2update","product_id":"ETH', {"BTC-USD", "ETH-USD"}),
        (b'{"type":"l2up\x02ate","product_id":"ETH-USD","changes":[]}', {"ETH-USD"}),
        (b'{"ty', {"BTC-USD", "ETH-USD"}),
        (b"", {"BTC-USD", "ETH-USD"}),
        (b'{"type":"match","trade_id":7,"product_id":"ETH-USD', set()),
        (b'{"type":"heartbeat","product_id":"ETH-USD', set()),
        (b'{"type":"news","product_id":"ETH-USD"}', set()),
    ],
)
def test_what_may_have_been_a_book_message_is_a_doubt(data: bytes, doubtful: set[str]) -> None:
    # No later message would show the loss: there are no numbers.
    run = made()
    run.frame(1, snapshot())
    run.frame(2, snapshot("ETH-USD"))
    run.frame(3, data)
    assert len(run.refused) == 1
    assert {symbol for symbol in ("BTC-USD", "ETH-USD") if not run.valid(symbol)} == doubtful
    assert {command.symbol for command in run.commands if isinstance(command, Resubscribe)} == doubtful


def test_requests() -> None:
    def requested(*symbols: str) -> list[dict[str, Any]]:
        protocol = CoinbaseProtocol(VenueSettings(symbols=symbols))
        return [json.loads(send.text) for send in protocol.subscribe()]

    both = {"type": "subscribe", "channels": ["level2_batch", "matches", "heartbeat"]}
    many = ("A1-USD", "A2-USD", "A3-USD", "A4-USD")
    assert requested(*many) == [{**both, "product_ids": [*many]}]
    assert requested(*many[:2]) == [{**both, "product_ids": [symbol]} for symbol in many[:2]], "few go one by one"
    protocol = CoinbaseProtocol(VenueSettings(symbols=("BTC-USD", "ETH-USD")))
    again = [json.loads(send.text) for send in protocol.resubscribe_book("ETH-USD")]
    assert again == [
        {"type": kind, "product_ids": ["ETH-USD"], "channels": ["level2_batch"]}
        for kind in ("unsubscribe", "subscribe")
    ]
    assert protocol.path() == ""
    assert CoinbaseProtocol(VenueSettings()).subscribe() == []


def test_what_the_venue_does_not_offer_is_refused_at_start() -> None:
    with pytest.raises(ConfigError) as caught:
        VENUE.protocol(VenueSettings(symbols=("AAPL",), depth=10))
    assert "venues.coinbase.depth" in str(caught.value)
    assert "AAPL" in str(caught.value)


def test_there_are_no_rest_snapshots() -> None:
    from producers.feed.actions import FetchSnapshot

    with pytest.raises(NotImplementedError, match="coinbase"):
        made().protocol.snapshot(FetchSnapshot("BTC-USD", "/", 1), b"", 1)


def test_product_ids_are_canonical() -> None:
    assert canonical_symbol("BTC-USD") == "BTC-USD"
