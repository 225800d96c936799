"""Binance.US spells symbols as Binance does."""

from producers.binance.symbols import canonical_symbol, venue_symbol

__all__ = ["canonical_symbol", "venue_symbol"]
