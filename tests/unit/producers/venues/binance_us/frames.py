"""Binance's."""

from tests.unit.producers.venues.binance.frames import ANSWER, FRAMES, SETTINGS

__all__ = ["ANSWER", "FRAMES", "SETTINGS"]

TELLS_REFUSALS = False  # a stream that the venue will not have stays silent
