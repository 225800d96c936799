"""What must hold of arbitrage, candles, conflation and statistics whatever the market does."""

from __future__ import annotations

from dataclasses import replace
from decimal import Decimal
from itertools import pairwise
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from alphapulse.fixed import decimal_text
from schemas.book_reader import BookReader
from schemas.checkpoints import BookState
from schemas.records import Candle, Depth, L2Update, Trade
from stream_processors.processing.candles import Candles
from stream_processors.processing.depth import DepthConflation, best_levels
from stream_processors.processing.ladders import Costs, execute
from stream_processors.processing.statistics import DeltaWindows
from stream_processors.processing.trade_ids import TradeIds
from tests.fixtures.l2_feed import reference_candles
from tests.fixtures.market import SECOND, START, depth, trade

MS = 1_000_000

# --- arbitrage -------------------------------------------------------------------------------------------------

prices = st.integers(9_900, 10_100)
sizes = st.integers(1, 50)
ladders = st.dictionaries(prices, sizes, max_size=8)
basis_points = st.decimals(0, 200, places=2)


def asks(values: dict[int, int], finer: int) -> Depth:
    """A ladder of asks at exponents that are ``finer`` than those of the values."""
    levels = [(price * 10**finer, size * 10**finer) for price, size in sorted(values.items())]
    return depth(bids=(), asks=levels, price_exponent=-2 - finer, size_exponent=-3 - finer)


def bids(values: dict[int, int], finer: int) -> Depth:
    levels = [(price * 10**finer, size * 10**finer) for price, size in sorted(values.items(), reverse=True)]
    return depth(bids=levels, asks=(), price_exponent=-2 - finer, size_exponent=-3 - finer)


def best_by_search(buy: dict[int, int], sell: dict[int, int], buy_fee: Decimal, sell_fee: Decimal) -> Decimal:
    """Return the largest net profit of any size, by trying every number of units."""
    paid = [Decimal(price) / 100 for price, size in sorted(buy.items()) for _ in range(size)]
    received = [Decimal(price) / 100 for price, size in sorted(sell.items(), reverse=True) for _ in range(size)]
    best = total = Decimal(0)
    for ask, bid in zip(paid, received, strict=False):
        total += (bid * (1 - sell_fee / 10_000) - ask * (1 + buy_fee / 10_000)) / 1000
        best = max(best, total)
    return best


@given(ladders, ladders, st.integers(0, 3), st.integers(0, 3), basis_points, basis_points)
def test_the_execution_is_the_most_profitable_one_and_both_ladders_offer_it(
    buy: dict[int, int], sell: dict[int, int], buy_finer: int, sell_finer: int, buy_fee: Decimal, sell_fee: Decimal
) -> None:
    costs = Costs.of(buy_fee, sell_fee, Decimal(0))
    made = execute(asks(buy, buy_finer), bids(sell, sell_finer), costs)
    best = best_by_search(buy, sell, buy_fee, sell_fee)
    if made is None:
        assert best == 0
        return
    assert Decimal(made.net).scaleb(made.net_exponent) == best > 0
    size = Decimal(made.size).scaleb(made.size_exponent + 3)
    assert size <= sum(buy.values())
    assert size <= sum(sell.values())
    assert made.proceeds > made.cost
    # What is taken stands within the limits told.
    price = made.price_exponent
    assert size <= sum(n for level, n in buy.items() if level * 10 ** (-2 - price) <= made.buy_limit_price)
    assert size <= sum(n for level, n in sell.items() if level * 10 ** (-2 - price) >= made.sell_limit_price)
    assert made.cost <= made.buy_price * made.size < made.cost + made.size
    assert made.sell_price * made.size <= made.proceeds < (made.sell_price + 1) * made.size


@given(ladders, ladders, basis_points, basis_points)
def test_fees_above_the_spread_leave_nothing(
    buy: dict[int, int], sell: dict[int, int], buy_fee: Decimal, sell_fee: Decimal
) -> None:
    made = execute(asks(buy, 0), bids(sell, 0), Costs.of(buy_fee, sell_fee, Decimal(0)))
    if buy and sell:
        spread = Decimal(max(sell)) / Decimal(min(buy))
        if spread * (1 - sell_fee / 10_000) <= 1 + buy_fee / 10_000:
            assert made is None


