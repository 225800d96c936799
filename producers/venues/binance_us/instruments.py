"""Binance.US lists its symbols as Binance does."""

from producers.venues.binance.instruments import traded

__all__ = ["traded"]
