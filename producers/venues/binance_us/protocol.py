"""Binance.US protocol, identical to Binance's."""

from __future__ import annotations

from alphapulse.config import VenueSettings
from producers.venues.binance.protocol import BinanceProtocol


class BinanceUsProtocol(BinanceProtocol):
    """Binance.US's books and trades for the symbols of ``settings``."""

    def __init__(self, settings: VenueSettings, venue: str = "binance_us") -> None:
        super().__init__(settings, venue)
