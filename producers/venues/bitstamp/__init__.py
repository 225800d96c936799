"""Bitstamp, WebSocket v2: https://www.bitstamp.net/websocket/v2/."""

from producers.feed.venue import Limit, Listing, Venue
from producers.venues.bitstamp.instruments import parse_instruments
from producers.venues.bitstamp.protocol import BitstampProtocol

VENUE = Venue(
    name="bitstamp",
    websocket_url="wss://ws.bitstamp.net",
    protocol=BitstampProtocol,
    # A bts:heartbeat is answered by another: "you should do so by websocket heartbeat". Nothing else has to come.
    silence_seconds=25.0,
    ping_seconds=10.0,
    text_ping='{"event":"bts:heartbeat"}',
    # For messages the venue names no limit but their length, 512 bytes, so each asks for one channel.
    messages_per_second=20.0,
    # A connection carries 1024 channels, two of them for each symbol; fewer share the load and a loss.
    symbols_per_connection=100,
    # Connections are cut after 90 days.
    reconnect_hours=80 * 24.0,
    rest_url="https://www.bitstamp.net",
    # 400 requests a second and 10,000 in ten minutes: this keeps both. https://www.bitstamp.net/api/#section/Request-limits
    rest_limit=Limit(400, 24.0),
    listing=Listing("/api/v2/trading-pairs-info/", parse_instruments),
)
