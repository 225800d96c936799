"""Binance.US sends Binance's payloads: https://docs.binance.us/#websocket-market-data-streams."""

from producers.venues.binance.messages import AggregateTrade, BinanceTrade, DepthSnapshot, DepthUpdate

__all__ = ["AggregateTrade", "BinanceTrade", "DepthSnapshot", "DepthUpdate"]
