"""Binance.US sends Binance's payloads: https://docs.binance.us/#websocket-market-data-streams."""

from producers.venues.binance.messages import AggregateTrade, DepthSnapshot, DepthUpdate, Trade

__all__ = ["AggregateTrade", "DepthSnapshot", "DepthUpdate", "Trade"]
