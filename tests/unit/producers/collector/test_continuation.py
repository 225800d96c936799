"""A book and its trades, continued by another process."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from alphapulse.instruments import Instrument
from producers.feed.book import BookStream
from producers.feed.continuation import HandedBook, HandedTrades
from producers.feed.counters import InstrumentCounters
from producers.feed.levels import Levels, TextLevels
from producers.feed.trades import TradeStream
from schemas.book_reader import BookReader, Outcome
from schemas.records import L2Kind, L2Update, Trade

INSTRUMENT = Instrument("kraken", "BTC-USD", "BTC/USD")


def l2(kind: L2Kind, *, symbol: str = "BTC-USD", epoch: int = 1, sequence: int = 0) -> L2Update:
    return L2Update(
        venue="kraken",
        symbol=symbol,
        kind=kind,
        epoch=epoch,
        sequence=sequence,
        exchange_time=0,
        received_time=epoch,
        price_exponent=-8,
        size_exponent=-8,
        bid_prices=[],
        bid_sizes=[],
        ask_prices=[],
        ask_sizes=[],
    )


def levels(*pairs: tuple[str, str]) -> Levels:
    return TextLevels("side", [price for price, _ in pairs], [size for _, size in pairs])


class Process:
    """A process's book of one instrument, and the records it would publish."""

    def __init__(self) -> None:
        self.book = BookStream(INSTRUMENT, InstrumentCounters())
        self.outputs: list[Any] = []

    def snapshot(self, time: int, bid: str = "100.5", exchange_time: int = 0) -> None:
        bids, asks = levels((bid, "1"), ("99", "2")), levels(("101", "3"))
        self.book.snapshot(self.outputs, bids, asks, received_time=time, exchange_time=exchange_time)

    def delta(self, time: int, price: str, size: str, exchange_time: int = 0) -> None:
        self.book.delta(self.outputs, levels((price, size)), levels(), received_time=time, exchange_time=exchange_time)


def continued(old: Process, new: Process) -> tuple[BookReader, list[L2Update]]:
    """Return a reader of what both publish, and the records of the second from its beginning."""
    handed = msgspec.msgpack.decode(msgspec.msgpack.encode(old.book.handed_over()), type=HandedBook)
    reader = BookReader()
    for update in old.outputs:
        reader.apply(update)
    new.outputs.clear()
    new.book.continue_from(new.outputs, handed, 10_000)
    for update in new.outputs:
        assert reader.apply(update) in {Outcome.DELTA, Outcome.SNAPSHOT, Outcome.INVALIDATED, Outcome.WAITING}
    return reader, list(new.outputs)


def same(reader: BookReader, book: BookStream) -> bool:
    ours = book.book.sha256(book.price_exponent, book.size_exponent)
    return reader.book.sha256(reader.price_exponent, reader.size_exponent) == ours


def test_the_epoch_goes_on_with_the_difference() -> None:
    old, new = Process(), Process()
    old.snapshot(1000)
    old.delta(1100, "98", "4")
    new.snapshot(1050)
    new.delta(1200, "99", "0")
    new.delta(1300, "100.5", "7")
    reader, records = continued(old, new)
    (delta,) = records
    assert (delta.kind, delta.epoch, delta.sequence) == ("DELTA", 1000, 2)
    assert sorted(zip(delta.bid_prices, delta.bid_sizes, strict=True)) == [
        (98 * 10**8, 0),
        (99 * 10**8, 0),
        (1005 * 10**7, 7 * 10**8),
    ]
    assert reader.valid
    assert same(reader, new.book)
    new.outputs.clear()
    new.delta(1400, "97", "1")
    assert reader.apply(new.outputs[0]) is Outcome.DELTA
    assert same(reader, new.book)


def test_equal_books_need_no_record_and_the_next_delta_is_next_in_sequence() -> None:
    old, new = Process(), Process()
    old.snapshot(1000)
    new.snapshot(1050)
    reader, records = continued(old, new)
    assert records == []
    new.delta(1100, "98", "4")
    assert (new.outputs[0].epoch, new.outputs[0].sequence) == (1000, 1)
    assert reader.apply(new.outputs[0]) is Outcome.DELTA


