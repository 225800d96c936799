"""The simulated market under any seed, and every dialect's frames against the true book."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Mapping
from decimal import Decimal
from itertools import pairwise
from math import log
from statistics import fmean, median

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from alphapulse.book import BookSide, OrderBook
from alphapulse.cli.demo import TAKER_FEES
from producers.simulator.events import BookChange, Event, Trades
from producers.simulator.feed import SimulatedFeed
from producers.simulator.instrument import LEVELS, SimulatedInstrument
from producers.simulator.liquidity import distances
from producers.simulator.listings import SimulatedListing, make_listings
from producers.simulator.market import Market
from producers.venue_server.session import BOOK, INSTRUMENTS, TRADES, VenueSubscription
from producers.venues.binance.simulator import BinanceFeed
from producers.venues.coinbase.simulator import CoinbaseFeed
from producers.venues.kraken.simulator import KrakenFeed
from tests.fixtures.examples import examples
from tests.fixtures.protocol_run import run
from tests.fixtures.venue_clients import BinanceClient, CoinbaseClient, KrakenClient, Side, VenueClient
from tests.market.crosses import Crosses, lives_seconds
from tests.market.sources import START_NS, SimulatedRun
from tests.market.statistics import Figures, InstrumentStatistics

S = 1_000_000_000
START = 1_700_000_000 * S

seeds = st.integers(0, 2**32)
SYMBOLS = ["BTC-USD", "SOL-USD", "DOGE-USD", "FOO-USD", "SHIB-USD", "XMR-CHF", "SHIB-BTC", "BTC-SHIB", "USDT-USD"]
symbols = st.sampled_from(SYMBOLS)
rates = st.sampled_from([0.5, 5.0, 50.0])


def market(seed: int, *venues: str, symbol: str = "BTC-USD", rate: float = 50.0) -> Market:
    return Market(make_listings(venues, [symbol]), seed=seed, rate=rate, start_ns=START)


def decimals(listing: SimulatedListing, side: BookSide) -> Side:
    return {
        Decimal(price).scaleb(-listing.price_decimals): Decimal(size).scaleb(-listing.size_decimals)
        for price, size in side
    }


def copy(book: OrderBook) -> OrderBook:
    copied = OrderBook()
    for ours, theirs in ((copied.bids, book.bids), (copied.asks, book.asks)):
        ours.replace(*zip(*theirs, strict=True))
    return copied


def away(side: BookSide, place: int) -> int:
    """Return how far, in ticks, the level at ``place`` is from the best."""
    return abs(side.price_at(place) - side.price_at(0))


@given(seeds, symbols, rates)
@settings(max_examples=examples(30), deadline=None)
def test_books_are_deep_positive_and_never_crossed(seed: int, symbol: str, rate: float) -> None:
    simulated = market(seed, "kraken", "binance_us", symbol=symbol, rate=rate)
    last_time = START
    for event in simulated.advance(START + int(250 / rate * S)):
        assert last_time <= event.time_ns
        last_time = event.time_ns
        book = simulated.instruments[event.listing.venue, symbol].book
        assert not book.crossed
        assert min(len(book.bids), len(book.asks)) > LEVELS - 100  # after a jump, at five events a second
        assert max(len(book.bids), len(book.asks)) < LEVELS + 30
        assert all(0 < price < 2**62 and 0 < size < 2**62 for side in (book.bids, book.asks) for price, size in side)
        if isinstance(event, BookChange):
            for side, levels in ((book.bids, event.bids), (book.asks, event.asks)):
                assert all(side.size_at(price) == size for price, size in levels)
                assert len({price for price, _ in levels}) == len(levels)


@given(seeds, symbols, rates)
@settings(max_examples=examples(30), deadline=None)
def test_trades_meet_the_book_as_it_was_shown_from_its_best_price_on(seed: int, symbol: str, rate: float) -> None:
    simulated = market(seed, "kraken", symbol=symbol, rate=rate)
    instrument = simulated.instruments["kraken", symbol]
    shown = copy(instrument.book)  # what somebody has who is told of every change
    number = START // 100_000
    sides = set()
    for event in simulated.advance(START + int(1000 / rate * S)):
        if isinstance(event, BookChange):
            for shown_side, levels in ((shown.bids, event.bids), (shown.asks, event.asks)):
                for price, size in levels:
                    shown_side.set(price, size)
            continue
        (side,) = {trade.side for trade in event.trades}
        sides.add(side)
        left = (shown.asks if side == "buy" else shown.bids).top(20)
        for trade in event.trades:
            number += 1
            assert trade.trade_id == number
            price, size = left[0]
            assert trade.price == price
            assert 0 < trade.size <= size
            left[0] = price, size - trade.size
            if trade.size == size:
                del left[0]
    assert dict(shown.bids) == dict(instrument.book.bids)
    assert dict(shown.asks) == dict(instrument.book.asks)
    assert sides == {"buy", "sell"}


@pytest.mark.parametrize("symbol", ["BTC-USD", "SHIB-USD", "XMR-USD"])
@pytest.mark.parametrize("rate", [0.5, 5.0])
def test_books_are_the_same_after_hours(symbol: str, rate: float) -> None:
    """Level count, distances of levels and depth near the best price are stationary, whatever the price does."""
    hours = 6
    simulated = market(3, "kraken", symbol=symbol, rate=rate)
    instrument = simulated.instruments["kraken", symbol]
    listing = instrument.listing
    usual = distances(listing.liquidity, listing.start_price * 10**listing.price_decimals, LEVELS + 1)
    counts: list[int] = []
    spans: list[list[float]] = [[] for _ in range(hours)]
    depths: list[list[float]] = [[] for _ in range(hours)]
    for step in range(hours * 120):
        for _ in simulated.advance(START + step * 30 * S):
            pass
        for side in (instrument.book.bids, instrument.book.asks):
            counts.append(len(side))
            places = [place for place in (10, 50, 120, 220) if place < len(side)]
            spans[step // 120].append(fmean(away(side, place) / usual[place] for place in places))
            depths[step // 120].append(median(size for _, size in side.top(40)))
    counts.sort()
    assert counts[0] > LEVELS / 2  # a jump has just gone through a third of them
    assert counts[len(counts) // 100] > LEVELS - 30
    assert counts[-1] < LEVELS + 12
    assert abs(fmean(counts) - LEVELS) < 10
    for span in spans:
        assert 0.6 < fmean(span) < 1.4
    assert max(map(fmean, depths)) < 1.6 * min(map(fmean, depths))


@pytest.mark.parametrize("symbol", ["BTC-USD", "SOL-USD", "SHIB-USD", "XMR-USD"])
@pytest.mark.parametrize("venue", ["binance", "kraken", "binance_us"])
def test_no_hole_behind_the_best_price_stays(venue: str, symbol: str) -> None:
    """Of the twenty best levels none is for long much further from the next than levels there usually are."""
    simulated = market(5, venue, symbol=symbol, rate=30.0)
    instrument = simulated.instruments[venue, symbol]
    listing = instrument.listing
    usual = distances(listing.liquidity, listing.start_price * 10**listing.price_decimals, LEVELS + 1)
    widest = 8 * (usual[20] - usual[19]) + 1
    lasting = [0, 0]
    wide = 0
    for second in range(600):
        for _ in simulated.advance(START + second * S):
            pass
        for number, side in enumerate((instrument.book.bids, instrument.book.asks)):
            prices = side.prices(20)
            hole = max(abs(a - b) for a, b in pairwise(prices))
            lasting[number] = lasting[number] + 1 if hole > widest or prices[-1] == prices[0] else 0
            wide += bool(lasting[number])
            assert lasting[number] <= 10  # after a jump, where the venue is thin; mostly none lasts for two
    assert wide < 0.05 * 2 * 600


@given(seeds, st.lists(st.integers(1, 3 * S), max_size=20))
@settings(max_examples=examples(10), deadline=None)
def test_the_seed_decides_however_time_is_cut(seed: int, cuts: list[int]) -> None:
    def events(times: list[int]) -> list[Event]:
        simulated = market(seed, "kraken", "coinbase")
        return [event for time in [*sorted(times), 3 * S] for event in simulated.advance(START + time)]

    assert events([]) == events(cuts)


def test_two_seeds_are_two_markets() -> None:
    assert list(market(1, "kraken").advance(START + S)) != list(market(2, "kraken").advance(START + S))


def follow(
    seed: int,
    venue: str,
    feed_of: Callable[[list[SimulatedInstrument]], SimulatedFeed],
    client: VenueClient,
    *subscriptions: VenueSubscription,
) -> tuple[SimulatedInstrument, list[bytes]]:
    """Run a market for some seconds, feed the client its frames, and check trades on the way."""
    simulated = market(seed, venue)
    instrument = simulated.instruments[venue, "BTC-USD"]
    feed = feed_of([instrument])
    frames: list[bytes] = []
    for event in simulated.advance(START + 2 * S):  # nobody listens yet
        assert feed.frames(event, ()) == []
    active = {feed.topic(subscription) for subscription in subscriptions}
    for subscription in subscriptions:
        frames += feed.opening(subscription, START)
    if isinstance(client, BinanceClient):
        diffs = [frame for event in simulated.advance(START + 3 * S) for _, frame in feed.frames(event, active)]
        for frame in diffs:
            client.take(frame)
        reply = feed.rest("/api/v3/depth", {"symbol": "BTCUSD", "limit": "5000"}, START)
        assert reply is not None
        client.snapshot(reply.body)
    for frame in frames:
        client.take(frame)
    expected = []
    for event in simulated.advance(START + 5 * S):
        for _, frame in feed.frames(event, active):
            frames.append(frame)
            client.take(frame)
        if isinstance(event, Trades):
            expected += [(trade.trade_id, trade.side, trade.price, trade.size) for trade in event.trades]
        elif event.time_ns % 7 == 0:
            check(instrument, client)
    check(instrument, client)
    listing = instrument.listing
    got = [
        (number, side, int(price.scaleb(listing.price_decimals)), int(size.scaleb(listing.size_decimals)))
        for number, side, price, size in client.trades
    ]
    assert got[-len(expected) :] == expected
    return instrument, frames


def check(instrument: SimulatedInstrument, client: VenueClient) -> None:
    depth = client.depth if isinstance(client, KrakenClient) else 10**6
    for side, held, reverse in ((instrument.book.bids, client.bids, True), (instrument.book.asks, client.asks, False)):
        true = decimals(instrument.listing, side)
        assert held == {price: true[price] for price in sorted(true, reverse=reverse)[:depth]}


@given(seeds, st.sampled_from([10, 25, 100, 500, 1000]))
@settings(max_examples=examples(10), deadline=None)
def test_krakens_frames_rebuild_the_book_in_every_depth(seed: int, depth: int) -> None:
    client = KrakenClient("BTC/USD", depth)
    _, frames = follow(
        seed,
        "kraken",
        KrakenFeed,
        client,
        VenueSubscription(INSTRUMENTS, "", "instrument"),
        VenueSubscription(BOOK, "BTC/USD", "book", depth),
        VenueSubscription(TRADES, "BTC/USD", "trade"),
    )
    assert client.checked > 30
    protocol = run("kraken", ["BTC-USD"])
    if depth == 1000:  # what the collector subscribes to
        for number, frame in enumerate(frames):
            protocol.frame(START + number, frame)
        figures = protocol.figures("BTC-USD")
        assert figures["checksums_bad"] == 0
        assert figures["checksums_ok"] == client.checked
        assert protocol.refused == []
        assert protocol.valid("BTC-USD")


@given(seeds)
@settings(max_examples=examples(8), deadline=None)
def test_coinbases_frames_rebuild_the_book(seed: int) -> None:
    client = CoinbaseClient("BTC-USD")
    instrument, frames = follow(
        seed,
        "coinbase",
        CoinbaseFeed,
        client,
        VenueSubscription(BOOK, "BTC-USD", "level2_batch"),
        VenueSubscription(TRADES, "BTC-USD", "matches"),
    )
    protocol = run("coinbase", ["BTC-USD"])
    for number, frame in enumerate(frames):
        protocol.frame(START + number, frame)
    assert protocol.refused == []
    assert protocol.figures("BTC-USD")["gaps"] == 0
    listing = instrument.listing
    assert protocol.figures("BTC-USD")["book"]["sha256"] == instrument.book.sha256(
        -listing.price_decimals, -listing.size_decimals
    )


@given(seeds, st.sampled_from(["trade", "aggTrade"]), st.sampled_from(["depth@100ms", "depth"]))
@settings(max_examples=examples(8), deadline=None)
def test_binances_frames_rebuild_the_book(seed: int, trades: str, depth: str) -> None:
    client = BinanceClient("BTCUSD")
    follow(
        seed,
        "binance_us",
        BinanceFeed,
        client,
        VenueSubscription(BOOK, "BTCUSD", f"btcusd@{depth}"),
        VenueSubscription(TRADES, "BTCUSD", f"btcusd@{trades}"),
    )


def statistics(venue: str, symbol: str, seed: int, seconds: float = 600.0) -> Figures:
    found = InstrumentStatistics(venue, symbol)
    for record in SimulatedRun({venue: [symbol]}, seed=seed, rate=30.0).records(seconds):
        found.take(record)
    found.finish(int(START_NS + seconds * S))
    return found.figures()


class Bounds:
    """Checks each figure of several seeds, and their mean, against bounds."""

    def __init__(self, venue: str, symbol: str, seeds: int) -> None:
        self.all = [statistics(venue, symbol, seed) for seed in range(seeds)]

    def values(self, key: str) -> list[float]:
        found = [figures[key] for figures in self.all]
        assert None not in found, key
        return [value for value in found if value is not None]

    def each(self, key: str, least: float, most: float) -> None:
        assert all(least <= value <= most for value in self.values(key)), (key, self.values(key))

    def mean(self, key: str, least: float, most: float) -> None:
        assert least <= fmean(self.values(key)) <= most, (key, self.values(key))


@pytest.mark.slow
@pytest.mark.parametrize("symbol", ["BTC-USDT", "ETH-USDT"])
def test_a_liquid_markets_statistics_are_those_of_one(symbol: str) -> None:
    """A price that jumps by a per cent every ten seconds has none of them (docs/simulated-market.md)."""
    bounds = Bounds("binance", symbol, 5)  # one market's clustering is anything from 0.01 to 0.3
    bounds.each("return_1s", 0.2, 2.5)  # basis points, as all returns
    bounds.mean("return_1s", 0.5, 1.5)
    bounds.each("return_1s_max", 2, 30)
    bounds.each("kurtosis_1s", 5, 400)
    bounds.mean("clustering_1s", 0.05, 0.5)
    bounds.each("still_100ms", 0.8, 0.99)
    bounds.each("still_1s", 0.4, 0.95)
    bounds.each("return_1min", 1, 15)
    bounds.each("return_1min_max", 3, 80)
    bounds.each("spread_ticks", 1, 1)
    bounds.each("spread_p95", 0, 0.5)
    bounds.each("crossed", 0, 0)
    bounds.each("levels_range", 0, 0.25)
    bounds.each("hole", 0, 1.5)
    bounds.each("hole_p99", 0, 4)
    bounds.each("distance_10", 0.2, 3)
    bounds.each("distance_50", 1.5, 25)
    bounds.each("size_1_1", 3, 20)
    bounds.each("size_tail", 20, 1000)
    bounds.each("at_touch", 1, 1)
    bounds.each("buys", 0.4, 0.6)
    bounds.each("buy_size", 0.7, 1.4)
    bounds.each("same_side", 0.6, 0.8)
    bounds.each("trade_size_tail", 20, 2000)
    bounds.each("dispersion", 3, 50)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("venue", "symbol"), [("kraken", "XMR-USD"), ("coinbase", "BAND-GBP"), ("binance_us", "COMP-USDT")]
)
def test_a_thin_markets_statistics_are_those_of_one(venue: str, symbol: str) -> None:
    bounds = Bounds(venue, symbol, 1)
    bounds.each("return_1s", 0.5, 6)
    bounds.each("return_1s_max", 5, 80)
    bounds.each("return_1min", 3, 40)
    bounds.each("still_100ms", 0.5, 0.98)
    bounds.each("spread", 8, 35)
    bounds.each("spread_p95", 10, 60)
    bounds.each("crossed", 0, 0)
    bounds.each("levels_range", 0, 0.25)
    bounds.each("hole_p99", 5, 120)
    bounds.each("distance_10", 10, 90)
    bounds.each("distance_50", 100, 1000)
    bounds.each("at_touch", 1, 1)
    bounds.each("buys", 0.4, 0.6)


DEMO_VENUES, DEMO_SYMBOLS = ("kraken", "coinbase", "binance_us"), ("BTC-USD", "ETH-USD", "SOL-USD")


@pytest.mark.slow
def test_arbitrage_after_the_demos_fees_comes_soon_seldom_and_for_seconds() -> None:
    fees = {venue: float(TAKER_FEES[venue]) for venue in DEMO_VENUES}
    lives, shares, raw_shares, counts = [], [], [], []
    for seed in (7, *range(3)):  # 7 is the demo's own
        simulated = Market(make_listings(DEMO_VENUES, DEMO_SYMBOLS), seed=seed, rate=30.0, start_ns=0)
        net, raw = watch(simulated, fees, 360)
        firsts = [one.first_ns for one in net if one.first_ns is not None]
        assert min(firsts) < 60 * S
        lives += [life for life in lives_seconds(net) if life > 0.2]  # not those of a level that comes again at once
        counts.append(sum(life > 0.2 for life in lives_seconds(net)))
        shares += [one.share() for one in net]
        raw_shares += [one.share() for one in raw]
    # A symbol's opportunities in six minutes, between any two venues; a jump makes two, one with either other venue.
    assert 1 < fmean(counts) / len(DEMO_SYMBOLS) < 6
    assert max(shares) < 0.03
    assert fmean(shares) < 0.015
    assert max(raw_shares) < 0.15
    assert fmean(raw_shares) < 0.05
    assert 0.5 < median(lives) < 3
    assert max(lives) < 4


def watch(simulated: Market, fees: Mapping[str, float], seconds: int) -> tuple[list[Crosses], list[Crosses]]:
    """Return the crosses of each symbol, after fees and before."""
    net: dict[str, Crosses] = defaultdict(lambda: Crosses(fees))
    raw: dict[str, Crosses] = defaultdict(Crosses)
    for event in simulated.advance(seconds * S):
        listing = event.listing
        book, unit = simulated.instruments[listing.venue, listing.symbol].book, 10**listing.price_decimals
        bid, ask = book.bids.price_at(0) / unit, book.asks.price_at(0) / unit
        for crosses in (net, raw):
            crosses[listing.symbol].quote(listing.venue, event.time_ns, bid, ask)
    return list(net.values()), list(raw.values())


def test_venues_agree_within_basis_points_and_the_smaller_follow_the_leading_one() -> None:
    venues = ("binance", "kraken")
    step, steps = S // 20, 20 * 600
    together: Counter[int] = Counter()  # covariance by lag of the second, in steps
    apart: list[float] = []
    for seed in range(2):
        simulated = market(seed, *venues, rate=40.0)
        paths: list[list[float]] = [[], []]
        for number in range(steps):
            for _ in simulated.advance(START + number * step):
                pass
            for venue, path in zip(venues, paths, strict=True):
                instrument = simulated.instruments[venue, "BTC-USD"]
                middle = (instrument.book.bids.price_at(0) + instrument.book.asks.price_at(0)) / 2
                path.append(log(middle) - instrument.listing.price_decimals * log(10))
        leader, follower = ([round((b - a) * 1e8) for a, b in pairwise(path)] for path in paths)
        for lag in range(-10, 11):
            pairs = zip(leader[10:-10], follower[10 + lag :], strict=False)
            together[lag] += sum(a * b for a, b in pairs)
        apart += [abs(a - b) * 1e4 for a, b in zip(*paths, strict=True)]
    ((lag, _),) = together.most_common(1)
    assert 1 <= lag <= 6  # 50 to 300 ms
    apart.sort()
    assert apart[len(apart) // 2] < 0.5
    assert apart[int(0.99 * len(apart))] < 20  # one of them has missed a jump


def test_two_hundred_symbols_make_a_market() -> None:
    many = [f"COIN{number}-USD" for number in range(200)]
    simulated = Market(make_listings(["kraken", "coinbase"], many), seed=1, rate=1.0, start_ns=START)
    heard = {(event.listing.venue, event.listing.symbol) for event in simulated.advance(START + 12 * S)}
    assert heard == set(simulated.instruments)
    prices = sorted(listing.start_price for listing in make_listings(["kraken"], many))
    assert prices[0] < 0.01
    assert prices[-1] > 100


@pytest.mark.parametrize("symbol", ["SHIB-USD", "SHIB-BTC", "BTC-SHIB", "1000SATS-USDT"])
@pytest.mark.parametrize(
    "venue", ["binance", "binance_us", "bitstamp", "coinbase", "coinbase_advanced", "kraken", "okx"]
)
def test_collectors_hold_books_of_any_magnitude(venue: str, symbol: str) -> None:
    run = SimulatedRun({venue: [symbol]}, seed=2, rate=30.0)
    for _ in run.records(20.0):
        pass
    protocol_run, instrument = run.venues[venue].run, run.market.instruments[venue, symbol]
    listing, reader = instrument.listing, protocol_run.readers[symbol]
    assert protocol_run.refused == []
    assert protocol_run.valid(symbol)
    true = instrument.book.sha256(-listing.price_decimals, -listing.size_decimals)
    assert reader.book.sha256(reader.price_exponent, reader.size_exponent) == true
