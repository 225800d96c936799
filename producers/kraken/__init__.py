"""Kraken, WebSocket v2: https://docs.kraken.com/api/docs/guides/spot-ws-intro."""

from producers.kraken.protocol import KrakenProtocol
from producers.venue import Venue

VENUE = Venue(
    name="kraken",
    websocket_url="wss://ws.kraken.com/v2",
    protocol=KrakenProtocol,
    # A heartbeat comes about every second when nothing else does.
    silence_seconds=5.0,
)
