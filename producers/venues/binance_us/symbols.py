"""Binance.US's symbols: spelled like Binance's, with other quote assets: US dollars, and no ``TUSD``.

With Binance's list ``BATUSD`` would be ``BA-TUSD``. https://docs.binance.us/#get-exchange-information
"""

from __future__ import annotations

from producers.venues.binance.symbols import split_symbol, venue_symbol

__all__ = ["canonical_symbol", "venue_symbol"]

QUOTES = ("USD", "USD4", "USDT", "USDC", "BUSD", "DAI", "BTC", "ETH", "BNB")
_END_IN_B = frozenset({"ARB", "BNB", "SHIB"})
"""Base assets quoted in USD although ``BUSD`` matches too: ``BNBUSD`` is BNB in US dollars."""


def canonical_symbol(name: str) -> str:
    """Return the canonical symbol of Binance.US's ``name``: ``BTCUSD`` → ``BTC-USD``.

    Raises:
        ValueRefused: no known quote asset at its end.
    """
    return split_symbol(name, QUOTES, _END_IN_B)
