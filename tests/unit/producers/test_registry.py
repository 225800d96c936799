from __future__ import annotations

import ast
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
    known = {"alpaca", "binance", "binance_us", "bitstamp", "coinbase", "coinbase_advanced", "kraken", "okx"}
    assert known <= set(names())
    assert not {"server", "replay", "simulator"} & set(names())


def test_an_unknown_venue_is_refused_by_name() -> None:
    with pytest.raises(ConfigError, match=r"venues\.krakn: unknown venue; known: .*binance, binance_us, .*coinbase"):
        load("krakn")
    assert part("krakn", "server") is None


def test_a_part_is_a_module_of_the_venues_folder() -> None:
    assert part("okx", "server") is import_module("producers.venues.okx.server")


@pytest.mark.parametrize("name", names())
def test_every_venue_has_the_same_files(name: str) -> None:
    assert all(part(name, module) is not None for module in ("protocol", "symbols", "messages", "server", "simulator"))
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


def _names_in_code(source: str) -> list[str]:
    """Return what of a module's code, docstrings and comments left out, names a venue."""
    tree = ast.parse(source)
    said: list[str] = []
    for node in ast.walk(tree):
        body = getattr(node, "body", None)
        if isinstance(body, list):  # a string that stands alone describes what stands before it
            node.body = [one for one in body if not (isinstance(one, ast.Expr) and isinstance(one.value, ast.Constant))]  # type: ignore[attr-defined]
    for node in ast.walk(tree):
        match node:
            case ast.Constant(value=str(text)) | ast.Name(id=text) | ast.arg(arg=text) | ast.alias(name=text):
                said.append(text)
            case ast.Attribute(attr=text) | ast.FunctionDef(name=text) | ast.ClassDef(name=text):
                said.append(text)
            case ast.ImportFrom(module=str(text)):
                said.append(text)
    return [text for text in said if any(name in text.lower() for name in names())]


def test_code_that_names_a_venue_is_found() -> None:
    assert _names_in_code('"""of kraken"""\nx = 1  # okx') == []
    for code in (
        'if venue == "kraken": pass',
        "from producers.venues.okx import server",
        "from producers.venues import alpaca",
        "LIMITS = {'binance': 3}",
        "def coinbase(): ...",
        "class BinanceFeed: ...",
        'f"binance_{x}"',
    ):
        assert _names_in_code(code), code


@pytest.mark.parametrize("package", ["producers", "stream_processors", "sinks", "gateway", "schemas"])
def test_no_code_outside_its_folder_names_a_venue(package: str) -> None:
    root = ROOT.parent / package
    # A format of a vendor's files is named as the vendor is, some vendors are exchanges, and they name exchanges.
    load = ROOT.parent / "sinks" / "load"
    apart = (ROOT / "venues", load / "formats", load / "exchanges.py")
    paths = [path for path in root.rglob("*.py") if not any(path.is_relative_to(folder) for folder in apart)]
    assert len(paths) > 10
    assert {path.relative_to(root): found for path in paths if (found := _names_in_code(path.read_text()))} == {}
