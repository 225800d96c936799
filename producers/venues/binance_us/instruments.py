"""Binance.US's list of symbols, in Binance's format."""

from producers.venues.binance.instruments import parse_instruments

__all__ = ["parse_instruments"]
