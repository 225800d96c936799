"""Coinbase Advanced Trade: https://docs.cdp.coinbase.com/coinbase-app/advanced-trade-apis/websocket/websocket-overview.

The order books of ``coinbase`` (Coinbase Exchange), by a feed that numbers its messages. It is a separate venue, so
that (venue, symbol) identifies one feed; collect only one of the two, or arbitrage compares a book with itself.
"""

from producers.feed.venue import Limit, Listing, Venue
from producers.venues.coinbase_advanced.instruments import parse_instruments
from producers.venues.coinbase_advanced.protocol import CoinbaseAdvancedProtocol

VENUE = Venue(
    name="coinbase_advanced",
    websocket_url="wss://advanced-trade-ws.coinbase.com",
    protocol=CoinbaseAdvancedProtocol,
    # A heartbeat per second.
    silence_seconds=10.0,
    # Eight per second and address: https://docs.cdp.coinbase.com/coinbase-app/advanced-trade-apis/websocket/websocket-rate-limits
    messages_per_second=8.0,
    messages_by_address=True,
    connects=Limit(8, 1.0),
    # A lost message costs a new snapshot of every book on the connection.
    symbols_per_connection=20,
    rest_url="https://api.coinbase.com",
    rest_limit=Limit(10, 1.0),
    listing=Listing("/api/v3/brokerage/market/products?product_type=SPOT", parse_instruments),
)
