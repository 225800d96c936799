"""The venues' limits, with where each number comes from. Those of a venue with a folder of its own stand there."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from typing import Final

from producers.net.rate_limit import Limit
from producers.registry import part
from producers.simulator.limits import Limits
from producers.venues.binance import server as binance

BINANCE_WEIGHTS: Final = ((100, 5.0), (500, 25.0), (1000, 50.0), (5000, 250.0))
"""Of depth requests, by the greatest limit:
https://developers.binance.com/docs/binance-spot-api-docs/rest-api/market-data-endpoints#order-book"""
BINANCE_US_WEIGHTS: Final = ((100, 1.0), (500, 5.0), (1000, 10.0), (5000, 50.0))
"""https://docs.binance.us/#get-order-book-depth"""

_DEFAULT_DEPTH: Final = "100"
_OTHER_WEIGHTS: Final = {"/api/v3/exchangeInfo": 20.0}


def depth_weight(path: str, query: Mapping[str, str], *, weights: Sequence[tuple[int, float]]) -> float:
    """Return what a REST request to Binance weighs."""
    if path != binance.DEPTH_PATH:
        return _OTHER_WEIGHTS.get(path, 1.0)
    limit = query.get("limit", _DEFAULT_DEPTH)
    depth = int(limit) if limit.isdecimal() else 0
    return next((weight for most, weight in weights if depth <= most), weights[-1][1])


def _kraken_refusal(status: int) -> bytes:
    return b'{"error":["EAPI:Rate limit exceeded"]}'


_BINANCE: Final = Limits(
    # https://developers.binance.com/docs/binance-spot-api-docs/web-socket-streams#websocket-limits
    messages=Limit(5, 1.0),
    pings_count=True,
    connects=Limit(300, 300.0),
    # "Only valid for 24 hours": …/web-socket-streams#general-wss-information
    life_seconds=86_400.0,
    # https://developers.binance.com/docs/binance-spot-api-docs/rest-api/limits
    rest=Limit(6000, 60.0),
    rest_weight=partial(depth_weight, weights=BINANCE_WEIGHTS),
    rest_refusal=binance.rest_refusal,
    used_header="X-MBX-USED-WEIGHT-1M",
    # "Repeatedly" and "failing to back off": the venue gives no number.
    patience=10,
)

LIMITS: Final[dict[str, Limits]] = {
    "kraken": Limits(
        # The rate is dynamic; the venue gives no number: https://docs.kraken.com/api/docs/guides/spot-ratelimits
        messages=Limit(20, 1.0),
        # "Approximately 150 attempts per rolling 10 minutes", then the address is banned for as long:
        # https://support.kraken.com/articles/360022326871-kraken-websocket-api-frequently-asked-questions
        connects=Limit(150, 600.0),
        ban_seconds=600.0,
        # https://docs.kraken.com/api/docs/guides/spot-rest-ratelimits: one a second, public endpoints.
        rest=Limit(1, 1.0),
        rest_refusal=_kraken_refusal,
    ),
    "coinbase": Limits(
        # "Requests per second per IP: 8" (bursts to 20), 100 messages a second and address:
        # https://docs.cdp.coinbase.com/exchange/websocket-feed/rate-limits. What becomes of more it does not say.
        connects=Limit(8, 1.0),
        messages=Limit(100, 1.0),
        messages_by_address=True,
        # Bursts to 15: https://docs.cdp.coinbase.com/exchange/rest-api/rate-limits
        rest=Limit(10, 1.0),
    ),
    "binance": _BINANCE,
    # https://docs.binance.us/#websocket-limits and https://docs.binance.us/#rate-limits-rest; of connects it says
    # nothing, so Binance's number stands.
    "binance_us": Limits(
        messages=_BINANCE.messages,
        pings_count=True,
        connects=_BINANCE.connects,
        life_seconds=_BINANCE.life_seconds,
        rest=Limit(1200, 60.0),
        rest_weight=partial(depth_weight, weights=BINANCE_US_WEIGHTS),
        rest_refusal=binance.rest_refusal,
        used_header="X-MBX-USED-WEIGHT-1M",
        patience=_BINANCE.patience,
    ),
}


def limits_of(venue: str) -> Limits:
    """Return the limits of ``venue``: from the table above, or ``LIMITS`` of the ``simulator.py`` in its folder."""
    known = LIMITS.get(venue)
    if known is not None:
        return known
    found: Limits = getattr(part(venue, "simulator"), "LIMITS", Limits())
    return found
