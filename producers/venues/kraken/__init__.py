"""Kraken, WebSocket v2: https://docs.kraken.com/api/docs/guides/spot-ws-intro."""

from producers.feed.venue import Limit, Listing, Venue
from producers.venues.kraken.instruments import parse_instruments
from producers.venues.kraken.protocol import KrakenProtocol

VENUE = Venue(
    name="kraken",
    websocket_url="wss://ws.kraken.com/v2",
    protocol=KrakenProtocol,
    # A heartbeat about every second when there is no other message.
    silence_seconds=5.0,
    rest_url="https://api.kraken.com",
    # About 150 connection attempts in ten minutes per address.
    connects=Limit(140, 600.0),
    # https://docs.kraken.com/api/docs/guides/spot-rest-ratelimits
    rest_limit=Limit(1, 1.0),
    listing=Listing("/0/public/AssetPairs", parse_instruments),
)
