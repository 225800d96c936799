"""Binance.US spot."""
