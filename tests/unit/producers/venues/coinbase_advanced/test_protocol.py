from __future__ import annotations

import json
from typing import Any

import pytest

from alphapulse.config import VenueSettings
from alphapulse.errors import ConfigError, FrameRefused, ValueRefused
from producers.feed.actions import Resubscribe, Send
from producers.venues.coinbase_advanced import VENUE
from producers.venues.coinbase_advanced.instruments import parse_instruments
from producers.venues.coinbase_advanced.messages import number_of_broken
from producers.venues.coinbase_advanced.protocol import CoinbaseAdvancedProtocol
from producers.venues.coinbase_advanced.symbols import sent_as
from schemas.records import L2Update, Trade
from tests.fixtures.protocol_run import ProtocolRun

TIME = "2023-02-09T20:32:50.714964855Z"


def frame(number: int, channel: str, *events: dict[str, Any], **fields: Any) -> bytes:
    head = {"channel": channel, "timestamp": TIME, "sequence_num": number, "events": list(events)}
    return json.dumps({**head, **fields}).encode()


def book(number: int, *levels: tuple[str, str, str], kind: str = "update", product: str = "BTC-USD") -> bytes:
    updates = [
        {"side": side, "event_time": TIME, "price_level": price, "new_quantity": size} for side, price, size in levels
    ]
    return frame(number, "l2_data", {"type": kind, "product_id": product, "updates": updates})


def snapshot(number: int, product: str = "BTC-USD") -> bytes:
    return book(number, ("bid", "10.00", "1"), ("offer", "11.00", "2.5"), kind="snapshot", product=product)


def trades(number: int, *ids: int, kind: str = "update", **fields: Any) -> bytes:
    one = {"product_id": "BTC-USD", "price": "10.5", "size": "2", "side": "SELL", "time": TIME, **fields}
    return frame(number, "market_trades", {"type": kind, "trades": [{**one, "trade_id": str(n)} for n in ids]})


def made(*symbols: str) -> ProtocolRun:
    return ProtocolRun(CoinbaseAdvancedProtocol(VenueSettings(symbols=symbols or ("BTC-USD", "ETH-USD"))))


def started() -> ProtocolRun:
    run = made()
    run.frame(1, snapshot(0))
    run.frame(1, snapshot(1, "ETH-USD"))
    return run


def test_a_book_follows_snapshot_and_updates() -> None:
    run = started()
    run.frame(2, frame(2, "heartbeats", {"heartbeat_counter": 1}))
    run.frame(3, book(3, ("bid", "10.00", "0"), ("bid", "9.5", "3"), ("offer", "12", "1")))
    reader = run.readers["BTC-USD"]
    assert reader.book.text(reader.price_exponent, reader.size_exponent) == "B 9.5 3\nA 11 2.5\nA 12 1\n"
    record = run.records[-1]
    assert isinstance(record, L2Update)
    assert (record.exchange_time, record.exchange_sequence) == (1675974770714964855, 3)
    assert not run.notes


def test_a_snapshot_of_a_whole_book_is_taken() -> None:
    run = made("BTC-USD")
    bids = [("bid", f"{n / 100:.2f}", "0.00000001") for n in range(1, 20_001)]
    offers = [("offer", f"{n / 100:.2f}", "1.5") for n in range(20_001, 45_001)]
    data = book(0, *bids, *offers, kind="snapshot")
    run.frame(1, data)
    assert len(data) < VENUE.frame_bytes
    assert (len(run.readers["BTC-USD"].book.bids), len(run.readers["BTC-USD"].book.asks)) == (20_000, 25_000)


def test_a_jump_in_the_connections_numbers_ends_every_book() -> None:
    run = started()
    run.frame(2, frame(4, "heartbeats", {}))
    assert not run.valid("BTC-USD")
    assert not run.valid("ETH-USD")
    assert run.commands == [Resubscribe("BTC-USD"), Resubscribe("ETH-USD")]
    assert [note.kind for note in run.notes] == ["gap", "resync"] * 2
    assert "messages 2 to 3 of the connection" in run.notes[0].message
    run.frame(3, book(5, ("bid", "9", "1")))
    run.frame(3, snapshot(6))
    run.frame(3, book(7, ("bid", "9", "1")))
    assert run.valid("BTC-USD")
    assert run.protocol.instruments["BTC-USD"].tally.ignored == 1


def test_a_jump_before_the_snapshot_asks_for_it_again() -> None:
    run = made("BTC-USD")
    run.frame(1, frame(1, "heartbeats", {}))
    assert run.commands == [Resubscribe("BTC-USD")]
    assert not run.notes


def test_a_message_that_comes_twice_is_taken_once() -> None:
    run = started()
    run.frame(2, book(2, ("bid", "9", "1")))
    run.frame(2, book(3, ("bid", "9", "0")))
    run.frame(2, book(2, ("bid", "9", "1")))
    assert run.protocol.ignored == {"late": 1}
    assert run.protocol.instruments["BTC-USD"].tally.ignored == 1
    assert run.valid("BTC-USD")
    reader = run.readers["BTC-USD"]
    assert reader.book.text(reader.price_exponent, reader.size_exponent) == "B 10 1\nA 11 2.5\n"


