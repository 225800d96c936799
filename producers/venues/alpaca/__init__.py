"""Alpaca's stream of US equities: https://docs.alpaca.markets/docs/streaming-market-data.

The feed is part of the address: ``…/v2/iex`` (the default: free, 30 symbols), ``…/v2/sip``, ``…/v2/test``.
"""

from math import inf

from producers.feed.venue import Venue
from producers.venues.alpaca.protocol import AlpacaProtocol

VENUE = Venue(
    name="alpaca",
    websocket_url="wss://stream.data.alpaca.markets/v2/iex",
    protocol=AlpacaProtocol,
    # No messages while the market is closed, which the protocol knows; pings prove the connection alive.
    silence_seconds=inf,
    ping_seconds=10.0,
    instrument_silence_seconds=None,
    # Most subscriptions allow one connection for all symbols.
    connections_limit=1,
    symbols_per_connection=10_000,
)
