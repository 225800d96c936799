"""Binance.US lists its symbols as Binance does."""

from producers.binance.instruments import traded

__all__ = ["traded"]
