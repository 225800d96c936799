from __future__ import annotations

from copy import deepcopy
from dataclasses import replace

from alphapulse import topics
from schemas.records import ArbitrageOpportunity, DeltaStatistics, Depth, Event, L2Update, Record
from stream_processors.processing.arbitrage import ArbitrageRules
from stream_processors.processing.instrument import Rules
from stream_processors.processing.partition import Partition
from tests.fixtures.l2_feed import Feed
from tests.fixtures.market import SECOND, START, candle, depth, statistics, trade
from tests.unit.stream_processors.processing.test_depth import bid, snapshot

MS = 1_000_000


def partition() -> Partition:
    return Partition(0, Rules(), ArbitrageRules())


def kinds(made: list[Record]) -> list[str]:
    return [type(one).__name__ for one in made]


def test_muted_records_change_the_book_and_publish_nothing() -> None:
    one, out = partition(), list[Record]()
    one.muted_until = {topics.L2: 3, topics.DEPTH: 1}
    for offset, record in enumerate([snapshot(), bid(1, 100, 100, 7), bid(2, 200, 100, 8)]):
        one.apply_l2(offset, record, START + 200 * MS, out)
        one.positions[topics.L2] = offset + 1
        if offset < 2:
            one.tick_depth(START + 10 * SECOND, out)
    assert out == []
    one.tick_depth(START + 10 * SECOND, out)
    assert [(type(made), made.bid_sizes[0]) for made in out if isinstance(made, Depth)] == [(Depth, 8)]
    one.apply_l2(3, bid(3, 300, 100, 9), START + 300 * MS, out)
    assert len(out) == 2


PAYING = [
    depth(venue="kraken", bids=[(99, 1)], asks=[(100, 1)], sequence=1),
    depth(venue="coinbase", bids=[(105, 1)], asks=[(106, 1)], sequence=2),
    depth(venue="coinbase", bids=[(107, 1)], asks=[(108, 1)], sequence=3),
]
"""The second opens an opportunity, the third changes it."""


def opportunities(made: list[Record]) -> list[tuple[str, str | None]]:
    return [(one.state, one.close_reason) for one in made if isinstance(one, ArbitrageOpportunity)]


def apply_depth(to: Partition, books: list[Depth], now: int, first: int = 0) -> list[Record]:
    out: list[Record] = []
    for offset, book in enumerate(books, first):
        to.apply_depth(offset, book, now, out)
        to.positions[topics.DEPTH] = offset + 1
    return out


def test_nothing_is_decided_about_muted_records() -> None:
    one = partition()
    one.muted_until = {topics.DEPTH: 2}
    assert opportunities(apply_depth(one, PAYING[:2], START + SECOND)) == []
    assert one.symbols["BTC-USD"].books.keys() == {"kraken", "coinbase"}
    assert one.symbols["BTC-USD"].open == {}
    assert one.changed_symbols == {"BTC-USD"}
    assert opportunities(apply_depth(one, PAYING[2:], START + SECOND, 2)) == [("OPENED", None)]


def test_what_was_published_of_an_opportunity_is_gone_on_with() -> None:
    first, later = partition(), partition()
    published = apply_depth(first, PAYING[:2], START + SECOND)
    later.muted_until = {topics.DEPTH: 2}
    later.begin_rereading(2, START + SECOND)
    for made in published:
        later.was_published(made)
    assert later.changed_symbols == {"BTC-USD"}
    assert apply_depth(later, PAYING[:2], START + SECOND) == []
    (changed,) = apply_depth(later, PAYING[2:], START + SECOND, 2)
    assert not later.rereading
    assert isinstance(changed, ArbitrageOpportunity)
    assert isinstance(published[0], ArbitrageOpportunity)
    assert (changed.state, changed.opportunity_id) == ("CHANGED", published[0].opportunity_id)


