"""Binance spot: https://developers.binance.com/docs/binance-spot-api-docs/web-socket-streams."""

from functools import partial

from producers.feed.venue import Limit, Listing, Venue
from producers.venues.binance.instruments import parse_instruments
from producers.venues.binance.protocol import BinanceProtocol
from producers.venues.binance.rest import depth_weight

VENUE = Venue(
    name="binance",
    websocket_url="wss://stream.binance.com:9443",
    rest_url="https://api.binance.com",
    protocol=BinanceProtocol,
    # The venue pings every 20 s; pings of the client would count against the messages allowed.
    silence_seconds=60.0,
    pinged=True,
    ping_seconds=None,
    # Five inbound messages, pongs included.
    messages_per_second=4.0,
    # A connection carries 1024 streams, two per symbol; fewer spread the load and limit what one loss affects.
    symbols_per_connection=200,
    connects=Limit(300, 300.0),
    # Connections are closed after 24 h.
    reconnect_hours=23.0,
    # https://developers.binance.com/docs/binance-spot-api-docs/rest-api/limits
    rest_limit=Limit(6000, 60.0),
    rest_weight=partial(depth_weight, weights=((100, 5), (500, 25), (1000, 50), (5000, 250))),
    listing=Listing("/api/v3/exchangeInfo?permissions=SPOT", parse_instruments),
)
