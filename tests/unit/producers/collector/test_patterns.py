from __future__ import annotations

import json
from importlib import import_module

import pytest

from alphapulse.errors import FrameRefused, ValueRefused
from alphapulse.instruments import check_symbol_or_pattern
from producers.collector.patterns import resolve

LISTED = ["BTC-USD", "ETH-USD", "BTC-EUR", "BTCST-USD", "AAPL"]


@pytest.mark.parametrize(
    ("pattern", "symbols"),
    [
        ("*-USD", ("BTC-USD", "BTCST-USD", "ETH-USD")),
        ("BTC-*", ("BTC-EUR", "BTC-USD")),
        ("BTC*-USD", ("BTC-USD", "BTCST-USD")),
        ("*-*", ("BTC-EUR", "BTC-USD", "BTCST-USD", "ETH-USD")),
        ("A*", ("AAPL",)),
        ("*", ("AAPL", "BTC-EUR", "BTC-USD", "BTCST-USD", "ETH-USD")),
        ("*-GBP", ()),
    ],
)
def test_what_a_pattern_matches(pattern: str, symbols: tuple[str, ...]) -> None:
    found = resolve([pattern], LISTED)
    assert found.matched == {pattern: symbols}
    assert found.symbols == symbols


def test_named_symbols_come_first_and_each_once_listed_or_not() -> None:
    found = resolve(["SOL-USD", "BTC-*", "*-USD", "BTC-USD"], LISTED)
    assert found.symbols == ("SOL-USD", "BTC-USD", "BTC-EUR", "BTCST-USD", "ETH-USD")


@pytest.mark.parametrize("text", ["BTC-USD", "*-USD", "BTC-*", "*", "1INCH*-USD", "BRK.*", "*x-USD", "币*-USDT"])
def test_symbols_and_patterns_are_accepted(text: str) -> None:
    assert check_symbol_or_pattern(text) == text


@pytest.mark.parametrize("text", ["btc-*", "*/USD", "BTC-*-USD", "", "*-", "-*", "*?"])
def test_what_is_neither_is_refused(text: str) -> None:
    with pytest.raises(ValueRefused, match=r"not a (pattern|canonical)"):
        check_symbol_or_pattern(text)


KRAKEN = {
    "result": {
        "XXBTZUSD": {"wsname": "XBT/USD"},
        "S": {"wsname": "AAPLx/USD"},
        "T": {"wsname": "$/USD"},
        "X": {"wsname": "ADA/EUR", "status": "cancel_only"},
        "Y": {},
    }
}
COINBASE = [{"id": "BTC-USD", "status": "online"}, {"id": "OLD-USD", "status": "delisted"}, {"id": "odd"}]
BINANCE = {
    "symbols": [
        {"symbol": "BTCUSDT", "baseAsset": "BTC", "quoteAsset": "USDT", "status": "TRADING"},
        {"symbol": "OLDUSDT", "baseAsset": "OLD", "quoteAsset": "USDT", "status": "BREAK"},
        {"symbol": "币USDT", "baseAsset": "币", "quoteAsset": "USDT", "status": "TRADING"},
        {"symbol": "A BUSDT", "baseAsset": "A B", "quoteAsset": "USDT", "status": "TRADING"},
    ]
}


@pytest.mark.parametrize(
    ("venue", "answer", "symbols", "unnamed"),
    [
        ("kraken", KRAKEN, ["BTC-USD", "AAPLx-USD"], ["$/USD"]),
        ("coinbase", COINBASE, ["BTC-USD"], ["odd"]),
        ("binance", BINANCE, ["BTC-USDT", "币-USDT"], ["A B-USDT"]),
        ("binance_us", BINANCE, ["BTC-USDT", "币-USDT"], ["A B-USDT"]),
    ],
)
def test_a_venues_list_of_instruments(venue: str, answer: object, symbols: list[str], unnamed: list[str]) -> None:
    parse_instruments = import_module(f"producers.venues.{venue}.instruments").parse_instruments
    left_out: list[str] = []
    assert parse_instruments(json.dumps(answer).encode(), left_out.append) == symbols
    assert left_out == unnamed
    for broken in (b"", b"\xff", b'{"message":"NotFound"}'):
        with pytest.raises(FrameRefused):
            parse_instruments(broken)
