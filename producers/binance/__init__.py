"""Binance spot: https://developers.binance.com/docs/binance-spot-api-docs/web-socket-streams."""

from producers.binance.protocol import BinanceProtocol
from producers.venue import Venue

VENUE = Venue(
    name="binance",
    websocket_url="wss://stream.binance.com:9443",
    rest_url="https://api.binance.com",
    protocol=BinanceProtocol,
    # The venue pings every 20 s; pings of our own would count against the messages allowed.
    silence_seconds=60.0,
    ping_seconds=None,
    messages_per_second=5.0,
)