@given(ladders, ladders, basis_points, basis_points)
def test_only_one_direction_of_two_true_books_can_pay(
    one: dict[int, int], other: dict[int, int], fee: Decimal, other_fee: Decimal
) -> None:
    first = replace(asks(one, 0), bid_prices=[min(one) - 1] if one else [], bid_sizes=[5] if one else [])
    second = replace(asks(other, 0), bid_prices=[min(other) - 1] if other else [], bid_sizes=[5] if other else [])
    there = execute(first, second, Costs.of(fee, other_fee, Decimal(0)))
    back = execute(second, first, Costs.of(other_fee, fee, Decimal(0)))
    assert there is None or back is None


@given(ladders, ladders, basis_points, basis_points)
def test_scaling_the_exponents_changes_nothing(
    buy: dict[int, int], sell: dict[int, int], buy_fee: Decimal, sell_fee: Decimal
) -> None:
    costs = Costs.of(buy_fee, sell_fee, Decimal(0))
    plain, fine = execute(asks(buy, 0), bids(sell, 0), costs), execute(asks(buy, 2), bids(sell, 3), costs)
    assert (plain is None) == (fine is None)
    if plain is not None and fine is not None:
        assert decimal_text(plain.net, plain.net_exponent) == decimal_text(fine.net, fine.net_exponent)
        assert decimal_text(plain.size, plain.size_exponent) == decimal_text(fine.size, fine.size_exponent)


# --- candles ---------------------------------------------------------------------------------------------------


@st.composite
def shuffled_trades(draw: st.DrawFn) -> list[Trade]:
    """Trades of half a minute in any order, some of them twice."""
    moments = draw(st.lists(st.integers(0, 30_000), min_size=1, max_size=40))
    made = [
        trade(
            str(number),
            price=draw(st.integers(1, 10**6)),
            size=draw(st.integers(0, 10**6)),
            exchange_time=START + ms * MS,
            received_time=START + ms * MS + draw(st.integers(0, 400)) * MS,
        )
        for number, ms in enumerate(moments)
    ]
    repeats = draw(st.lists(st.sampled_from(made), max_size=10))
    return draw(st.permutations([*made, *repeats]))


@given(shuffled_trades(), st.lists(st.integers(0, 60_000), max_size=5), st.integers(0, 60))
def test_candles_are_the_same_in_any_order_with_duplicates_timers_and_a_restart(
    trades: list[Trade], ticks: list[int], restart: int
) -> None:
    intervals = (SECOND, 10 * SECOND)
    taker, ids = Candles("kraken", "BTC-USD", intervals, 3_600 * SECOND), TradeIds()
    published: list[Candle] = []
    for number, one in enumerate(trades):
        if number == restart:
            state = taker.state()
            taker = Candles("kraken", "BTC-USD", intervals, 3_600 * SECOND)
            taker.restore(state, START)
        if ids.add(one.trade_id):
            published += taker.add(one, one.received_time)
        if number < len(ticks):
            published += taker.tick(START + ticks[number] * MS)
    published += taker.tick(START + 3_600 * SECOND)
    newest: dict[tuple[int, int], Candle] = {}
    for candle in published:
        key = candle.interval, candle.open_time
        assert candle.revision == (newest[key].revision + 1 if key in newest else 0)
        newest[key] = candle
    for interval in intervals:
        expected = reference_candles(trades, interval)
        assert {open_time for length, open_time in newest if length == interval} == expected.keys()
        for open_time, one_expected in expected.items():
            candle = newest[interval, open_time]
            assert (candle.open, candle.high, candle.low, candle.close) == (
                one_expected.open,
                one_expected.high,
                one_expected.low,
                one_expected.close,
            )
            assert (candle.volume, candle.trades) == (one_expected.volume, one_expected.trades)
            assert candle.quote_volume == decimal_text(one_expected.quote, -5)


@given(shuffled_trades(), st.integers(0, 40), st.integers(0, 40), st.lists(st.integers(0, 60_000), max_size=40))
def test_after_a_crash_the_highest_revision_is_right(
    trades: list[Trade], checkpoint: int, crash: int, ticks: list[int]
) -> None:
    """What was published between checkpoint and crash is read back; the trades since are read again."""
    distinct = list({one.trade_id: one for one in trades}.values())
    checkpoint = min(checkpoint, len(distinct))
    crash = min(max(crash, checkpoint), len(distinct))
    first = Candles("kraken", "BTC-USD", (SECOND,), 3_600 * SECOND)
    published: list[Candle] = []

    def take(taker: Candles, some: list[Trade], with_ticks: bool) -> None:
        for number, one in enumerate(some):
            published.extend(taker.add(one, one.received_time))
            if with_ticks and number < len(ticks):
                published.extend(taker.tick(START + ticks[number] * MS))

    take(first, distinct[:checkpoint], with_ticks=True)
    state, known = first.state(), len(published)
    take(first, distinct[checkpoint:crash], with_ticks=True)
    later = Candles("kraken", "BTC-USD", (SECOND,), 3_600 * SECOND)
    later.restore(state, START)
    for candle in published[known:]:
        later.was_published(candle)
    take(later, distinct[checkpoint:], with_ticks=False)
    published += later.tick(START + 7_200 * SECOND)
    newest: dict[int, Candle] = {}
    for candle in published:
        if candle.open_time not in newest or candle.revision >= newest[candle.open_time].revision:
            newest[candle.open_time] = candle
    for open_time, expected in reference_candles(distinct).items():
        candle = newest[open_time]
        assert (candle.open, candle.close, candle.volume, candle.trades) == (
            expected.open,
            expected.close,
            expected.volume,
            expected.trades,
        )