def test_the_clock_closes_what_is_open_on_books_that_nobody_confirms() -> None:
    one = partition()
    assert opportunities(apply_depth(one, PAYING[:2], START + SECOND)) == [("OPENED", None)]
    one.changed_symbols.clear()
    out: list[Record] = []
    for tenth in range(10, 50):
        one.tick(START + tenth * SECOND // 10, out)
    assert out == []
    for tenth in range(50, 6000):
        one.tick(START + tenth * SECOND // 10, out)
    assert opportunities(out) == [("CLOSED", "stale_book")]
    assert isinstance(out[0], ArbitrageOpportunity)
    assert out[0].updated_time == START + 51 * SECOND // 10  # kraken's book is of 1 ms after the start
    assert one.changed_symbols == {"BTC-USD"}
    assert one.symbols["BTC-USD"].open == {}


def test_after_a_takeover_the_clock_waits_for_what_is_still_to_be_read() -> None:
    first = partition()
    published = apply_depth(first, PAYING[:2], START + SECOND)
    now = START + 60 * SECOND

    def taken_over() -> Partition:
        later = partition()
        later.restore_symbol("BTC-USD", PAYING[:2], [], {})
        later.was_published(published[0])
        later.positions = {topics.DEPTH: 2}
        later.begin_rereading(4, now)
        return later

    confirmed = [replace(book, received_time=now - SECOND) for book in PAYING[:2]]
    later, out = taken_over(), list[Record]()
    later.tick(now, out)
    out += apply_depth(later, confirmed, now, 2)
    later.tick(now, out)
    assert (out, later.rereading) == ([], False)
    # What does not come for as long as a book may be old is not waited for.
    later = taken_over()
    later.tick(now + 5 * SECOND - 1, out)
    assert out == []
    later.tick(now + 5 * SECOND, out)
    assert opportunities(out) == [("CLOSED", "stale_book")]
    assert apply_depth(later, confirmed, now + 5 * SECOND, 2) == []


def test_a_heartbeat_is_in_no_window_and_no_count() -> None:
    one, out = partition(), list[Record]()
    feed = Feed(trade_every=0)
    for offset, record in enumerate(feed.run(3)):
        assert isinstance(record, L2Update)
        one.apply_l2(offset, record, record.received_time, out)
    state = one.instruments["kraken|BTC-USD"]
    state.dirty = False
    totals = deepcopy(state.totals)
    for second in range(1, 30):
        one.apply_l2(3 + second, feed.heartbeat(START + second * SECOND), START + second * SECOND, out)
        one.tick(START + second * SECOND, out)
    assert (state.totals, state.reader.valid, state.active) == (totals, True, False)
    windows = [made for made in out if isinstance(made, DeltaStatistics)]
    assert [(made.snapshots, made.deltas) for made in windows] == [
        (1, 3),
        (0, 0),
    ]  # one of zeros, as for any quiet book
    repeats = [made.received_time for made in out if isinstance(made, Depth)][-29:]
    assert repeats == [START + second * SECOND for second in range(1, 30)]


def test_a_heartbeat_shows_that_a_record_was_lost() -> None:
    one, out = partition(), list[Record]()
    feed = Feed(trade_every=0)
    one.apply_l2(0, feed.snapshot(), START, out)
    feed.delta()  # lost
    one.apply_l2(1, feed.heartbeat(START + SECOND), START + SECOND, out)
    assert one.gaps == 1
    assert [made.kind for made in out if isinstance(made, Event)] == ["gap"]
    assert [made.valid for made in out if isinstance(made, Depth)] == [True, False]
    one.tick(START + 3 * SECOND, out)
    one.tick(START + 4 * SECOND, out)
    assert [made.valid for made in out if isinstance(made, DeltaStatistics)][-1] is False


def test_a_gap_is_counted_and_told() -> None:
    one, out = partition(), list[Record]()
    one.apply_l2(0, snapshot(), START, out)
    one.apply_l2(1, bid(5, 10, 100, 7), START, out)
    assert one.gaps == 1
    (event,) = [made for made in out if isinstance(made, Event)]
    assert (event.kind, event.severity, event.venue, event.symbol) == ("gap", "WARNING", "kraken", "BTC-USD")
    assert event.details["expected_sequence"] == "1"
    assert event.details["sequence"] == "5"


def test_windows_and_candles_end_by_the_clock() -> None:
    one, out = partition(), list[Record]()
    one.apply_l2(0, snapshot(), START, out)
    one.apply_trade(0, trade(), START, out)
    one.apply_trade(1, trade(), START, out)
    out.clear()
    for tick in range(100):
        one.tick(START + tick * SECOND // 5, out)
    (first, _) = [made for made in out if isinstance(made, DeltaStatistics)]
    assert (first.trades, first.snapshots) == (1, 1)
    assert kinds(out).count("Candle") == 1
    state = one.instruments["kraken|BTC-USD"]
    assert (state.totals.trades, state.totals.duplicate_trades) == (1, 1)
    assert state.active  # the minute


def test_what_was_published_before_is_held_back() -> None:
    one, out = partition(), list[Record]()
    one.was_published(statistics(0))
    one.was_published(candle(0, trades=1, open_time=START))
    one.was_published(depth())
    one.apply_l2(0, snapshot(), START, out)
    one.apply_trade(0, trade(), START, out)
    out.clear()
    for tick in range(100):
        one.tick(START + tick * SECOND // 5, out)
    assert [made.window_start for made in out if isinstance(made, DeltaStatistics)] == [START + SECOND]
    assert kinds(out).count("Candle") == 0


def test_a_trade_that_no_candle_counts_is_an_event_and_a_count() -> None:
    one, out = partition(), list[Record]()
    one.apply_trade(0, trade("1", exchange_time=START, received_time=START), START, out)
    later = START + 600 * SECOND
    one.apply_trade(1, trade("2", exchange_time=later, received_time=later), later, out)
    one.apply_trade(2, trade("3", exchange_time=START + SECOND, received_time=later), later, out)
    (event,) = [made for made in out if isinstance(made, Event)]
    assert (event.kind, event.severity, event.venue, event.symbol) == ("late_trade", "WARNING", "kraken", "BTC-USD")
    assert event.details["trade_id"] == "3"
    assert event.details["exchange_time"] == str(START + SECOND)
    (instrument,) = one.instruments.values()
    assert instrument.candles.too_late == 1


def test_trades_without_a_credible_time_are_told_once_for_all_in_a_row() -> None:
    one, out = partition(), list[Record]()
    for number, ahead in enumerate((0, 3_000, 3_000, 0, 3_000)):
        received = START + number * SECOND
        one.apply_trade(
            number, trade(str(number), exchange_time=received + ahead * SECOND, received_time=received), received, out
        )
    events = [made for made in out if isinstance(made, Event)]
    assert [(event.kind, event.details["trade_id"]) for event in events] == [
        ("trade_time_doubted", "1"),
        ("trade_time_doubted", "4"),
    ]
    (instrument,) = one.instruments.values()
    assert instrument.candles.doubted == 3


def test_events_of_trades_that_are_read_again_are_not_told_again() -> None:
    one, out = partition(), list[Record]()
    one.muted_until = {topics.TRADES: 1}
    for number in (0, 1):
        one.apply_trade(number, trade(str(number), exchange_time=1, received_time=START), START, out)
        one.apply_trade(number, trade(f"good {number}", exchange_time=START, received_time=START), START, out)
    assert [made.details["trade_id"] for made in out if isinstance(made, Event)] == ["1"]


def test_two_feeds_share_a_partition() -> None:
    one, out = partition(), list[Record]()
    feeds = [Feed("kraken"), Feed("coinbase", seed=2)]
    offset = 0
    for feed in feeds:
        for record in feed.run(30):
            if isinstance(record, L2Update):
                one.apply_l2(offset, record, START, out)
                offset += 1
    assert {key: state.reader.sequence for key, state in one.instruments.items()} == {
        "kraken|BTC-USD": 30,
        "coinbase|BTC-USD": 30,
    }
