"""Coinbase Exchange: https://docs.cdp.coinbase.com/exchange/websocket-feed/overview."""

from producers.feed.venue import Limit, Listing, Venue
from producers.venues.coinbase.instruments import parse_instruments
from producers.venues.coinbase.protocol import CoinbaseProtocol

VENUE = Venue(
    name="coinbase",
    websocket_url="wss://ws-feed.exchange.coinbase.com",
    protocol=CoinbaseProtocol,
    # A heartbeat per second for every product.
    silence_seconds=10.0,
    messages_per_second=8.0,
    messages_by_address=True,
    rest_url="https://api.exchange.coinbase.com",
    # Eight per second and address: https://docs.cdp.coinbase.com/exchange/websocket-feed/rate-limits
    connects=Limit(8, 1.0),
    rest_limit=Limit(10, 1.0),
    listing=Listing("/products", parse_instruments),
)
