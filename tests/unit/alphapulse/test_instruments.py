"""Names of venues, symbols and instruments."""

from __future__ import annotations

import dataclasses

import pytest

from alphapulse.errors import ValueRefused
from alphapulse.instruments import Instrument, check_symbol, check_venue, instrument_key, meant


@pytest.mark.parametrize("venue", ["kraken", "binance_us", "v2"])
def test_venues(venue: str) -> None:
    assert check_venue(venue) == venue


@pytest.mark.parametrize("venue", ["", "Kraken", "2v", "_x", "a-b", "a|b", "kraken\n", "ķraken"])
def test_what_is_no_venue(venue: str) -> None:
    with pytest.raises(ValueRefused, match="not a venue name"):
        check_venue(venue)


@pytest.mark.parametrize(
    "symbol", ["BTC-USD", "1INCH-USDT", "AAPL", "BRK.B", "ETH2.S-EUR", "AAPLx-USD", "币安人生-USDT"]
)
def test_symbols(symbol: str) -> None:
    assert check_symbol(symbol) == symbol


@pytest.mark.parametrize(
    "symbol",
    ["", "btc-usd", "BTC/USD", "BTC-", "-USD", "BTC-USD-X", "BTC|USD", "..", ".A", "BTC-USD\n", "BTC-..", "ß",
     "BTC-usd", "A B-USD", "A_B-USD", "\U0001f438-USD", "A\u0308-USD", "A*-USD", "A%2F-USD"],
)  # fmt: skip
def test_what_is_no_symbol(symbol: str) -> None:
    with pytest.raises(ValueRefused, match="not a canonical symbol"):
        check_symbol(symbol)


def test_keys() -> None:
    assert instrument_key("kraken", "BTC-USD") == "kraken|BTC-USD"
    assert Instrument("kraken", "BTC-USD", "BTC/USD").key == "kraken|BTC-USD"


def test_an_instrument_is_frozen_and_hashable() -> None:
    instrument = Instrument("kraken", "BTC-USD", "BTC/USD", -1, -8)
    assert hash(instrument) == hash(Instrument("kraken", "BTC-USD", "BTC/USD", -1, -8))
    with pytest.raises(dataclasses.FrozenInstanceError):
        instrument.symbol = "X"  # type: ignore[misc]


@pytest.mark.parametrize(
    ("written", "likely"),
    [
        ("BTCUSDT", "BTC-USDT"),
        ("btcusd", "BTC-USD"),
        ("btc/usd", "BTC-USD"),
        ("eth_btc ", "ETH-BTC"),
        ("btc-usd", "BTC-USD"),
        ("aapl", "AAPL"),
    ],
)
def test_what_may_have_been_meant(written: str, likely: str) -> None:
    assert meant(written) == f", did you mean {likely}?"


@pytest.mark.parametrize("written", ["", " ", "BTC-USD", "AAPL", "USD", "ß", "a-b-c", "BTC-", "-", "/"])
def test_nothing_may_have_been_meant(written: str) -> None:
    assert meant(written) == ""
