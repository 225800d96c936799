"""Bitstamp's symbols have neither separator nor capitals: ``btcusd``. The quote asset is told by the longest ending.

https://www.bitstamp.net/api/#tag/Market-info/operation/GetTradingPairsInfo
"""

from __future__ import annotations

from typing import Final

from alphapulse.errors import ValueRefused
from alphapulse.instruments import check_symbol

QUOTES: Final = ("rlusd", "usdc", "usdt", "usd", "eur", "gbp", "btc", "eth", "pax")


def venue_symbol(symbol: str) -> str:
    """Return Bitstamp's spelling of a canonical symbol: ``BTC-USD`` → ``btcusd``.

    Raises:
        ValueRefused: it names no pair.
    """
    base, dash, quote = check_symbol(symbol).partition("-")
    if not dash:
        raise ValueRefused(f"not a pair: {symbol!r} (BASE-QUOTE)")
    return (base + quote).lower()


def canonical_symbol(name: str) -> str:
    """Return the canonical symbol of Bitstamp's: ``btcusd`` → ``BTC-USD``.

    Raises:
        ValueRefused: it has capitals or a separator (``btcusd-perp``), or ends in no known quote asset.
    """
    quote = next((quote for quote in QUOTES if name.endswith(quote) and name != quote), None)
    if quote is None or name != name.lower() or not name.isalnum():
        raise ValueRefused(f"not a Bitstamp market with a known quote asset: {name[:80]!r}")
    return check_symbol(f"{name.removesuffix(quote)}-{quote}".upper())
