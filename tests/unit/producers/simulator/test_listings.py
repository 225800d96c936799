"""producers.simulator.listings"""

from __future__ import annotations

import pytest

from alphapulse.errors import ValueRefused
from producers.registry import names
from producers.simulator.listings import fixed_text, make_listings


def test_every_symbol_is_listed_on_every_venue_in_its_spelling() -> None:
    listings = make_listings(["kraken", "binance_us"], ["BTC-USD", "SOL-USD"])
    assert [(listing.venue, listing.venue_symbol) for listing in listings] == [
        ("kraken", "BTC/USD"),
        ("kraken", "SOL/USD"),
        ("binance_us", "BTCUSD"),
        ("binance_us", "SOLUSD"),
    ]


STRANGE = ["SHIB-USD", "SHIB-BTC", "BTC-SHIB", "BTC-JPY", "EUR-USD", "NEVERHEARD-OF", "A-B", "1000SATS-USDT", "ETH-BTC"]


@pytest.mark.parametrize("symbol", ["BTC-USD", "DOGE-USDT", "XRP-EUR", *STRANGE])
def test_ticks_and_lots_are_fine_enough(symbol: str) -> None:
    for listing in make_listings(set(names()) - {"alpaca"}, [symbol]):
        assert 1_000 <= listing.start_price * 10**listing.price_decimals < 10**13
        assert 1_000 <= listing.unit_size * 10**listing.size_decimals < 10**15


def test_a_shiba_has_a_coarse_tick_and_sizes_in_millions() -> None:
    for listing in make_listings(["kraken", "coinbase", "binance"], ["SHIB-USD"]):
        assert listing.price_decimals == 8
        assert listing.price_text(round(listing.start_price * 10**8)) == "0.00001380"
        assert 1e6 < listing.unit_size < 1e9
    kraken, coinbase, binance = make_listings(["kraken", "coinbase", "binance"], ["SHIB-USD"])
    assert (kraken.size_decimals, coinbase.size_decimals, binance.size_decimals) == (5, 5, 0)


def test_stocks_are_priced_in_cents_and_traded_in_whole_shares() -> None:
    for listing in make_listings(["alpaca"], ["AAPL", "MSFT", "BRK.B"]):
        assert (listing.price_decimals, listing.size_decimals) == (2, 0)
        assert 10 <= listing.start_price < 1_000


def test_a_level_is_worth_about_as_much_whatever_it_is_quoted_in() -> None:
    in_dollars, in_bitcoin = make_listings(["binance"], ["ETH-USD", "ETH-BTC"])
    assert 0.2 < in_bitcoin.unit_size / in_dollars.unit_size <= 1


def test_an_unknown_assets_price_follows_from_its_name() -> None:
    first, second = (make_listings(["kraken"], ["FOO-USD"])[0].start_price for _ in range(2))
    assert first == second


@pytest.mark.parametrize(
    ("venue", "symbol", "message"),
    [("mtgox", "BTC-USD", "mtgox"), ("kraken", "BTC", "'BTC'"), ("kraken", "btc-usd", "'btc-usd'")],
)
def test_what_cannot_be_listed_is_refused_by_name(venue: str, symbol: str, message: str) -> None:
    with pytest.raises(ValueRefused, match=message):
        make_listings([venue], [symbol])


@pytest.mark.parametrize(
    ("mantissa", "decimals", "shown", "text"),
    [
        (6180000, 2, None, "61800.00"),
        (5, 2, None, "0.05"),
        (5, 0, None, "5"),
        (5, 0, 2, "5.00"),
        (6180000, 2, 8, "61800.00000000"),
        (0, 3, 8, "0.00000000"),
        (1, 8, 8, "0.00000001"),
    ],
)
def test_fixed_text(mantissa: int, decimals: int, shown: int | None, text: str) -> None:
    assert fixed_text(mantissa, decimals, shown) == text