@st.composite
def a_market_with_one_wrong_stamp(draw: st.DrawFn) -> tuple[list[Trade], int]:
    """Trades in order, live or of a replay years ago at any speed; one of them has a time that is wrong by anything."""
    gaps = draw(st.lists(st.integers(0, 40_000), min_size=4, max_size=60))
    ago, speed = draw(st.sampled_from([(0, 1), (10**17, 1), (10**17, 40), (10**17, 10**6)]))
    made, ms = [], 0
    for number, gap in enumerate(gaps):
        ms += gap
        received = START + ago + ms * MS // speed + draw(st.integers(0, 300)) * MS
        made.append(trade(str(number), price=number + 1, size=1, exchange_time=START + ms * MS, received_time=received))
    bad = draw(st.integers(0, len(made) - 1))
    off = draw(st.one_of(st.integers(-(10**10), 10**10).map(lambda ms: ms * MS), st.just(-START), st.just(2**62)))
    made[bad] = replace(made[bad], exchange_time=made[bad].exchange_time + off)
    return made, bad


@given(a_market_with_one_wrong_stamp())
def test_one_wrong_stamp_takes_no_other_trade_out_of_its_candle(market: tuple[list[Trade], int]) -> None:
    trades, bad = market
    taker = Candles("kraken", "BTC-USD", (60 * SECOND,), 120 * SECOND)
    published: list[Candle] = []
    for one in trades:
        published += taker.add(one, one.received_time)
    published += taker.flush()
    assert taker.too_late <= 1
    newest = {candle.open_time: candle for candle in published}
    others = reference_candles([one for number, one in enumerate(trades) if number != bad], 60 * SECOND)
    for open_time, expected in others.items():
        assert newest[open_time].trades - expected.trades in (0, 1)
    counted = sum(candle.trades for candle in newest.values())
    assert counted == len(trades) - taker.too_late


# --- depth and statistics --------------------------------------------------------------------------------------

LEVELS = 3


@st.composite
def feed(draw: st.DrawFn) -> list[L2Update]:
    """A book's records: snapshots, deltas, doubt, heartbeats, now and then a record lost or repeated."""
    made: list[L2Update] = []
    time, epoch, sequence = START, START, 0
    for kind, step, fault in draw(
        st.lists(
            st.tuples(
                st.sampled_from(["DELTA"] * 8 + ["SNAPSHOT", "INVALID", "HEARTBEAT", "HEARTBEAT"]),
                st.integers(0, 30),
                st.sampled_from(["none"] * 10 + ["lose", "repeat"]),
            ),
            max_size=40,
        )
    ):
        time += step * MS
        if kind == "SNAPSHOT" or not made:
            kind, epoch, sequence = "SNAPSHOT", time + 1, 0
            time += 1
        elif kind != "HEARTBEAT":
            sequence += 1
        sides: dict[str, Any] = {"bid_prices": [], "bid_sizes": [], "ask_prices": [], "ask_sizes": []}
        if kind in ("SNAPSHOT", "DELTA"):
            for side, low in (("bid", 90), ("ask", 101)):
                levels = draw(st.dictionaries(st.integers(low, low + 9), st.integers(0, 3), max_size=4))
                sides[f"{side}_prices"], sides[f"{side}_sizes"] = list(levels), list(levels.values())
        record = L2Update(
            venue="kraken",
            symbol="BTC-USD",
            kind=kind,  # type: ignore[arg-type]
            epoch=epoch,
            sequence=sequence,
            exchange_time=0,
            received_time=time,
            price_exponent=-2,
            size_exponent=-3,
            **sides,
        )
        made += {"none": [record], "lose": [] if kind == "DELTA" else [record], "repeat": [record, record]}[fault]
    return made


