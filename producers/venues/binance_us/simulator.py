"""Binance.US's simulated market: Binance's frames with its own liquidity and limits."""

from __future__ import annotations

from functools import partial
from typing import Final

from producers.feed.venue import Limit
from producers.simulator.limits import VenueLimits
from producers.simulator.liquidity import VenueMarket
from producers.venues.binance.server import rest_refusal
from producers.venues.binance.simulator import LIMITS as BINANCE
from producers.venues.binance.simulator import BinanceFeed, depth_weight

FEED: Final = BinanceFeed

MARKET: Final = VenueMarket(2.6, (80_000_000, 250_000_000))

_WEIGHTS: Final = ((100, 1.0), (500, 5.0), (1000, 10.0), (5000, 50.0))
"""https://docs.binance.us/#get-order-book-depth"""

# https://docs.binance.us/#websocket-limits and https://docs.binance.us/#rate-limits-rest; connection limits are not
# documented, so Binance's number is used.
LIMITS: Final = VenueLimits(
    messages=BINANCE.messages,
    pings_count=True,
    connects=BINANCE.connects,
    life_seconds=BINANCE.life_seconds,
    rest=Limit(1200, 60.0),
    rest_weight=partial(depth_weight, weights=_WEIGHTS),
    rest_refusal=rest_refusal,
    used_header="X-MBX-USED-WEIGHT-1M",
    patience=BINANCE.patience,
)
