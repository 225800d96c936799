"""Markets that demos simulate unless told otherwise."""

from __future__ import annotations

from typing import Final

VENUES: Final = "kraken,coinbase,binance_us"
SYMBOLS: Final = "BTC-USD,ETH-USD,SOL-USD"
