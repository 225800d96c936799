from __future__ import annotations

from alphapulse import topics
from schemas.records import DeltaStatistics, Depth, Event, L2Update, Record
from stream_processors.arbitrage import ArbitrageRules
from stream_processors.instrument import Rules
from stream_processors.partition import Partition
from tests.fixtures.l2_feed import Feed
from tests.fixtures.market import SECOND, START, candle, depth, statistics, trade
from tests.unit.stream_processors.test_depth import bid, snapshot

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


def test_muted_opportunities_are_not_published_again() -> None:
    one, out = partition(), list[Record]()
    one.muted_until = {topics.DEPTH: 2}
    books = [
        depth(venue="kraken", bids=[(99, 1)], asks=[(100, 1)], sequence=1),
        depth(venue="coinbase", bids=[(105, 1)], asks=[(106, 1)], sequence=2),
        depth(venue="coinbase", bids=[(107, 1)], asks=[(108, 1)], sequence=3),
    ]
    for offset, book in enumerate(books):
        one.apply_depth(offset, book, 0, out)
    assert [getattr(made, "state", None) for made in out] == ["CHANGED"]
    assert one.changed_symbols == {"BTC-USD"}


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


def test_a_candle_that_does_not_fit_is_told() -> None:
    one, out = partition(), list[Record]()
    huge = {"size": 2**63 - 1, "size_exponent": -3}
    for number in range(3):
        one.apply_trade(number, trade(str(number), **huge), START, out)
    one.apply_trade(3, trade("3", exchange_time=START + 5 * SECOND), START, out)
    assert [(made.kind, made.severity) for made in out if isinstance(made, Event)] == [("candle_refused", "ERROR")]
    out.clear()
    for number in range(4, 7):
        one.apply_trade(number, trade(str(number), exchange_time=START + 6 * SECOND, **huge), START, out)
    one.tick(START + 60 * SECOND, out)
    assert "candle_refused" in [made.kind for made in out if isinstance(made, Event)]


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
