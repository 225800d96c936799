"""Binance.US spot: https://docs.binance.us/."""

from producers.binance_us.protocol import BinanceUsProtocol
from producers.venue import Venue

VENUE = Venue(
    name="binance_us",
    websocket_url="wss://stream.binance.us:9443",
    rest_url="https://api.binance.us",
    protocol=BinanceUsProtocol,
    # The venue pings every 3 min; quiet symbols send little in between.
    silence_seconds=240.0,
    ping_seconds=None,
    messages_per_second=5.0,
)
