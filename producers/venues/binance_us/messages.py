"""Binance.US's payloads, identical to Binance's: https://docs.binance.us/#websocket-market-data-streams."""

from producers.venues.binance.messages import AggregateTrade, BinanceTrade, DepthSnapshot, DepthUpdate

__all__ = ["AggregateTrade", "BinanceTrade", "DepthSnapshot", "DepthUpdate"]
