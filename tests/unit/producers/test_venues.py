from __future__ import annotations

from importlib import import_module
from pathlib import Path

import pytest

import producers
from alphapulse.config import VenueSettings
from alphapulse.errors import ConfigError
from producers.venues import VENUES, load

ROOT = Path(producers.__file__).parent


def test_an_unknown_venue_is_refused_by_name() -> None:
    with pytest.raises(
        ConfigError, match=r"venues\.krakn: unknown venue; known: binance, binance_us, coinbase, kraken"
    ):
        load("krakn")


@pytest.mark.parametrize("name", sorted(VENUES))
def test_every_venue_has_the_same_files(name: str) -> None:
    for module in ("protocol", "symbols", "messages"):
        import_module(f"{VENUES[name]}.{module}")
    symbols = import_module(f"{VENUES[name]}.symbols")
    assert symbols.canonical_symbol(symbols.venue_symbol("BTC-USDT")) == "BTC-USDT"


@pytest.mark.parametrize("name", sorted(VENUES))
def test_a_venue_makes_its_protocol(name: str) -> None:
    venue = load(name)
    protocol = venue.protocol(VenueSettings(symbols=("BTC-USDT",)))
    assert (venue.name, protocol.venue, list(protocol.instruments)) == (name, name, ["BTC-USDT"])
    assert venue.websocket_url.startswith("wss://")
    report = protocol.instruments["BTC-USDT"].report()
    assert (report["valid"], report["epoch"], report["base_volume"]) == (False, 0, "0")


def test_shared_code_names_no_venue() -> None:
    for path in ROOT.glob("*.py"):
        if path.name == "venues.py":
            continue
        text = path.read_text().lower()
        code = "\n".join(line.partition("#")[0] for line in text.splitlines() if "import" in line or "==" in line)
        assert not [name for name in VENUES if name in code], path.name
