"""OKX's spot instrument ids equal the canonical symbols: ``BTC-USDT``.

https://www.okx.com/docs-v5/en/#public-data-rest-api-get-instruments
"""

from __future__ import annotations

from alphapulse.errors import ValueRefused
from alphapulse.instruments import check_symbol


def venue_symbol(symbol: str) -> str:
    """Return the instrument id of a canonical symbol.

    Raises:
        ValueRefused: not a pair.
    """
    if "-" not in check_symbol(symbol):
        raise ValueRefused(f"not a pair: {symbol!r} (BASE-QUOTE)")
    return symbol


def canonical_symbol(name: str) -> str:
    """Return the canonical symbol of an instrument id.

    Raises:
        ValueRefused: not a spot instrument, such as ``BTC-USDT-SWAP``.
    """
    return venue_symbol(name)