def test_trades_that_come_late_are_taken_by_their_ids() -> None:
    run = started()
    run.frame(2, trades(3, 8))
    run.frame(2, trades(2, 7, 6))
    run.frame(2, trades(2, 7, 6))
    assert [record.trade_id for record in run.records if isinstance(record, Trade)] == ["8", "6", "7"]
    assert run.protocol.instruments["BTC-USD"].tally.duplicate_trades == 2


def test_trades_come_newest_first_and_name_the_makers_side() -> None:
    run = made("BTC-USD")
    run.frame(1, trades(0, 13, 12, 11, kind="snapshot"))
    run.frame(1, trades(1, 15, 14, 13, side="BUY"))
    found = [(record.trade_id, record.side) for record in run.records if isinstance(record, Trade)]
    assert found == [("11", "BUY"), ("12", "BUY"), ("13", "BUY"), ("14", "SELL"), ("15", "SELL")]
    assert not run.notes
    run.frame(1, trades(2, 20))
    assert [note.details for note in run.notes] == [{"missing": "4"}]


def test_a_new_connection_counts_from_nought() -> None:
    run = started()
    run.take(run.protocol.disconnected(2))
    run.frame(3, snapshot(0))
    run.frame(4, book(1, ("bid", "9", "1")))
    assert run.valid("BTC-USD")
    assert not run.notes


def test_usdc_products_come_back_as_usd() -> None:
    run = made("BTC-USDC", "USDT-USDC")
    run.frame(1, snapshot(0, "BTC-USD"))
    run.frame(1, snapshot(1, "USDT-USDC"))
    assert run.valid("BTC-USDC")
    assert run.valid("USDT-USDC")
    assert {record.symbol for record in run.records} == {"BTC-USDC", "USDT-USDC"}
    assert "BTC-USDC" in run.protocol.subscribe()[1].text
    assert (sent_as("ETH-USDC"), sent_as("EURC-USDC"), sent_as("ETH-EUR")) == ("ETH-USD", "EURC-USDC", "ETH-EUR")


def test_two_names_of_one_book_are_refused_at_start() -> None:
    with pytest.raises(ConfigError, match="'BTC-USDC' is the same book as 'BTC-USD'"):
        made("BTC-USD", "BTC-USDC")


@pytest.mark.parametrize(
    ("data", "name"),
    [
        (frame(0, "heartbeats", {}), "heartbeats"),
        (frame(0, "ticker", {}), "ticker"),
        (snapshot(0, "XRP-USD"), "other_symbol"),
        (trades(0, 1, product_id="XRP-USD"), "other_symbol"),
    ],
)
def test_frames_we_do_not_need_are_counted_by_name(data: bytes, name: str) -> None:
    run = made()
    run.frame(1, data)
    assert run.protocol.ignored == {name: 1}
    assert not run.refused


def test_answers_are_told() -> None:
    run = made()
    run.frame(1, frame(0, "subscriptions", {"subscriptions": {"level2": ["BTC-USD"]}}))
    run.frame(1, b'{"type":"error","message":"authentication failure"}')
    assert [note.kind for note in run.notes] == ["subscribed", "subscription_refused"]
    assert "authentication failure" in run.notes[1].message


@pytest.mark.parametrize(
    ("data", "told"),
    [
        (b"{}", "neither channel"),
        (frame(2, "weather"), "weather"),
        (trades(2, 1, price="ten"), "'ten'"),
        (trades(2, 1, time="noon"), "'noon'"),
        (trades(2, 1, side="sell"), "side"),
    ],
)
def test_a_refused_frame_about_no_book_leaves_the_books_alone(data: bytes, told: str) -> None:
    run = started()
    run.frame(2, data)
    (refused,) = run.refused
    assert refused.value == data
    assert told in refused.reason
    assert run.valid("BTC-USD")


@pytest.mark.parametrize(
    ("data", "told"),
    [
        (book(2, ("bid", "9", "-1")), "bid size: negative: '-1'"),
        (book(2, ("hold", "9", "1")), "hold"),
        (book(2, ("bid", "x", "1"), kind="snapshot"), "'x'"),
        (book(2, ("bid", "9", "1")).replace(b'"new_quantity": "1"', b'"new_quantity": 1'), "new_quantity"),
        (book(2, ("bid", "9", "1")).replace(b'"bid"', b'"bid'), "malformed"),
    ],
)
def test_a_refused_frame_about_a_book_puts_that_book_in_doubt(data: bytes, told: str) -> None:
    run = started()
    run.frame(2, data)
    run.frame(3, frame(3, "heartbeats", {}))
    (refused,) = run.refused
    assert told in refused.reason
    assert not run.valid("BTC-USD")
    assert run.valid("ETH-USD")
    assert run.commands == [Resubscribe("BTC-USD")]


@pytest.mark.parametrize("length", [0, 5, 60, 120, 200])
def test_a_frame_cut_off_puts_every_book_in_doubt(length: int) -> None:
    run = started()
    run.frame(2, book(2, ("bid", "9", "1"))[:length])
    assert not run.valid("BTC-USD")
    assert not run.valid("ETH-USD")
    assert set(run.commands) == {Resubscribe("BTC-USD"), Resubscribe("ETH-USD")}


