"""Coinbase's product ids equal the canonical symbols: ``BTC-USD``. One book may have two of them.

https://docs.cdp.coinbase.com/coinbase-app/advanced-trade-apis/websocket/websocket-channels
"""

from __future__ import annotations

from producers.venues.coinbase.symbols import canonical_symbol, venue_symbol

__all__ = ["canonical_symbol", "sent_as", "venue_symbol"]

_OWN_BOOK = frozenset({"USDT-USDC", "EURC-USDC"})


def sent_as(product: str) -> str:
    """Return the product id under which the venue sends ``product``: for ``BTC-USDC`` that is ``BTC-USD``."""
    base, _, quote = product.partition("-")
    return f"{base}-USD" if quote == "USDC" and product not in _OWN_BOOK else product
