"""Kraken's WebSocket v2."""
