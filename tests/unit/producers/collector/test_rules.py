"""Venues' rules, told in the same pass as all other faults of the configuration."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from pydantic import SecretStr

from alphapulse.config import Settings, VenueSettings
from alphapulse.errors import ArgumentsRefused, ConfigError
from producers import registry as venues
from producers.collector import rules

ROOT = Path(__file__).resolve().parents[4]

EXCHANGES = """\
[venues.kraken]
symbols = ["BTCUSDT", "btc/usd", "ETH-USD"]
depth = 7

[venues.krakn]
symbols = ["BTC-USD"]

[venues.coinbase]
symbols = []
depth = 5

[venues.okx]
symbols = ["BTC-USDT", "BTC-USDT"]
depth = 5
connections = 0

[venues.binance]
enabled = false
depth = 1000000

[venues.alpaca]
symbols = ["A*", "BTC-USD"]
"""


@pytest.fixture(autouse=True)
def _own_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in os.environ if name.startswith("ALPHAPULSE_")]:
        monkeypatch.delenv(name)


def faults(folder: Path | None, own: set[str] | None = None) -> list[str]:
    with pytest.raises(ConfigError) as caught:
        rules.load(folder, own=own)
    return caught.value.faults


def test_form_and_venues_rules_are_told_at_once_each_with_its_line(tmp_path: Path) -> None:
    (tmp_path / "services.toml").write_bytes(b"\xef\xbb\xbf[gateway]\nport = -1\n")
    path = tmp_path / "exchanges.toml"
    path.write_text(EXCHANGES, encoding="utf-8")
    told = [fault.removeprefix(f"{path}:") for fault in faults(tmp_path) if fault.startswith(str(path))]
    known = ", ".join(venues.names())
    assert told == [
        (
            "2: key venues.kraken.symbols.1: not a canonical symbol: 'btc/usd' (BASE-QUOTE in capitals, or a ticker), "
            "did you mean BTC-USD?, found 'btc/usd'"
        ),
        "2: key venues.kraken.symbols: not a pair: 'BTCUSDT' (BASE-QUOTE), did you mean BTC-USDT?",
        "3: key venues.kraken.depth: 7 is not supported; use one of 10, 25, 100, 500, 1000",
        f"5: key venues.krakn: unknown venue, did you mean kraken?; known: {known}",
        "9: key venues.coinbase.symbols: no symbols; add some, or set enabled = false to disable the venue",
        "10: key venues.coinbase.depth: cannot be set for this venue, found 5",
        "13: key venues.okx.symbols: BTC-USDT is listed twice, found ['BTC-USDT', 'BTC-USDT']",
        "14: key venues.okx.depth: 5 is not supported; use 400 or leave it out",
        "15: key venues.okx.connections: expected a whole number from 1 to 100, found 0",
        "21: key venues.alpaca.key: missing; create an API key at the venue and set ALPHAPULSE_VENUES__ALPACA__KEY",
        (
            "21: key venues.alpaca.secret: missing; create an API key at the venue and set "
            "ALPHAPULSE_VENUES__ALPACA__SECRET"
        ),
        "22: key venues.alpaca.symbols: the venue has no list of instruments for patterns; list the symbols",
        "22: key venues.alpaca.symbols: not a ticker: 'BTC-USD' (a US equity's, such as AAPL)",
    ]
    assert any(fault.startswith(f"{tmp_path / 'services.toml'}:2: key gateway.port") for fault in faults(tmp_path))


@pytest.mark.parametrize(
    ("symbols", "told"),
    [
        ('"BTC-USD"', ['expected a list, such as ["a", "b"], found \'BTC-USD\'']),
        ("[5]", ["expected text, found 5"]),
        ("[]", ["no symbols; add some, or set enabled = false to disable the venue"]),
        (
            '["AAPL", "AAPL"]',
            ["AAPL is listed twice, found ['AAPL', 'AAPL']", "not a pair: 'AAPL' (BASE-QUOTE)"],
        ),
    ],
)
def test_what_is_wrong_with_a_list_is_told_once(tmp_path: Path, symbols: str, told: list[str]) -> None:
    (tmp_path / "exchanges.toml").write_text(f"[venues.kraken]\nsymbols = {symbols}\n")
    assert [fault.partition(": key ")[2].partition(": ")[2] for fault in faults(tmp_path)] == told


def test_a_table_is_called_a_table(tmp_path: Path) -> None:
    (tmp_path / "exchanges.toml").write_text("venues = []\n")
    assert faults(tmp_path) == [f"{tmp_path / 'exchanges.toml'}:1: key venues: expected a table, found []"]


def test_a_variable_is_named_where_it_is_at_fault(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "exchanges.toml").write_text('[venues.kraken]\nsymbols = ["BTC-USD"]\ndepth = 10\n')
    monkeypatch.setenv("ALPHAPULSE_VENUES__KRAKEN__DEPTH", "11")
    monkeypatch.setenv("ALPHAPULSE_VENUES__KRAKEN__SYMBOLS", "ETH-USD, AAPL")
    assert faults(tmp_path) == [
        (
            "ALPHAPULSE_VENUES__KRAKEN__DEPTH: key venues.kraken.depth: 11 is not supported; "
            "use one of 10, 25, 100, 500, 1000"
        ),
        "ALPHAPULSE_VENUES__KRAKEN__SYMBOLS: key venues.kraken.symbols: not a pair: 'AAPL' (BASE-QUOTE)",
    ]


def test_lists_from_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for written in ("BTC-USD,ETH-USD", " BTC-USD , ETH-USD ", '["BTC-USD", "ETH-USD"]'):
        monkeypatch.setenv("ALPHAPULSE_VENUES__KRAKEN__SYMBOLS", written)
        assert rules.load().venues["kraken"].symbols == ("BTC-USD", "ETH-USD")
    monkeypatch.setenv("ALPHAPULSE_VENUES__KRAKEN__SYMBOLS", "BTC-USD")
    monkeypatch.setenv("ALPHAPULSE_PROCESSORS__CANDLE_INTERVALS_S", "60")
    monkeypatch.setenv("ALPHAPULSE_GATEWAY__ALLOWED_ORIGINS", "")
    settings = rules.load()
    assert settings.venues["kraken"].symbols == ("BTC-USD",)
    assert (settings.processors.candle_intervals_s, settings.gateway.allowed_origins) == ((60,), ())


def test_the_shipped_configuration_is_one_that_all_venues_accept() -> None:
    assert rules.load(ROOT / "deploy" / "config").venues.keys() == set(venues.names())


def test_the_key_of_another_is_no_matter_of_ours_and_a_venue_switched_off_none_of_anybody() -> None:
    alpaca = VenueSettings(symbols=("AAPL",))
    assert rules.faults({"alpaca": alpaca}, own={"kraken"}) == []
    assert [key for key, _ in rules.faults({"alpaca": alpaca}, own={"alpaca"})] == [
        ("venues", "alpaca", "key"),
        ("venues", "alpaca", "secret"),
    ]
    off = VenueSettings(enabled=False, depth=7)
    assert rules.faults({"kraken": off}) == []
    assert [key for key, _ in rules.faults({"krakn": off})] == [("venues", "krakn")]


def test_more_symbols_than_the_venues_one_connection_holds_are_told() -> None:
    many = tuple(f"A{number}" for number in range(4))
    keyed = VenueSettings(symbols=many, symbols_per_connection=3, key=SecretStr("a"), secret=SecretStr("b"))
    assert rules.faults({"alpaca": keyed}) == [
        (("venues", "alpaca", "symbols"), "4 symbols, but the venue allows 3 symbols")
    ]


def test_venues_of_a_command_line_are_told_apart_unknown_not_configured_and_off(tmp_path: Path) -> None:
    settings = Settings(venues={"kraken": VenueSettings(), "okx": VenueSettings(enabled=False)})
    rules.selected(settings, ["kraken"], tmp_path)
    rules.selected(settings, ["okx"], tmp_path, enabled=False)
    with pytest.raises(ArgumentsRefused) as caught:
        rules.selected(settings, ["krakn", "binance", "okx", ""], tmp_path)
    unknown, absent, off, empty = caught.value.faults
    assert unknown.startswith("'krakn': unknown venue, did you mean kraken?; known: alpaca, ")
    assert absent == (
        f"binance: not configured; add its symbols under [venues.binance] in {tmp_path / 'exchanges.toml'};"
        " configured: kraken, okx"
    )
    assert off == "okx: disabled: [venues.okx] has enabled = false"
    assert empty.startswith("'': unknown venue; known: ")
