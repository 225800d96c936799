"""OKX, WebSocket v5, public channels: https://www.okx.com/docs-v5/en/#overview-websocket-overview."""

from producers.feed.venue import Limit, Listing, Venue
from producers.venues.okx.instruments import parse_instruments
from producers.venues.okx.protocol import OkxProtocol

VENUE = Venue(
    name="okx",
    websocket_url="wss://ws.okx.com:8443/ws/v5/public",
    protocol=OkxProtocol,
    # The venue closes a connection without messages for 30 s; the text "ping" is answered with the text "pong".
    # https://www.okx.com/docs-v5/en/#overview-websocket-overview
    silence_seconds=25.0,
    ping_seconds=10.0,
    text_ping="ping",
    # 480 requests an hour per connection, three connections per second.
    messages_per_second=3.0,
    requests=Limit(480, 3600.0),
    connects=Limit(3, 1.0),
    rest_url="https://www.okx.com",
    # https://www.okx.com/docs-v5/en/#public-data-rest-api-get-instruments
    rest_limit=Limit(20, 2.0),
    listing=Listing("/api/v5/public/instruments?instType=SPOT", parse_instruments),
)
