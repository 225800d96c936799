from __future__ import annotations

import msgspec
import pytest

from schemas.book_reader import BookReader
from schemas.records import DeltaStatistics, L2Update
from stream_processors.processing import statistics
from stream_processors.processing.statistics import HOLD_NS, DeltaWindows, WindowState
from tests.fixtures.market import SECOND, START
from tests.unit.stream_processors.processing.test_depth import bid, snapshot, update

MS = 1_000_000
HOLD_MS = HOLD_NS // MS


class Book:
    """A book with its windows; times are ms since the start."""

    def __init__(self) -> None:
        self.reader = BookReader()
        self.windows = DeltaWindows("kraken", "BTC-USD", self.reader, SECOND)

    def take(self, record: L2Update, now: int | None = None) -> None:
        arrived = record.received_time if now is None else START + now * MS
        self.windows.before(record.received_time, arrived)
        self.windows.after(record, self.reader.apply(record))

    def trade(self, ms: int) -> None:
        self.windows.trade(START + ms * MS)

    def tick(self, ms: int) -> list[DeltaStatistics]:
        return self.windows.tick(START + ms * MS)


def second_of(made: DeltaStatistics) -> int:
    return (made.window_start - START) // SECOND


def test_a_window_tells_what_happened_and_how_the_book_was_at_its_end() -> None:
    book = Book()
    book.take(snapshot(exchange_time=START - 3000))
    book.take(update(1, 100, bid_prices=[100, 97, 1], bid_sizes=[9, 8, 0], ask_prices=[101], ask_sizes=[0]))
    book.take(bid(2, 900, 99, 0))
    book.trade(950)
    book.take(bid(3, 1_000, 50, 1))
    (made,) = book.tick(1_000 + HOLD_MS)
    assert made == DeltaStatistics(
        venue="kraken",
        symbol="BTC-USD",
        window_start=START,
        window_end=START + SECOND,
        epoch=START,
        sequence=2,
        valid=True,
        snapshots=1,
        deltas=2,
        level_changes=5,
        levels_added=1,
        levels_updated=1,
        levels_removed=2,
        trades=1,
        bid_levels=3,
        ask_levels=2,
        best_bid=100,
        best_ask=102,
        price_exponent=-2,
        size_exponent=-3,
        latency_max=3000,
        latency_mean=(3000 + 500 + 500) // 3,
    )


def test_trades_may_come_a_little_later_than_the_book() -> None:
    book = Book()
    book.take(snapshot())
    book.take(bid(1, 1_100, 100, 2))
    book.trade(990)
    assert book.tick(1_100 + HOLD_MS - 1) == []
    (made,) = book.tick(1_100 + HOLD_MS)
    assert (second_of(made), made.trades) == (0, 1)


def test_a_trade_later_than_that_counts_in_the_next_window() -> None:
    book = Book()
    book.take(snapshot())
    book.take(bid(1, 1_100, 100, 2))
    book.tick(1_100 + HOLD_MS)
    book.trade(990)
    book.take(bid(2, 2_000, 100, 3))
    (made,) = book.tick(2_000 + HOLD_MS)
    assert (second_of(made), made.trades) == (1, 1)


def test_trades_may_come_earlier_than_the_book() -> None:
    book = Book()
    book.take(snapshot())
    for ms in (1_500, 2_500, 2_600, 3_100):
        book.trade(ms)
    book.take(bid(1, 1_600, 100, 2))
    book.take(bid(2, 3_200, 100, 3))
    book.take(bid(3, 4_000, 100, 4))
    made = book.tick(4_000 + HOLD_MS)
    assert [(second_of(one), one.deltas, one.trades) for one in made] == [(0, 0, 0), (1, 1, 1), (2, 0, 2), (3, 1, 1)]


def test_a_quiet_book_gets_one_window_of_zeros() -> None:
    book = Book()
    book.take(snapshot())
    made = [one for ms in range(0, 10_000, 100) for one in book.tick(ms)]
    assert [(second_of(one), one.snapshots, one.valid) for one in made] == [(0, 1, True), (1, 0, True)]
    assert not book.windows.active
    book.take(bid(1, 20_500, 100, 2))
    made = [one for ms in range(20_500, 24_000, 100) for one in book.tick(ms)]
    assert [(second_of(one), one.deltas) for one in made] == [(20, 1), (21, 0)]


def test_trades_alone_make_windows_of_a_known_book() -> None:
    book = Book()
    book.take(snapshot())
    for ms in range(0, 10_000, 100):
        book.tick(ms)
    book.trade(10_200)
    made = [one for ms in range(10_200, 13_000, 100) for one in book.tick(ms)]
    assert [(second_of(one), one.trades) for one in made] == [(10, 1)]


def test_trades_without_a_book_make_none_and_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(statistics, "EARLY_WINDOWS", 3)
    book = Book()
    for second in range(10):
        book.trade(1_000 * second)
    assert len(book.windows.early) == 3
    assert book.tick(0) == []


def test_an_overtaken_record_counts_where_it_arrives() -> None:
    book = Book()
    book.take(snapshot())
    book.take(bid(1, 1_000, 100, 2))
    book.take(bid(2, 990, 100, 3))
    book.take(bid(3, 2_000, 100, 4))
    made = book.tick(2_000 + HOLD_MS)
    assert [(second_of(one), one.deltas) for one in made] == [(0, 0), (1, 2)]


