"""Binance.US lists its symbols as Binance does."""

from producers.venues.binance.instruments import parse_instruments

__all__ = ["parse_instruments"]
