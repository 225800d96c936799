"""Coinbase Advanced Trade: https://docs.cdp.coinbase.com/coinbase-app/advanced-trade-apis/websocket/websocket-overview.

The same order books as ``coinbase`` (Coinbase Exchange), by a feed that numbers its messages. It is a venue of its own,
so that (venue, symbol) stays one feed's; collect one of the two, or arbitrage compares a book with itself.
"""

from producers.coinbase_advanced.protocol import CoinbaseAdvancedProtocol
from producers.venue import Venue

VENUE = Venue(
    name="coinbase_advanced",
    websocket_url="wss://advanced-trade-ws.coinbase.com",
    protocol=CoinbaseAdvancedProtocol,
    # A heartbeat a second.
    silence_seconds=10.0,
    messages_per_second=8.0,
)
