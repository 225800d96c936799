from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from schemas.book_reader import BookReader
from schemas.checkpoints import BookState
from schemas.records import Depth, L2Update
from stream_processors.processing.depth import REPEAT_NS, DepthConflation
from tests.fixtures.market import START

MS = 1_000_000
INTERVAL = 10 * MS


class Book:
    """A book with its conflation: what a record, or time, makes it publish. Times are ms since the start."""

    def __init__(self, levels: int = 2, interval: int = INTERVAL) -> None:
        self.reader = BookReader()
        self.conflation = DepthConflation("kraken", "BTC-USD", self.reader, levels=levels, interval_ns=interval)

    def take(self, record: L2Update, now: int | None = None) -> list[Depth]:
        arrived = record.received_time if now is None else START + now * MS
        first = self.conflation.before(record, arrived)
        second = self.conflation.after(record, self.reader.apply(record))
        return [made for made in (first, second) if made is not None]

    def pending(self) -> bool:
        return self.conflation.pending

    def tick(self, ms: int) -> Depth | None:
        return self.conflation.tick(START + ms * MS)


def update(sequence: int, ms: int, kind: str = "DELTA", **changes: Any) -> L2Update:
    fields: dict[str, Any] = {
        "venue": "kraken",
        "symbol": "BTC-USD",
        "kind": kind,
        "epoch": START,
        "sequence": sequence,
        "exchange_time": START + ms * MS - 500,
        "received_time": START + ms * MS,
        "price_exponent": -2,
        "size_exponent": -3,
        "bid_prices": [],
        "bid_sizes": [],
        "ask_prices": [],
        "ask_sizes": [],
    }
    return L2Update(**fields | changes)


def snapshot(ms: int = 0, **changes: Any) -> L2Update:
    levels = {
        "bid_prices": [100, 99, 98],
        "bid_sizes": [1, 2, 3],
        "ask_prices": [101, 102, 103],
        "ask_sizes": [4, 5, 6],
    }
    return update(0, ms, "SNAPSHOT", **levels | changes)


def bid(sequence: int, ms: int, price: int, size: int) -> L2Update:
    return update(sequence, ms, bid_prices=[price], bid_sizes=[size])


def test_a_snapshot_is_published_at_once_with_the_best_levels() -> None:
    (made,) = Book().take(snapshot())
    assert made == Depth(
        venue="kraken",
        symbol="BTC-USD",
        valid=True,
        epoch=START,
        sequence=0,
        exchange_time=START - 500,
        received_time=START,
        price_exponent=-2,
        size_exponent=-3,
        bid_prices=[100, 99],
        bid_sizes=[1, 2],
        ask_prices=[101, 102],
        ask_sizes=[4, 5],
    )


def test_changes_within_the_interval_are_one_record_of_the_last_state() -> None:
    book = Book()
    book.take(snapshot())
    assert book.take(bid(1, 2, 100, 7)) == []
    assert book.take(bid(2, 4, 100, 8)) == []
    assert book.pending()
    assert book.tick(9) is None
    made = book.tick(10)
    assert made is not None
    assert (made.sequence, made.bid_sizes, made.received_time) == (2, [8, 2], START + 4 * MS)
    assert not book.pending()
    assert book.tick(30) is None


def test_a_record_behind_the_interval_brings_the_pending_state_and_its_own() -> None:
    book = Book()
    book.take(snapshot())
    book.take(bid(1, 2, 100, 7))
    made = book.take(bid(2, 25, 100, 9))
    assert [(one.sequence, one.bid_sizes[0]) for one in made] == [(1, 7), (2, 9)]


def test_after_a_late_timer_the_next_record_still_waits_its_turn() -> None:
    book = Book()
    book.take(snapshot())
    book.take(bid(1, 2, 100, 7))
    assert book.tick(12) is not None  # the state as of 10 ms
    assert book.take(bid(2, 15, 100, 9)) == []
    assert book.tick(20) is not None


def test_a_replay_at_any_speed_gives_the_same_records() -> None:
    records = [snapshot(), *(bid(n, 3 * n, 100, n) for n in range(1, 40))]
    live, fast = Book(), Book()
    slowly = []
    for record in records:
        slowly += live.take(record)
        if (ticked := live.conflation.tick(record.received_time + 2 * MS)) is not None:
            slowly.append(ticked)
    quickly = [made for record in records for made in fast.take(record, now=0)]
    if (ticked := fast.conflation.tick(START + 10**9)) is not None:
        quickly.append(ticked)
    if (ticked := live.conflation.tick(START + 10**12)) is not None:
        slowly.append(ticked)
    assert [made.sequence for made in slowly] == [made.sequence for made in quickly]


def test_a_change_below_the_best_levels_is_none() -> None:
    book = Book()
    book.take(snapshot())
    assert book.take(bid(1, 50, 98, 9)) == []
    assert book.take(update(2, 60, ask_prices=[103], ask_sizes=[0])) == []
    assert not book.conflation.pending


