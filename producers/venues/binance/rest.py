"""Weights of Binance's REST requests.

https://developers.binance.com/docs/binance-spot-api-docs/rest-api/market-data-endpoints#order-book
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final
from urllib.parse import parse_qs

_DEFAULT_DEPTH: Final = 100
OTHERS: Final = 20.0
"""The list of instruments, the heaviest of the other requests sent."""


def depth_weight(path: str, *, weights: Sequence[tuple[int, float]]) -> float:
    """Return the weight of a request; ``weights`` are (maximum limit, weight) pairs, limits ascending."""
    place, _, query = path.partition("?")
    if not place.endswith("/depth"):
        return OTHERS
    limit = int(parse_qs(query).get("limit", [str(_DEFAULT_DEPTH)])[0])
    return next((weight for most, weight in weights if limit <= most), weights[-1][1])
