"""Binance's."""

from tests.unit.producers.venues.binance.frames import ANSWER, FRAMES, SETTINGS

__all__ = ["ANSWER", "FRAMES", "SETTINGS"]
