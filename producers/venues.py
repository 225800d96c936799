"""The one list of venues: name → module that holds its ``VENUE``."""

from __future__ import annotations

from importlib import import_module
from typing import Final

from alphapulse.errors import ConfigError
from producers.venue import Venue

VENUES: Final = {
    "binance": "producers.binance",
    "binance_us": "producers.binance_us",
    "coinbase": "producers.coinbase",
    "kraken": "producers.kraken",
}


def load(name: str) -> Venue:
    """Return the venue called ``name``.

    Raises:
        ConfigError: there is none; the message names those there are.
    """
    module = VENUES.get(name)
    if module is None:
        raise ConfigError([f"venues.{name}: unknown venue; known: {', '.join(sorted(VENUES))}"])
    venue: Venue = import_module(module).VENUE
    return venue
