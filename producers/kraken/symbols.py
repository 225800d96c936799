"""Kraken's spelling of symbols: ``BTC/USD``; older data says XBT for BTC and XDG for DOGE."""

from __future__ import annotations

from alphapulse.errors import ValueRefused
from alphapulse.instruments import check_symbol

_OURS = {"XBT": "BTC", "XDG": "DOGE"}


def canonical(venue_symbol: str) -> str:
    """Return our name of Kraken's ``venue_symbol``: ``XBT/USD`` → ``BTC-USD``.

    Raises:
        ValueRefused: it is no pair of Kraken's.
    """
    base, slash, quote = venue_symbol.partition("/")
    if not (base and slash and quote):
        raise ValueRefused(f"not a Kraken symbol: {venue_symbol[:80]!r} (BASE/QUOTE)")
    return check_symbol(f"{_OURS.get(base, base)}-{_OURS.get(quote, quote)}")


def venue_symbol(canonical: str) -> str:
    """Return Kraken's name (WebSocket v2) of our symbol ``canonical``: ``BTC-USD`` → ``BTC/USD``.

    Raises:
        ValueRefused: it is no pair.
    """
    base, dash, quote = check_symbol(canonical).partition("-")
    if not dash:
        raise ValueRefused(f"not a pair: {canonical[:80]!r} (BASE-QUOTE)")
    return f"{base}/{quote}"
