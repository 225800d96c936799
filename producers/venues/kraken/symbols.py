"""Kraken's symbols: ``BTC/USD``; two assets also have older names.

https://docs.kraken.com/api/docs/guides/spot-ws-intro/#symbols
"""

from __future__ import annotations

from alphapulse.errors import ValueRefused
from alphapulse.instruments import check_symbol

_OLD_NAMES = {"XBT": "BTC", "XDG": "DOGE"}


def venue_symbol(symbol: str) -> str:
    """Return Kraken's spelling of a canonical symbol: ``BTC-USD`` → ``BTC/USD``.

    Raises:
        ValueRefused: not a pair.
    """
    base, dash, quote = check_symbol(symbol).partition("-")
    if not dash:
        raise ValueRefused(f"not a pair: {symbol!r} (BASE-QUOTE)")
    return f"{base}/{quote}"


def canonical_symbol(name: str) -> str:
    """Return the canonical symbol of Kraken's ``name``: ``XBT/USD``, ``BTC/USD`` → ``BTC-USD``.

    Raises:
        ValueRefused: not a symbol of Kraken.
    """
    base, slash, quote = name.partition("/")
    if not slash or "-" in name:
        raise ValueRefused(f"not a Kraken symbol: {name[:80]!r} (BASE/QUOTE)")
    return check_symbol(f"{_OLD_NAMES.get(base, base)}-{_OLD_NAMES.get(quote, quote)}")
