"""Coinbase's spelling of symbols, which is ours: ``BTC-USD``."""

from __future__ import annotations

from alphapulse.errors import ValueRefused
from alphapulse.instruments import check_symbol


def canonical(venue_symbol: str) -> str:
    """Return our name of Coinbase's product ``venue_symbol``.

    Raises:
        ValueRefused: it is no product's name.
    """
    base, dash, quote = check_symbol(venue_symbol).partition("-")
    if not (base and dash and quote):
        raise ValueRefused(f"not a Coinbase product: {venue_symbol[:80]!r} (BASE-QUOTE)")
    return venue_symbol


def venue_symbol(canonical: str) -> str:
    """Return Coinbase's name of our symbol ``canonical``.

    Raises:
        ValueRefused: it is no pair.
    """
    if "-" not in check_symbol(canonical):
        raise ValueRefused(f"not a pair: {canonical[:80]!r} (BASE-QUOTE)")
    return canonical
