from __future__ import annotations

import json
import subprocess
import sys

import pytest

from producers.names import answers


@pytest.mark.parametrize(
    ("venue", "name", "symbol"),
    [
        ("kraken", "XBT/USD", "BTC-USD"),
        ("coinbase", "BTC-USD", "BTC-USD"),
        ("binance", "btcusdt", "BTC-USDT"),
        ("binance_futures", "ETHUSDT", "ETH-USDT"),
        ("bitstamp", "btcusd", "BTC-USD"),
        ("okx", "BTC-USDT", "BTC-USDT"),
        ("somewhere_else", "sol_usd", "SOL-USD"),
    ],
)
def test_names_become_symbols_by_the_venues_rules(venue: str, name: str, symbol: str) -> None:
    assert answers(venue, [name]) == {name: {"symbol": symbol}}


@pytest.mark.parametrize(("venue", "name"), [("kraken", "XBTUSD"), ("somewhere_else", "SOLUSD"), ("okx", "A-B-C")])
def test_a_name_that_does_not_show_them_has_a_reason(venue: str, name: str) -> None:
    assert name in answers(venue, [name])[name]["reason"]


def test_the_program_answers_in_json() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "producers.names", "kraken"],
        input='["ETH/EUR"]',
        capture_output=True,
        text=True,
        check=True,
    )
    assert json.loads(done.stdout) == {"ETH/EUR": {"symbol": "ETH-EUR"}}
