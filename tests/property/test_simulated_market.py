"""The simulated market under any seed, and every dialect's frames against the true book."""

from __future__ import annotations

from collections.abc import Callable
from decimal import Decimal

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from alphapulse.book import BookSide
from producers.endpoint.session import BOOK, INSTRUMENTS, TRADES, Subscription
from producers.simulator.binance import BinanceFeed
from producers.simulator.coinbase import CoinbaseFeed
from producers.simulator.events import BookChange, Event, Trades
from producers.simulator.feed import Feed
from producers.simulator.instrument import SimulatedInstrument
from producers.simulator.kraken import KrakenFeed
from producers.simulator.listings import Listing, make_listings
from producers.simulator.market import Market
from tests.fixtures.protocol_run import run
from tests.fixtures.venue_clients import BinanceClient, CoinbaseClient, KrakenClient, Side, VenueClient

S = 1_000_000_000
START = 1_700_000_000 * S

seeds = st.integers(0, 2**32)
symbols = st.sampled_from(["BTC-USD", "SOL-USD", "DOGE-USD", "FOO-USD"])


def market(seed: int, *venues: str, symbol: str = "BTC-USD", rate: float = 50.0) -> Market:
    return Market(make_listings(venues, [symbol]), seed=seed, rate=rate, start_ns=START)


def decimals(listing: Listing, side: BookSide) -> Side:
    return {
        Decimal(price).scaleb(-listing.price_decimals): Decimal(size).scaleb(-listing.size_decimals)
        for price, size in side
    }


@given(seeds, symbols)
@settings(max_examples=8, deadline=None)
def test_books_are_deep_positive_and_never_crossed(seed: int, symbol: str) -> None:
    simulated = market(seed, "kraken", "binance_us", symbol=symbol)
    last_time = START
    for event in simulated.advance(START + 5 * S):
        assert START <= last_time <= event.time_ns <= START + 5 * S
        last_time = event.time_ns
        book = simulated.instruments[event.listing.venue, symbol].book
        assert not book.crossed
        assert min(len(book.bids), len(book.asks)) > 20
        assert all(price > 0 and size > 0 for side in (book.bids, book.asks) for price, size in side)
        if isinstance(event, BookChange):
            for side, levels in ((book.bids, event.bids), (book.asks, event.asks)):
                assert all(side.size_at(price) == size for price, size in levels)
                assert len({price for price, _ in levels}) == len(levels)


@given(seeds)
@settings(max_examples=10, deadline=None)
def test_trades_eat_the_levels_they_match(seed: int) -> None:
    simulated = market(seed, "kraken")
    book = simulated.instruments["kraken", "BTC-USD"].book
    number = 0
    for event in simulated.advance(START + 6 * S):
        if isinstance(event, Trades):
            for trade in event.trades:
                number += 1
                assert trade.trade_id == START // 100_000 + number
                assert trade.size > 0
                # Nothing better than a matched level is left on its side.
                bid, ask = book.bids.best_price(), book.asks.best_price()
                assert bid is not None
                assert ask is not None
                assert bid <= trade.price if trade.side == "sell" else ask >= trade.price
    assert number > 0


@given(seeds, st.lists(st.integers(1, 3 * S), max_size=20))
@settings(max_examples=10, deadline=None)
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
    feed_of: Callable[[list[SimulatedInstrument]], Feed],
    client: VenueClient,
    *subscriptions: Subscription,
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
@settings(max_examples=10, deadline=None)
def test_krakens_frames_rebuild_the_book_in_every_depth(seed: int, depth: int) -> None:
    client = KrakenClient("BTC/USD", depth)
    _, frames = follow(
        seed,
        "kraken",
        KrakenFeed,
        client,
        Subscription(INSTRUMENTS, "", "instrument"),
        Subscription(BOOK, "BTC/USD", "book", depth),
        Subscription(TRADES, "BTC/USD", "trade"),
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
@settings(max_examples=8, deadline=None)
def test_coinbases_frames_rebuild_the_book(seed: int) -> None:
    client = CoinbaseClient("BTC-USD")
    instrument, frames = follow(
        seed,
        "coinbase",
        CoinbaseFeed,
        client,
        Subscription(BOOK, "BTC-USD", "level2_batch"),
        Subscription(TRADES, "BTC-USD", "matches"),
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
@settings(max_examples=8, deadline=None)
def test_binances_frames_rebuild_the_book(seed: int, trades: str, depth: str) -> None:
    client = BinanceClient("BTCUSD")
    follow(
        seed,
        "binance_us",
        BinanceFeed,
        client,
        Subscription(BOOK, "BTCUSD", f"btcusd@{depth}"),
        Subscription(TRADES, "BTCUSD", f"btcusd@{trades}"),
    )


@pytest.mark.parametrize("seed", range(4))
def test_an_arbitrage_after_fees_opens_within_ten_seconds_and_closes(seed: int) -> None:
    venues = ("kraken", "coinbase", "binance_us")
    listings = make_listings(venues, ["BTC-USD", "ETH-USD", "SOL-USD"])
    simulated = Market(listings, seed=seed, rate=30.0, start_ns=0)
    opened: dict[str, int] = {}
    lives: list[tuple[int, int]] = []
    for event in simulated.advance(60 * S):
        symbol = event.listing.symbol
        bids, asks = [], []
        for venue in venues:
            instrument = simulated.instruments[venue, symbol]
            bid, ask = instrument.book.bids.best_price(), instrument.book.asks.best_price()
            assert bid is not None
            assert ask is not None
            bids.append(bid / 10**instrument.listing.price_decimals)
            asks.append(ask / 10**instrument.listing.price_decimals)
        if max(bids) > min(asks) * 1.0052:  # 26 basis points on either side
            opened.setdefault(symbol, event.time_ns)
        elif symbol in opened:
            lives.append((opened[symbol], event.time_ns - opened.pop(symbol)))
    long_ones = [(start, life) for start, life in lives if life >= 0.4 * S]
    assert long_ones[0][0] < 10 * S
    assert 3 <= len(long_ones) <= 12
    assert max(life for _, life in lives) < 3.5 * S