def test_a_frame_that_names_no_book_any_more_puts_every_book_in_doubt() -> None:
    run = started()
    data = book(2, ("bid", "9", "1"))
    run.frame(2, data.replace(b'"product_id": "BTC-USD"', b"\x00" * 23))
    assert not run.valid("BTC-USD")
    assert not run.valid("ETH-USD")


def test_every_book_of_a_frame_is_taken_or_doubted_by_itself() -> None:
    run = made("BTC-USD", "ETH-USD", "SOL-USD")
    for number, product in enumerate(("BTC-USD", "ETH-USD", "SOL-USD")):
        run.frame(1, snapshot(number, product))
    products = (("BTC-USD", "x"), ("ETH-USD", "-1"), ("SOL-USD", "3"))
    events = [json.loads(book(3, ("bid", "9", size), product=product))["events"][0] for product, size in products]
    run.frame(2, frame(3, "l2_data", *events))
    assert [run.valid(product) for product, _ in products] == [False, False, True]
    assert len(run.refused) == 1
    assert set(run.commands) == {Resubscribe("BTC-USD"), Resubscribe("ETH-USD")}
    assert run.readers["SOL-USD"].sequence == 1


def test_symbols_come_and_go_on_a_connection() -> None:
    run = started()
    protocol = run.protocol
    assert isinstance(protocol, CoinbaseAdvancedProtocol)
    assert [json.loads(send.text)["channel"] for send in protocol.add(["SOL-USDC"])] == ["level2", "market_trades"]
    with pytest.raises(ValueRefused, match="SOL-USDC"):
        protocol.add(["ADA-USD", "SOL-USD"])
    with pytest.raises(ValueRefused, match="the same book as 'ADA-USD'"):
        protocol.add(["ADA-USD", "ADA-USDC"])
    assert list(protocol.instruments) == ["BTC-USD", "ETH-USD", "SOL-USDC"]
    outputs = protocol.remove("BTC-USD", 5)
    assert [type(output) for output in outputs] == [L2Update, Send, Send]
    run.frame(6, book(2, ("bid", "9", "1")))
    assert protocol.ignored["other_symbol"] == 1
    protocol.remove("SOL-USDC", 7)
    assert len(protocol.add(["SOL-USD", "BTC-USDC"])) == 4


def test_the_list_of_products() -> None:
    products = [
        {"product_id": "BTC-USD", "product_type": "SPOT"},
        {"product_id": "BTC-USDC", "product_type": "SPOT"},
        {"product_id": "ETH-USD", "product_type": "SPOT", "trading_disabled": True},
        {"product_id": "BIT-28FEB25-CDE", "product_type": "FUTURE"},
        {"product_id": "odd-USD", "product_type": "SPOT"},
    ]
    assert parse_instruments(json.dumps({"products": products}).encode()) == ["BTC-USD"]
    with pytest.raises(FrameRefused, match="list of products"):
        parse_instruments(b"[]")


def test_the_number_of_a_broken_frame() -> None:
    assert number_of_broken(b'{"sequence_num": 12, "eve') == 12
    assert number_of_broken(b'{"sequence_num":1') is None
    assert number_of_broken(b'"sequence_num":1,"sequence_num":2,') is None


def test_a_crossed_book_is_a_doubt() -> None:
    run = started()
    run.frame(2, book(2, ("bid", "11", "1")))
    assert not run.valid("BTC-USD")
    assert [note.kind for note in run.notes] == ["crossed_book", "resync"]


def test_requests() -> None:
    many = ["BTC-USD", "ETH-USD", "SOL-USD", "ADA-USD"]
    protocol = CoinbaseAdvancedProtocol(VenueSettings(symbols=tuple(many)))
    assert [json.loads(send.text) for send in protocol.subscribe()] == [
        {"type": "subscribe", "channel": "heartbeats"},
        {"type": "subscribe", "product_ids": many, "channel": "level2"},
        {"type": "subscribe", "product_ids": many, "channel": "market_trades"},
    ]
    few = [json.loads(send.text).get("product_ids") for send in made("BTC-USD", "ETH-USD").protocol.subscribe()]
    assert few == [None, ["BTC-USD"], ["ETH-USD"], ["BTC-USD"], ["ETH-USD"]], "few go one by one"
    assert [json.loads(send.text) for send in protocol.resubscribe_book("ETH-USD")] == [
        {"type": kind, "product_ids": ["ETH-USD"], "channel": "level2"} for kind in ("unsubscribe", "subscribe")
    ]
    assert protocol.path() == ""
    assert CoinbaseAdvancedProtocol(VenueSettings()).subscribe() == []


def test_what_the_venue_does_not_offer_is_refused_at_start() -> None:
    with pytest.raises(ConfigError) as caught:
        VENUE.protocol(VenueSettings(symbols=("AAPL",), depth=10))
    assert "venues.coinbase_advanced.depth" in str(caught.value)
    assert "AAPL" in str(caught.value)
