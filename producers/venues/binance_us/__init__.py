"""Binance.US spot: https://docs.binance.us/."""

from functools import partial

from producers.feed.venue import Limit, Listing, Venue
from producers.venues.binance.rest import depth_weight
from producers.venues.binance_us.instruments import parse_instruments
from producers.venues.binance_us.protocol import BinanceUsProtocol

VENUE = Venue(
    name="binance_us",
    websocket_url="wss://stream.binance.us:9443",
    rest_url="https://api.binance.us",
    protocol=BinanceUsProtocol,
    # The venue pings every 3 min; quiet symbols send little in between.
    silence_seconds=240.0,
    pinged=True,
    ping_seconds=None,
    messages_per_second=4.0,
    symbols_per_connection=200,
    connects=Limit(300, 300.0),
    reconnect_hours=23.0,
    # https://docs.binance.us/#rate-limits-rest
    rest_limit=Limit(1200, 60.0),
    rest_weight=partial(depth_weight, weights=((100, 1), (500, 5), (1000, 10), (5000, 50))),
    listing=Listing("/api/v3/exchangeInfo", parse_instruments),
)
