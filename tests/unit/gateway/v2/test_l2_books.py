from __future__ import annotations

from dataclasses import replace

import pytest

from alphapulse.freshness import Fault
from gateway.v2.books import BookPlace
from gateway.v2.l2_books import Instrument, L2Books, L2Change
from schemas.checkpoints import BookState
from schemas.codec import Codec
from schemas.records import L2Update
from tests.fixtures import l2_feed
from tests.fixtures.market import MAX_BOOK_AGE, START

CODEC = Codec()
INSTRUMENT: Instrument = ("kraken", "BTC-USD")


class Books:
    """Books with what they published."""

    def __init__(self) -> None:
        self.published: list[L2Change] = []
        self.books = L2Books(CODEC, MAX_BOOK_AGE, lambda _, change: self.published.append(change))
        self.book = self.books.book(*INSTRUMENT)

    def put(self, *updates: L2Update) -> list[bool]:
        """Apply records at their own time."""
        return [self.books.apply(each, CODEC.encode(each), each.received_time) for each in updates]


def fault(one: Books) -> Fault | None:
    return one.book.fault


def feed(deltas: int) -> l2_feed.Feed:
    made = l2_feed.Feed(levels=20, trade_every=0, step=1_000_000)
    list(made.run(deltas))
    return made


def test_nothing_is_published_before_the_books_are_loaded() -> None:
    one, made = Books(), feed(3)
    one.put(*made.records)
    assert (one.published, one.book.fault, one.book.reader.valid) == ([], "no_book", True)
    one.books.loaded(lambda instrument: instrument == INSTRUMENT, made.last_received)
    assert [change.reset for change in one.published] == [True]
    assert one.book.fault is None
    one.books.loaded(lambda _: True, made.last_received)
    assert len(one.published) == 1
    one.put(made.delta(), made.heartbeat(made.last_received + 1))
    assert [change.reset for change in one.published[1:]] == [False, False]


def test_changes_have_the_sizes_of_before() -> None:
    one, made = Books(), feed(0)
    one.put(*made.records)
    one.books.loaded(lambda _: True, START)
    before = {price: one.book.reader.book.bids.size_at(price) for price in made.records[0].bid_prices}
    delta = made.delta()
    one.put(delta)
    assert one.published[-1].bids == [(price, before.get(price, 0)) for price in delta.bid_prices]


@pytest.mark.parametrize("kind", ["INVALID", "GAP", "SNAPSHOT"])
def test_faults_and_snapshots_reset(kind: str) -> None:
    one, made = Books(), feed(3)
    one.put(*made.records)
    one.books.loaded(lambda _: True, made.last_received)
    last = made.records[-1]
    if kind == "GAP":
        update = replace(last, sequence=last.sequence + 2)
    elif kind == "INVALID":
        update = replace(last, kind="INVALID", sequence=last.sequence + 1)
    else:
        update = replace(made.records[0], epoch=last.epoch + 10**9, received_time=last.received_time)
    one.put(update)
    assert one.published[-1].reset
    assert one.book.fault == (None if kind == "SNAPSHOT" else "invalid")


def test_a_book_from_a_checkpoint_goes_on_and_remembers_what_was_before() -> None:
    made = feed(10)
    state = BookState.of(made.book())
    list(made.run(5))
    one = Books()
    one.books.restore(*INSTRUMENT, state)
    outcomes = one.put(*made.records[4:])  # from before the checkpoint
    assert outcomes == [False] * 7 + [True] * 5
    one.books.loaded(lambda _: True, made.last_received)
    assert one.book.reader.sequence == made.records[-1].sequence
    epoch = made.records[0].epoch
    assert [update.sequence for update in one.book.since(BookPlace(epoch, 8)) or ()] == list(range(9, 16))
    assert len(one.book.since(BookPlace(epoch, 3)) or ()) == 12
    assert one.book.since(BookPlace(epoch, 2)) is None, "its next record was not read"
    assert one.book.since(BookPlace(epoch, 15)) == []
    assert one.book.since(BookPlace(epoch, 16)) is None
    assert one.book.since(BookPlace(epoch + 1, 3)) is None


def test_a_snapshot_is_a_position() -> None:
    one, made = Books(), feed(2)
    one.put(*made.records)
    one.books.loaded(lambda _: True, made.last_received)
    first = made.records[0]
    assert len(one.book.since(BookPlace(first.epoch, first.sequence)) or ()) == 2


def test_books_become_stale_and_are_confirmed() -> None:
    one, made = Books(), feed(1)
    one.put(*made.records)
    one.books.loaded(lambda _: True, made.last_received)
    one.books.expire(made.last_received + MAX_BOOK_AGE)
    assert fault(one) is None
    one.books.expire(made.last_received + MAX_BOOK_AGE + 1)
    assert one.published[-1].reset
    assert fault(one) == "stale"
    assert one.book.since(BookPlace(START, 1)) is None
    one.put(made.heartbeat(made.last_received + MAX_BOOK_AGE + 2))
    assert one.published[-1].reset
    assert fault(one) is None


def test_wishes_are_counted_and_what_is_unloaded_is_unknown() -> None:
    one, made = Books(), feed(1)
    asked: list[Instrument] = []
    one.books.on_wanted = asked.append
    one.books.want(*INSTRUMENT)
    one.books.want(*INSTRUMENT)
    one.books.unwant(*INSTRUMENT)
    assert (asked, list(one.books.wanted)) == ([INSTRUMENT] * 2, [INSTRUMENT])
    one.put(*made.records)
    one.books.loaded(lambda _: True, made.last_received)
    one.books.unload()
    assert (one.book.fault, one.published[-1].reset, one.books.book(*INSTRUMENT)) == ("no_book", True, one.book)
    one.books.unwant(*INSTRUMENT)
    one.books.unload()
    assert one.books.book(*INSTRUMENT) is not one.book
    assert list(one.books.wanted) == []