def test_wider_exponents_of_the_old_epoch_are_taken_over() -> None:
    old, new = Process(), Process()
    old.snapshot(1000, bid="100.5000000001")
    new.snapshot(1050)
    reader, records = continued(old, new)
    assert [record.kind for record in records] == ["DELTA"]
    assert new.book.price_exponent == old.book.price_exponent == -10
    assert same(reader, new.book)


def test_a_book_that_is_not_exact_at_the_old_exponents_begins_an_epoch_without_a_doubt() -> None:
    old, new = Process(), Process()
    old.snapshot(1000)
    new.snapshot(1050, bid="100.5000000001")
    reader, records = continued(old, new)
    assert [(record.kind, record.sequence) for record in records] == [("SNAPSHOT", 0)]
    assert records[0].epoch == 10_000
    assert records[0].received_time == 1050
    assert reader.valid
    assert same(reader, new.book)


def test_without_a_book_of_its_own_the_successor_ends_the_epoch() -> None:
    old, new = Process(), Process()
    old.snapshot(1000)
    reader, records = continued(old, new)
    assert [(record.kind, record.epoch, record.sequence) for record in records] == [("INVALID", 1000, 1)]
    assert not reader.valid
    new.outputs.clear()
    new.snapshot(20_000)
    assert reader.apply(new.outputs[0]) is Outcome.SNAPSHOT


def test_an_invalid_book_is_followed_by_a_snapshot_if_the_successor_has_one() -> None:
    old, new = Process(), Process()
    old.snapshot(1000)
    old.book.end(old.outputs, 1100)
    new.snapshot(1050)
    reader, records = continued(old, new)
    assert [record.kind for record in records] == ["SNAPSHOT"]
    assert same(reader, new.book)


@pytest.mark.parametrize("published", [False, True])
def test_a_book_nobody_had_begins_or_is_disowned(published: bool) -> None:
    old, new = Process(), Process()
    if published:
        new.snapshot(1050)
    _, records = continued(old, new)
    assert [record.kind for record in records] == ["SNAPSHOT" if published else "INVALID"]


def test_only_the_venues_times_prove_who_is_ahead() -> None:
    old, new = Process(), Process()
    old.snapshot(1000, exchange_time=900)
    new.snapshot(5000)
    assert not new.book.has_reached(old.book.handed_over())
    new.delta(5100, "98", "4", exchange_time=899)
    assert not new.book.has_reached(old.book.handed_over())
    new.delta(5200, "98", "5", exchange_time=900)
    assert new.book.has_reached(old.book.handed_over())


def trades(numbers: list[int], *, consecutive: bool) -> tuple[TradeStream, list[Trade]]:
    stream, outputs = TradeStream(INSTRUMENT, InstrumentCounters(), consecutive=consecutive), list[Trade]()
    for number in numbers:
        stream.trade(outputs, trade_id=number, side="BUY", price="1", size="1", exchange_time=0, received_time=1)
    return stream, outputs


@pytest.mark.parametrize("consecutive", [True, False])
def test_a_trade_is_published_once_whoever_receives_it(consecutive: bool) -> None:
    old, published = trades([1, 2, 3, 5, 6], consecutive=consecutive)
    new, held = trades([3, 4, 5, 6, 7], consecutive=consecutive)
    handed = msgspec.msgpack.decode(msgspec.msgpack.encode(old.handed_over()), type=HandedTrades)
    new.continue_from(handed)
    for trade in held:
        new.again(published, trade)
    assert [trade.trade_id for trade in published] == ["1", "2", "3", "5", "6", "4", "7"]


@pytest.mark.parametrize("consecutive", [True, False])
def test_after_a_death_only_the_known_trades_count(consecutive: bool) -> None:
    new, held = trades([3, 4, 5], consecutive=consecutive)
    new.continue_after([2, 3, 4])
    published: list[Trade] = []
    for trade in held:
        new.again(published, trade)
    assert [trade.trade_id for trade in published] == ["5"]
    nobody, held = trades([3], consecutive=consecutive)
    nobody.continue_after([])
    nobody.again(published, held[0])
    assert [trade.trade_id for trade in published] == ["5", "3"]