@given(feed(), st.integers(0, 20), st.lists(st.booleans(), max_size=80))
def test_conflation_never_loses_the_last_state_and_keeps_its_distance(
    records: list[L2Update], interval_ms: int, timers: list[bool]
) -> None:
    reader = BookReader()
    conflation = DepthConflation("kraken", "BTC-USD", reader, levels=LEVELS, interval_ns=interval_ms * MS)
    published: list[tuple[int, Depth]] = []
    shown: list[tuple[Any, ...]] = []
    for number, record in enumerate(records):
        if number < len(timers) and timers[number]:
            # The timer goes off just before the record comes.
            made = conflation.tick(record.received_time - 1)
            published += [(record.received_time - 1, made)] if made is not None else []
        made = conflation.before(record, record.received_time)
        published += [(record.received_time, made)] if made is not None else []
        made = conflation.after(record, reader.apply(record))
        published += [(record.received_time, made)] if made is not None else []
        shown.append((reader.valid, *best_levels(reader, LEVELS)))
    last = conflation.tick(START + 10**15)
    published += [(START + 10**15, last)] if last is not None else []
    if not records:
        return
    final = published[-1][1]
    state = final.valid, final.bid_prices, final.bid_sizes, final.ask_prices, final.ask_sizes
    assert state == shown[-1]
    assert all(
        (one.valid, one.bid_prices, one.bid_sizes, one.ask_prices, one.ask_sizes) in shown for _, one in published
    )
    # Within one validity no more than one per interval, and one for each end of an interval that passed.
    for (_, one), (_, other) in zip(published, published[2:], strict=False):
        between = [a for _, a in published if one.received_time <= a.received_time <= other.received_time]
        if all(a.valid for a in between):
            assert other.received_time - one.received_time >= interval_ms * MS - 1


@given(feed(), st.lists(st.integers(0, 2_000), max_size=20), st.lists(st.integers(0, 900), max_size=40), st.booleans())
def test_no_delta_and_no_trade_is_missing_from_the_windows(
    records: list[L2Update], trades: list[int], delays: list[int], restart: bool
) -> None:
    reader = BookReader()
    windows = DeltaWindows("kraken", "BTC-USD", reader, 100 * MS)
    made = []
    deltas = snapshots = 0
    moments = sorted(trades)
    delay = 0
    for number, record in enumerate(records):
        if restart and number == len(records) // 2:
            # A process that ends in good order publishes what is open; the next one goes on.
            made += windows.flush()
            state = windows.state()
            windows = DeltaWindows("kraken", "BTC-USD", reader, 100 * MS)
            windows.restore(state, record.received_time + delay)
        while moments and START + moments[0] * MS <= record.received_time:
            windows.trade(START + moments.pop(0) * MS)
        # Records are held up on their way, so that windows end by the clock before they come.
        delay = max(delay, delays[number] * MS if number < len(delays) else 0)
        if record.kind == "HEARTBEAT" and not reader.would_lose(record):
            reader.apply(record)
            continue
        windows.before(record.received_time, record.received_time + delay)
        outcome = reader.apply(record)
        windows.after(record, outcome)
        deltas += outcome.name == "DELTA"
        snapshots += outcome.name == "SNAPSHOT"
        made += windows.tick(record.received_time + delay)
    for moment in moments:
        windows.trade(START + moment * MS)
    if not records:
        return
    for second in range(1, 20):
        made += windows.tick(records[-1].received_time + delay + second * SECOND)
    assert sum(one.deltas for one in made) == deltas
    assert sum(one.snapshots for one in made) == snapshots
    assert sum(one.trades for one in made) == len(trades)
    starts = [one.window_start for one in made]
    assert starts == sorted(set(starts))


@given(feed())
def test_a_book_survives_its_checkpoint(records: list[L2Update]) -> None:
    reader, again = BookReader(), BookReader()
    for record in records:
        reader.apply(record)
    BookState.of(reader).restore(again)
    assert again.book.text(-2, -3) == reader.book.text(-2, -3)
    for name in ("valid", "epoch", "sequence", "price_exponent", "size_exponent", "received_time", "exchange_time"):
        assert getattr(again, name) == getattr(reader, name)


@given(st.lists(st.integers(0, 60)), st.integers(0, 60))
def test_trade_ids_are_a_set(numbers: list[int], restart: int) -> None:
    ids, seen = TradeIds(), set()
    for position, number in enumerate(numbers):
        if position == restart:
            ids = TradeIds(ids.ranges, ids.texts)
        assert ids.add(str(number)) == (number not in seen)
        seen.add(number)
    ranges = ids.ranges
    assert {n for first, last in ranges for n in range(first, last + 1)} == seen
    assert all(last + 1 < first for (_, last), (first, _) in pairwise(ranges))
