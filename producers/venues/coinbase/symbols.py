"""Coinbase's product ids equal the canonical symbols: ``BTC-USD``.

https://docs.cdp.coinbase.com/exchange/reference/exchangerestapi_getproducts
"""

from __future__ import annotations

from alphapulse.errors import ValueRefused
from alphapulse.instruments import check_symbol


def venue_symbol(symbol: str) -> str:
    """Return the product id of a canonical symbol.

    Raises:
        ValueRefused: not a pair.
    """
    if "-" not in check_symbol(symbol):
        raise ValueRefused(f"not a pair: {symbol!r} (BASE-QUOTE)")
    return symbol


def canonical_symbol(name: str) -> str:
    """Return the canonical symbol of a product id.

    Raises:
        ValueRefused: not a product id.
    """
    return venue_symbol(name)