def test_a_clock_set_back_begins_again() -> None:
    book = Book()
    book.take(snapshot(10_000))
    book.take(bid(1, 11_000, 100, 2))
    book.tick(11_000 + HOLD_MS)
    book.take(bid(2, 1_000, 100, 3), now=11_500)
    book.take(bid(3, 2_000, 100, 4), now=12_500)
    made = book.tick(12_500 + HOLD_MS)
    assert [second_of(one) for one in made] == [11, 1]


def test_records_seen_before_are_not_counted() -> None:
    book = Book()
    book.take(snapshot())
    book.take(snapshot())
    book.take(update(1, 10, "INVALID"))
    book.take(bid(1, 20, 100, 2))
    book.take(bid(2, 1_000, 100, 2))
    (made,) = book.tick(1_000 + HOLD_MS)
    assert (made.snapshots, made.deltas, made.valid, made.best_bid, made.best_ask) == (1, 0, False, None, None)


def test_a_venue_without_times_has_no_latency() -> None:
    book = Book()
    book.take(snapshot(exchange_time=0))
    book.take(bid(1, 1_000, 100, 2))
    (made,) = book.tick(1_000 + HOLD_MS)
    assert (made.latency_max, made.latency_mean) == (0, 0)


def test_clocks_differ_so_latency_may_be_negative() -> None:
    book = Book()
    book.take(snapshot(exchange_time=START + 700))
    book.take(bid(1, 1_000, 100, 2))
    (made,) = book.tick(1_000 + HOLD_MS)
    assert (made.latency_max, made.latency_mean) == (-700, -700)


def test_latencies_of_years_are_averaged_exactly_and_can_be_kept() -> None:
    """A recording of 2021 is five years late: thousands of such latencies exceed 64 bits in their sum."""
    years = 5 * 365 * 24 * 3600 * SECOND
    book = Book()
    book.take(snapshot(exchange_time=START - years))
    for number in range(1, 300):
        late = bid(number, 1, 100, number)
        late.exchange_time = late.received_time - years - number
        book.take(late)
    kept = msgspec.msgpack.decode(msgspec.msgpack.encode(book.windows.state()), type=WindowState)
    assert kept.open is not None
    assert kept.open.latency_mean == years + sum(range(300)) // 300
    book.take(bid(300, 1_000, 100, 1))
    (made,) = book.tick(1_000 + HOLD_MS)
    assert made.latency_mean == years + sum(range(300)) // 300


def test_a_later_owner_goes_on_and_publishes_no_window_again() -> None:
    book = Book()
    book.take(snapshot())
    book.take(bid(1, 1_000, 100, 2))
    book.trade(1_500)
    book.trade(2_500)
    state = book.windows.state()
    assert len(book.tick(1_000 + HOLD_MS)) == 1

    later = Book()
    later.take(snapshot())
    later.take(bid(1, 1_000, 100, 2))
    later.windows = DeltaWindows("kraken", "BTC-USD", later.reader, SECOND)
    later.windows.restore(state, START + 1_100 * MS)
    later.windows.was_published(START + SECOND)  # as read back from md.stats
    later.take(bid(2, 2_000, 100, 3))
    later.take(bid(3, 3_000, 100, 3))
    made = later.tick(3_000 + HOLD_MS)
    assert [(second_of(one), one.deltas, one.trades) for one in made] == [(1, 1, 1), (2, 1, 1)]


def test_an_owner_that_ends_before_it_has_caught_up_passes_on_what_was_published() -> None:
    """It was killed after a checkpoint; the third one reads back only what the second published itself: nothing."""
    book = Book()
    book.take(snapshot())
    book.take(bid(1, 500, 100, 2))
    state = book.windows.state()
    second, third = (DeltaWindows("kraken", "BTC-USD", book.reader, SECOND) for _ in range(2))
    second.restore(state, START)
    second.was_published(START + SECOND)  # as read back from md.stats
    third.restore(second.state(), START)
    book.windows = third
    book.take(bid(2, 1_000, 100, 3))
    book.take(bid(3, 2_000, 100, 4))
    made = book.tick(2_000 + HOLD_MS)
    assert [second_of(one) for one in made] == [1]


def test_a_record_later_than_its_window_counts_in_the_next() -> None:
    book = Book()
    book.take(snapshot())
    assert [second_of(one) for one in book.tick(1_500)] == []
    assert [second_of(one) for one in book.tick(1_500 + HOLD_MS)] == [0]
    # Held up on its way: window 0 has been published, window 1 is open.
    book.take(bid(1, 999, 100, 2), now=1_900)
    book.take(bid(2, 2_000, 100, 3), now=2_900)
    made = book.tick(2_900 + HOLD_MS)
    assert [(second_of(one), one.deltas) for one in made] == [(1, 1)]


def test_at_the_end_of_the_process_the_open_window_is_published_and_what_follows_counts_in_the_next() -> None:
    book = Book()
    book.take(snapshot())
    book.take(bid(1, 1_100, 100, 2))
    assert [(second_of(one), one.deltas) for one in book.windows.flush()] == [(0, 0), (1, 1)]
    assert book.windows.flush() == []
    later = Book()
    later.reader = book.reader
    later.windows = DeltaWindows("kraken", "BTC-USD", later.reader, SECOND)
    later.windows.restore(book.windows.state(), START + 1_200 * MS)
    later.windows.was_published(START + 2 * SECOND)
    later.take(bid(2, 1_300, 100, 3))
    later.take(bid(3, 2_300, 100, 4))
    assert [(second_of(one), one.deltas) for one in later.windows.flush()] == [(2, 2)]


def test_an_empty_window_is_not_worth_publishing_at_the_end() -> None:
    book = Book()
    book.take(snapshot())
    book.tick(1_100)
    book.tick(1_100 + HOLD_MS)
    assert book.windows.flush() == []
