"""Every venue's symbols.py: ours to theirs and back."""

from __future__ import annotations

import importlib

import pytest

from alphapulse.errors import ValueRefused

PAIRS = [
    ("kraken", "BTC/USD", "BTC-USD"),
    ("kraken", "OCEAN/BTC", "OCEAN-BTC"),
    ("kraken", "AAPLx/USD", "AAPLx-USD"),
    ("binance", "币安人生USDT", "币安人生-USDT"),
    ("coinbase", "BAND-GBP", "BAND-GBP"),
    ("binance", "BTCUSDT", "BTC-USDT"),
    ("binance", "BTCTUSD", "BTC-TUSD"),
    ("binance", "ETHBTC", "ETH-BTC"),
    ("binance", "USDCUSDT", "USDC-USDT"),
    ("binance", "1INCHUSDT", "1INCH-USDT"),
    ("binance_us", "BTCUSD", "BTC-USD"),
    ("binance_us", "COMPUSDT", "COMP-USDT"),
    ("binance_us", "BATUSD", "BAT-USD"),
    ("binance_us", "BNBUSD", "BNB-USD"),
    ("binance_us", "BNBBUSD", "BNB-BUSD"),
    ("binance_us", "BTCBUSD", "BTC-BUSD"),
    ("binance_us", "SHIBUSD", "SHIB-USD"),
    ("binance_us", "ETHUSD4", "ETH-USD4"),
    ("binance_us", "BNBBTC", "BNB-BTC"),
    ("binance", "BNBTUSD", "BNB-TUSD"),
    ("okx", "BTC-USDT", "BTC-USDT"),
    ("bitstamp", "btcusd", "BTC-USD"),
    ("bitstamp", "usdcusdt", "USDC-USDT"),
    ("bitstamp", "usdtusd", "USDT-USD"),
    ("bitstamp", "rlusdusd", "RLUSD-USD"),
    ("bitstamp", "xrprlusd", "XRP-RLUSD"),
    ("bitstamp", "gusdusd", "GUSD-USD"),
    ("bitstamp", "1incheur", "1INCH-EUR"),
    ("bitstamp", "ethpax", "ETH-PAX"),
    ("coinbase_advanced", "ETH-BTC", "ETH-BTC"),
    ("alpaca", "BRK.B", "BRK.B"),
]

BROKEN = [
    ("kraken", "BTCUSD"),
    ("kraken", "/USD"),
    ("kraken", "btc/usd"),
    ("coinbase", "BTCUSD"),
    ("coinbase", "BTC-"),
    ("binance", "USDT"),
    ("binance", "BTCXYZ"),
    ("binance", ""),
    ("binance_us", "btcusd"),
    ("binance_us", "BTCXYZ"),
    ("okx", "BTC-USDT-SWAP"),
    ("bitstamp", "BTCUSD"),
    ("bitstamp", "btc/usd"),
    ("bitstamp", "btcusd-perp"),
    ("bitstamp", "usd"),
    ("bitstamp", "btcxyz"),
    ("coinbase_advanced", "BIT-28FEB25-CDE"),
    ("alpaca", "BTC-USD"),
]


@pytest.mark.parametrize(("venue", "theirs", "ours"), PAIRS)
def test_symbols_go_both_ways(venue: str, theirs: str, ours: str) -> None:
    symbols = importlib.import_module(f"producers.venues.{venue}.symbols")
    assert symbols.canonical_symbol(theirs) == ours
    assert symbols.venue_symbol(ours) == theirs


@pytest.mark.parametrize(("theirs", "ours"), [("XBT/USD", "BTC-USD"), ("XDG/XBT", "DOGE-BTC")])
def test_krakens_old_names_are_read(theirs: str, ours: str) -> None:
    symbols = importlib.import_module("producers.venues.kraken.symbols")
    assert symbols.canonical_symbol(theirs) == ours


@pytest.mark.parametrize(("venue", "theirs"), BROKEN)
def test_what_is_no_symbol_of_the_venue_is_refused_by_name(venue: str, theirs: str) -> None:
    symbols = importlib.import_module(f"producers.venues.{venue}.symbols")
    with pytest.raises(ValueRefused) as caught:
        symbols.canonical_symbol(theirs)
    assert repr(theirs) in str(caught.value) or "not a canonical symbol" in str(caught.value)


@pytest.mark.parametrize(
    "venue", ["kraken", "coinbase", "coinbase_advanced", "binance", "binance_us", "okx", "bitstamp"]
)
def test_an_equity_is_no_pair(venue: str) -> None:
    symbols = importlib.import_module(f"producers.venues.{venue}.symbols")
    with pytest.raises(ValueRefused, match="'AAPL'"):
        symbols.venue_symbol("AAPL")
