"""Coinbase Exchange: https://docs.cdp.coinbase.com/exchange/websocket-feed/overview."""

from producers.coinbase.protocol import CoinbaseProtocol
from producers.venue import Venue

VENUE = Venue(
    name="coinbase",
    websocket_url="wss://ws-feed.exchange.coinbase.com",
    protocol=CoinbaseProtocol,
    # A heartbeat a second for every product.
    silence_seconds=10.0,
    messages_per_second=8.0,
)
