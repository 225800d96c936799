from __future__ import annotations

from importlib import import_module
from pathlib import Path

import pytest

import producers
from alphapulse.config import VenueSettings
from alphapulse.errors import ConfigError
from producers.feed.protocol import VenueProtocol
from producers.registry import load, names, part
from tests.fixtures.venue_samples import samples

ROOT = Path(producers.__file__).parent


def settings(venue: str) -> VenueSettings:
    return samples(venue).settings


def test_venues_are_found_by_their_folders() -> None:
    assert {"binance", "binance_us", "coinbase", "coinbase_advanced", "kraken", "okx", "alpaca"} <= set(names())
    assert not {"server", "replay", "simulator"} & set(names())


def test_an_unknown_venue_is_refused_by_name() -> None:
    with pytest.raises(ConfigError, match=r"venues\.krakn: unknown venue; known: .*binance, binance_us, coinbase"):
        load("krakn")
    assert part("krakn", "server") is None


def test_a_part_that_a_venue_does_not_have_is_none() -> None:
    assert part("binance_us", "server") is None
    assert part("okx", "server") is import_module("producers.venues.okx.server")


@pytest.mark.parametrize("name", names())
def test_every_venue_has_the_same_files(name: str) -> None:
    assert all(part(name, module) is not None for module in ("protocol", "symbols", "messages"))
    symbols = import_module(f"producers.venues.{name}.symbols")
    for symbol in settings(name).symbols:
        assert symbols.canonical_symbol(symbols.venue_symbol(symbol)) == symbol


@pytest.mark.parametrize("name", names())
def test_a_venue_makes_its_protocol(name: str) -> None:
    venue = load(name)
    protocol = venue.protocol(settings(name))
    assert isinstance(protocol, VenueProtocol)
    assert (venue.name, protocol.venue, tuple(protocol.instruments)) == (name, name, settings(name).symbols)
    assert venue.websocket_url.startswith("wss://")
    report = protocol.instruments[settings(name).symbols[0]].report()
    assert (report["valid"], report["epoch"], report["base_volume"]) == (False, 0, "0")
    assert protocol.overdue(1) == []


def test_shared_code_names_no_venue() -> None:
    for path in ROOT.glob("*.py"):
        text = path.read_text().lower()
        code = "\n".join(line.partition("#")[0] for line in text.splitlines() if "import" in line or "==" in line)
        assert not [name for name in names() if name in code], path.name