def test_a_change_that_was_undone_within_the_interval_is_none() -> None:
    book = Book()
    book.take(snapshot())
    book.take(bid(1, 2, 100, 7))
    book.take(bid(2, 4, 100, 1))
    assert book.tick(10) is None
    assert not book.conflation.pending


def test_a_side_with_fewer_levels_than_asked_for_shows_every_change() -> None:
    book = Book(levels=5)
    book.take(snapshot())
    (made,) = book.take(bid(1, 50, 10, 9))
    assert made.bid_prices == [100, 99, 98, 10]


def test_a_quiet_top_is_repeated_once_a_second_while_the_venue_is_heard_of() -> None:
    book = Book()
    book.take(snapshot())
    assert book.take(bid(1, 999, 98, 9)) == []
    (made,) = book.take(bid(2, REPEAT_NS // MS, 98, 8))
    assert (made.sequence, made.bid_prices) == (2, [100, 99])
    assert book.take(bid(3, 1_500, 98, 7)) == []


def heartbeat(sequence: int, ms: int) -> L2Update:
    return update(sequence, ms, "HEARTBEAT", exchange_time=0)


def test_a_heartbeat_repeats_the_top_with_its_time() -> None:
    book = Book()
    (first,) = book.take(snapshot())
    (made,) = book.take(heartbeat(0, 200))
    assert made == replace(first, received_time=START + 200 * MS)
    assert book.take(heartbeat(0, 150)) == []  # it came before
    assert book.take(heartbeat(0, 205)) == []
    made_later = book.tick(210)  # not more than one in an interval
    assert made_later is not None
    assert made_later.received_time == START + 205 * MS


def test_a_heartbeat_brings_the_change_that_is_pending() -> None:
    book = Book()
    book.take(snapshot())
    book.take(bid(1, 2, 100, 7))
    made = book.take(heartbeat(1, 30))
    assert [(one.sequence, one.bid_sizes[0]) for one in made] == [(1, 7), (1, 7)]
    assert [one.received_time for one in made] == [START + 2 * MS, START + 30 * MS]


def test_a_heartbeat_that_shows_a_loss_is_published_as_doubt() -> None:
    book = Book()
    book.take(snapshot())
    (made,) = book.take(heartbeat(1, 30))
    assert (made.valid, made.sequence, made.received_time) == (False, 0, START + 30 * MS)
    assert book.take(heartbeat(1, 60)) == []


def test_a_book_in_doubt_is_not_older_after_a_restart_than_its_last_record() -> None:
    before, after = Book(), Book()
    before.take(snapshot())
    before.take(bid(5, 3, 100, 7))
    BookState.of(before.reader).restore(after.reader)
    after.conflation.mark()
    made = after.tick(10)
    assert made is not None
    assert (made.valid, made.received_time) == (False, START)


def test_doubt_is_published_at_once_with_empty_sides() -> None:
    book = Book()
    book.take(snapshot())
    (made,) = book.take(update(1, 1, "INVALID"))
    assert (made.valid, made.bid_prices, made.ask_sizes, made.sequence) == (False, [], [], 1)
    assert book.take(bid(2, 2, 100, 1)) == []


def test_a_gap_is_published_at_the_time_of_the_record_that_showed_it() -> None:
    book = Book()
    book.take(snapshot())
    (made,) = book.take(bid(5, 3, 100, 7))
    assert (made.valid, made.sequence, made.received_time) == (False, 0, START + 3 * MS)


def test_the_next_epoch_is_published_at_once() -> None:
    book = Book()
    book.take(snapshot())
    book.take(update(1, 1, "INVALID"))
    (made,) = book.take(snapshot(2, epoch=START + 2 * MS, price_exponent=-4))
    assert (made.valid, made.epoch, made.price_exponent) == (True, START + 2 * MS, -4)


def test_a_new_epoch_with_the_same_levels_is_a_change() -> None:
    book = Book()
    book.take(snapshot())
    (made,) = book.take(snapshot(20, epoch=START + 20 * MS))
    assert made.epoch == START + 20 * MS


def test_without_an_interval_every_change_is_published() -> None:
    book = Book(interval=0)
    book.take(snapshot())
    assert [made.sequence for n in range(1, 5) for made in book.take(bid(n, 0, 100, n + 1))] == [1, 2, 3, 4]


def test_a_clock_set_back_does_not_hold_the_book_up() -> None:
    book = Book()
    book.take(snapshot(3_600_000))
    (made,) = book.take(bid(1, 5, 100, 7), now=3_600_010)
    assert made.sequence == 1


def test_mark_publishes_the_present_state_again() -> None:
    book = Book()
    book.take(snapshot())
    book.conflation.mark()
    made = book.tick(11)
    assert made is not None
    assert made.bid_prices == [100, 99]


@pytest.mark.parametrize("sequence", [0, 1])
def test_a_record_seen_before_changes_nothing(sequence: int) -> None:
    book = Book()
    book.take(snapshot())
    book.take(bid(1, 20, 100, 7))
    assert book.take(bid(sequence, 40, 100, 99)) == []
