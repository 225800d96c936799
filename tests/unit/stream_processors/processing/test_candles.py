from __future__ import annotations

from dataclasses import replace
from typing import Any

import msgspec
import pytest

from alphapulse.fixed import INT64_MAX
from schemas.records import Candle, Trade
from stream_processors.processing.candles import GRACE_NS, LEAST_KEPT, TIMER_GRACE_NS, Candles, CandleState
from tests.fixtures.market import SECOND, START, candle, trade

MS = 1_000_000


def at(ms: int, price: int = 100, size: int = 1, number: int | None = None, **changes: object) -> Trade:
    """A trade so many ms after the start, numbered by its time."""
    time = START + ms * MS
    identity = str(ms if number is None else number)
    return trade(identity, price=price, size=size, exchange_time=time, received_time=time + 5 * MS, **changes)


def candles(lateness: int = 60 * SECOND, intervals: tuple[int, ...] = (SECOND,)) -> Candles:
    return Candles("kraken", "BTC-USD", intervals, lateness)


def take(taker: Candles, *trades: Trade) -> list[Candle]:
    return [made for one in trades for made in taker.add(one, one.received_time)]


def test_a_candle_is_published_once_trades_are_past_its_end() -> None:
    taker = candles()
    made = take(taker, at(100, 100, 2), at(200, 103, 1), at(300, 99, 4), at(999, 101, 3), at(1_249))
    assert made == []
    (made_one,) = take(taker, at(1_000 + GRACE_NS // MS))
    assert made_one == Candle(
        venue="kraken",
        symbol="BTC-USD",
        interval=SECOND,
        open_time=START,
        open=100,
        high=103,
        low=99,
        close=101,
        volume=10,
        quote_volume="0.01002",
        vwap=1_002_000,
        vwap_exponent=-6,
        trades=4,
        price_exponent=-2,
        size_exponent=-3,
        revision=0,
        received_time=START + 1_004 * MS,
        first_trade_time=START + 100 * MS,
        last_trade_time=START + 999 * MS,
        partial=True,
    )


def test_when_no_trade_comes_the_clock_ends_it() -> None:
    taker = candles()
    take(taker, at(400))
    arrived = START + 405 * MS
    end = arrived + 600 * MS + TIMER_GRACE_NS
    assert taker.active
    assert taker.tick(end - 1) == []
    assert [made.open_time for made in taker.tick(end)] == [START]
    assert taker.tick(end + SECOND) == []
    assert not taker.active


def test_a_late_trade_makes_a_new_revision() -> None:
    taker = candles()
    take(taker, at(500, 100), at(1_500))
    late = take(taker, at(600, 120, number=9_000), at(400, 90, number=9_001))
    assert [(made.revision, made.open, made.high, made.low, made.close, made.trades) for made in late] == [
        (1, 100, 120, 100, 120, 2),
        (2, 90, 120, 90, 120, 3),
    ]


def test_a_late_trade_of_an_interval_without_one_makes_its_candle() -> None:
    taker = candles()
    take(taker, at(5_500))
    (made,) = take(taker, at(600))
    assert (made.open_time, made.revision, made.trades) == (START, 0, 1)


def late(ms: int, received: int, **changes: Any) -> Trade:
    """A trade of so many ms after the start that is received so many ms after it."""
    return replace(at(ms, **changes), received_time=START + received * MS)


def test_a_trade_too_late_is_counted_and_changes_nothing() -> None:
    """It is when its candle is forgotten: no trade of it was received for its length and the lateness."""
    taker = candles(lateness=2 * SECOND)
    take(taker, *(at(ms) for ms in (500, 1_500, 2_500, 3_300)))
    (made,) = take(taker, late(600, 3_310, number=9_000))
    assert made.revision == 1
    take(taker, *(at(ms) for ms in range(3_400, 9_000, 500)))
    assert take(taker, late(601, 9_000, number=9_001)) == []
    assert taker.too_late == 1


def test_what_can_change_no_more_is_forgotten() -> None:
    taker = candles(lateness=2 * SECOND)
    take(taker, *(at(1_000 * second) for second in range(100)))
    assert len(taker.series[SECOND].bars) <= 5
    assert taker.series[SECOND].forgotten.pairs == [(START // SECOND, START // SECOND + 95)]


def test_candles_of_a_fast_replay_are_bounded() -> None:
    taker = candles(lateness=0)
    made = take(taker, *(late(1_000 * second, 5 * 10**11) for second in range(1_000)))
    assert len(taker.series[SECOND].bars) <= LEAST_KEPT
    made += taker.flush()
    assert [one.open_time for one in made] == [START + second * SECOND for second in range(1_000)]


@pytest.mark.parametrize("ahead", [0, 120])
def test_candles_are_bounded_whatever_the_venues_clock(ahead: int) -> None:
    taker, made = candles(), list[Candle]()
    for second in range(1_000):
        one = late(1_000 * (second + (ahead if second > 10 else 0)), 1_000 * second)
        made += taker.add(one, one.received_time) + taker.tick(one.received_time)
    made += taker.flush()
    assert len(taker.series[SECOND].bars) <= 125
    assert sum({one.open_time: one.trades for one in made}.values()) == 1_000


def test_the_clock_alone_never_makes_a_late_trade_begin_a_candle_anew() -> None:
    taker = candles(lateness=2 * SECOND)
    take(taker, at(500, 100))
    taker.tick(START + 3_600 * SECOND)
    take(taker, at(2_700))
    taker.tick(START + 7_200 * SECOND)
    (made,) = take(taker, at(600, 90, number=9_000))
    assert (made.revision, made.trades, made.low) == (1, 2, 90)


def test_trades_of_one_time_follow_their_ids() -> None:
    taker = candles()
    made = take(taker, at(5, 3, number=10), at(5, 1, number=9), at(5, 2, number=100), at(2_000))
    assert (made[0].open, made[0].close) == (1, 2)


def test_a_finer_exponent_refines_the_whole_candle() -> None:
    taker = candles()
    coarse = at(100, 100, 2)
    fine = replace(at(200, 100_501, 30_000), price_exponent=-5, size_exponent=-7)
    for order in ((coarse, fine), (fine, coarse)):
        taker = candles()
        (made,) = take(taker, *order, at(2_000))
        assert (made.price_exponent, made.size_exponent) == (-5, -7)
        assert (made.open, made.high, made.low, made.close) == (100_000, 100_501, 100_000, 100_501)
        assert made.volume == 2 * 10**4 + 30_000
        assert made.quote_volume == "0.00501503"  # 1.00 × 0.002 + 1.00501 × 0.003


def test_all_intervals_run_side_by_side() -> None:
    taker = candles(intervals=(SECOND, 60 * SECOND))
    made = take(taker, at(0), at(30_000), at(61_000))
    assert [(one.interval // SECOND, (one.open_time - START) // SECOND, one.trades) for one in made] == [
        (1, 0, 1),
        (1, 30, 1),
        # START is 20 s into its minute
        (60, -20, 2),
    ]


@pytest.mark.parametrize(
    ("sizes", "vwap"), [((1, 1), 1_005_000), ((0, 0), 101), ((2, 1), 1_003_333), ((1, 2), 1_006_667)]
)
def test_the_average_price_is_rounded_half_to_even(sizes: tuple[int, int], vwap: int) -> None:
    made = take(candles(), at(1, 100, sizes[0]), at(2, 101, sizes[1]), at(2_000))
    assert made[0].vwap == vwap
    assert made[0].vwap_exponent == (-2 if sizes == (0, 0) else -6)


def test_a_volume_beyond_64_bits_is_told_at_a_coarser_exponent() -> None:
    huge = INT64_MAX // 10 * 10
    (made,) = take(candles(), at(1, 1, huge), at(2, 1, huge), at(2_000))
    assert (made.volume, made.size_exponent) == (huge // 10 * 2, -2)
    (made,) = take(candles(), at(1, 1, INT64_MAX), at(2, 1, INT64_MAX - 1), at(2_000))
    assert (made.volume, made.size_exponent) == (1_844_674_407_370_955_161, -2)  # …613 rounded


def test_a_price_near_64_bits_has_an_average_with_fewer_decimals() -> None:
    price = INT64_MAX // 50
    (made,) = take(candles(), at(1, price, 1), at(2_000))
    assert (made.vwap, made.vwap_exponent) == (price * 10, -3)


def test_a_later_owner_goes_on() -> None:
    taker, trades = candles(), [at(ms, 100 + ms % 7, ms) for ms in range(1, 3_000, 70)]
    expected = take(candles(), *trades)
    made = take(taker, *trades[:20])
    later = candles()
    later.restore(taker.state(), START)
    assert made + take(later, *trades[20:]) == expected


def test_what_was_published_before_a_crash_is_not_contradicted() -> None:
    """Before the crash the clock closed the candle with one trade; then a late one made revision 1."""
    later = candles()
    later.was_published(candle(trades=1, revision=0))
    later.was_published(candle(trades=2, revision=1))
    later.was_published(candle(trades=1, revision=0))
    later.was_published(candle(interval=7))
    # Read again, both trades are there before it closes: the same content needs no new record …
    assert take(later, at(100), at(200), at(1_500)) == []
    # … and a third one makes a revision above both.
    (made,) = take(later, at(300, number=9_000))
    assert (made.revision, made.trades) == (2, 3)


def test_an_owner_that_ends_before_it_has_caught_up_passes_on_what_was_published() -> None:
    """The third one reads back only what the second published itself: nothing."""
    second, third = candles(), candles()
    second.was_published(candle(trades=2, revision=1))
    third.restore(second.state(), START)
    assert take(third, at(100), at(200), at(1_500)) == []


def test_less_than_was_published_is_held_back() -> None:
    later = candles()
    later.was_published(candle(trades=2, revision=0))
    assert take(later, at(100), at(1_500)) == []
    assert take(later, at(200, number=9_000)) == []
    (made,) = take(later, at(300, number=9_001))
    assert (made.revision, made.trades) == (1, 3)


def test_an_interval_no_longer_configured_is_left_out() -> None:
    old = candles(intervals=(SECOND, 5 * SECOND))
    take(old, at(1))
    new = candles(intervals=(5 * SECOND,))
    new.restore(old.state(), START)
    assert new.series.keys() == {5 * SECOND}


def test_at_the_end_of_the_process_open_candles_are_published_and_go_on() -> None:
    taker = candles()
    take(taker, at(100))
    (first,) = taker.flush()
    assert (first.revision, first.trades) == (0, 1)
    assert taker.flush() == []
    quiet, busy = candles(), candles()
    for later in (quiet, busy):
        later.restore(taker.state(), START)
        later.was_published(first)
    assert take(quiet, at(1_500)) == []
    (second,) = take(busy, at(200), at(1_500))
    assert (second.revision, second.trades) == (1, 2)


def test_one_trade_stamped_ahead_takes_no_other_with_it() -> None:
    taker = candles(120 * SECOND, (SECOND, 60 * SECOND))
    made = take(taker, *(at(1_000 * second) for second in range(60)))
    made += take(taker, replace(at(60_200), exchange_time=START + 3_060 * SECOND))
    made += take(taker, *(at(1_000 * second) for second in range(61, 361)))
    assert taker.too_late == 0
    assert taker.doubted == 1
    newest = {(one.interval, one.open_time): one.trades for one in made}
    for interval in (SECOND, 60 * SECOND):
        assert sum(trades for (length, _), trades in newest.items() if length == interval) >= 300
    assert max(open_time for _, open_time in newest) < START + 361 * SECOND


def test_a_replay_has_the_candles_of_the_recorded_market() -> None:
    """The trades of ten seconds, five years ago, received within a few milliseconds."""
    taker, years = candles(), 5 * 365 * 86_400 * SECOND
    trades = [replace(at(ms, number=ms + 1), received_time=START + years + ms * 100) for ms in range(0, 10_000, 500)]
    made = take(taker, *trades) + taker.flush()
    assert [(one.open_time - START) // SECOND for one in made] == list(range(10))
    assert {one.trades for one in made} == {2}
    assert taker.too_late == taker.doubted == 0


YEARS = 5 * 365 * 86_400 * SECOND


@pytest.mark.parametrize(
    "stamps",
    [
        {500: 3_000, 501: 3_600, 502: 7_200},
        {500 + number: 3_000 + 300 * number for number in range(5)},
        {500 + number: 86_400 * (1 + number) for number in range(6)},
        {0: 3_000},
        {0: 365 * 86_400},
        {0: -7_200},
        {500 + number: 3_000 for number in range(300)},
        {500 + number: 3 * 86_400 for number in range(3)},
        {1_000: YEARS // SECOND - 30},
    ],
)
@pytest.mark.parametrize("ago", [0, 900 * SECOND, YEARS])
def test_wrong_stamps_take_no_other_trade_with_them(stamps: dict[int, int], ago: int) -> None:
    taker, made = candles(120 * SECOND, (SECOND, 60 * SECOND, 3_600 * SECOND)), list[Candle]()
    for second in range(1_500):
        one = replace(late(1_000 * (second + stamps.get(second, 0)), 1_000 * second, number=second))
        one = replace(one, received_time=one.received_time + ago)
        made += taker.add(one, one.received_time) + taker.tick(one.received_time)
    made += taker.flush()
    assert taker.too_late == 0
    for interval in taker.series:
        newest = {one.open_time: one for one in made if one.interval == interval}
        assert sum(one.trades for one in newest.values()) == 1_500
        right = {(START + second * SECOND) // interval * interval for second in range(1_500) if second not in stamps}
        assert right <= newest.keys()
        assert sum(one.partial for one in newest.values()) <= 2


def test_a_replay_that_goes_back_is_followed() -> None:
    taker = candles(120 * SECOND, (SECOND, 60 * SECOND))
    first = [replace(at(1_000 * second), received_time=START + YEARS + second) for second in range(1_000)]
    back = [
        replace(one, trade_id=f"1{one.trade_id}", exchange_time=one.exchange_time - 7 * 86_400 * SECOND)
        for one in first
    ]
    made = take(taker, *first, *back) + taker.flush()
    assert taker.too_late == 0
    assert len({one.open_time for one in made if one.interval == SECOND}) == 2_000


def test_where_few_trades_come_the_clock_ends_their_candles() -> None:
    """In a replay of a market with hours between two trades."""
    taker = candles(120 * SECOND, (SECOND, 60 * SECOND))
    made = take(taker, *(replace(at(3_600_000 * hour), received_time=START + YEARS + hour) for hour in range(2)))
    made += taker.tick(START + YEARS + 62 * SECOND)
    assert {(one.interval // SECOND, one.open_time) for one in made} >= {(1, START), (1, START + 3_600 * SECOND)}
    assert not taker.active


def test_a_checkpoint_of_an_earlier_release_is_read_whatever_its_time() -> None:
    taker = candles()
    take(taker, at(100))
    numbers, first, last = taker.state().bars[SECOND][0]
    old = msgspec.msgpack.encode([START + 3_000 * SECOND, {SECOND: [[" ".join(numbers.split()[:15]), first, last]]}])
    later = candles()
    later.restore(msgspec.msgpack.decode(old, type=CandleState), START)
    made = take(later, at(200), *(at(1_000 * second) for second in range(1, 100))) + later.flush()
    assert later.too_late == 0
    assert {one.open_time: one.trades for one in made}[START] == 2
    assert not any(one.partial for one in made)


def test_what_is_forgotten_is_not_begun_anew() -> None:
    taker = candles(lateness=SECOND)
    made = take(taker, *(at(1_000 * second) for second in range(200)))
    made += take(taker, *(late(1_000 * second + 1, 200_000 + second) for second in range(200)))
    made += taker.flush()
    keys = [(one.open_time, one.revision) for one in made]
    assert len(set(keys)) == len(keys)
    assert taker.too_late > 190


def test_the_first_candle_is_partial_and_so_is_one_before_all() -> None:
    taker = candles(intervals=(SECOND, 60 * SECOND))
    made = take(taker, at(5_400), at(4_900), at(6_100), at(7_300)) + taker.flush()
    partial = {(one.interval // SECOND, (one.open_time - START) // SECOND): one.partial for one in made}
    assert partial == {(1, 5): True, (1, 4): True, (1, 6): False, (1, 7): False, (60, -20): True}
    later = candles(intervals=(SECOND, 60 * SECOND))
    later.restore(taker.state(), START)
    assert [one.partial for one in take(later, at(8_100), at(9_300))] == [False]
