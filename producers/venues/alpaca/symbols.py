"""Alpaca's symbols are tickers, like the canonical ones: ``AAPL``, ``BRK.B``.

https://docs.alpaca.markets/docs/real-time-stock-pricing-data
"""

from __future__ import annotations

from alphapulse.errors import ValueRefused
from alphapulse.instruments import check_symbol


def venue_symbol(symbol: str) -> str:
    """Return Alpaca's spelling of a canonical symbol.

    Raises:
        ValueRefused: not a ticker.
    """
    if "-" in check_symbol(symbol):
        raise ValueRefused(f"not a ticker: {symbol!r} (a US equity's, such as AAPL)")
    return symbol


def canonical_symbol(name: str) -> str:
    """Return the canonical symbol of Alpaca's ``name``.

    Raises:
        ValueRefused: not a ticker.
    """
    return venue_symbol(name)
