"""Binance's symbols have no separator: ``BTCUSDT``. The quote asset is told by the longest known ending.

https://developers.binance.com/docs/binance-spot-api-docs/rest-api/general-endpoints#exchange-information
"""

from __future__ import annotations

from alphapulse.errors import ValueRefused
from alphapulse.instruments import check_symbol

QUOTES = (
    "USDT", "USDC", "FDUSD", "TUSD", "BUSD", "USDP", "USDS", "PAX", "DAI", "USD", "USD1", "RLUSD", "XUSD", "EURI",
    "BTC", "ETH", "BNB", "XRP", "TRX", "DOGE", "DOT", "SOL", "EUR", "GBP", "AUD", "TRY", "BRL", "ARS", "RUB", "UAH",
    "NGN", "ZAR", "PLN", "RON", "CZK", "MXN", "COP", "JPY", "IDRT", "BIDR", "BKRW", "VAI", "UST", "AEUR", "BVND",
)  # fmt: skip


def venue_symbol(symbol: str) -> str:
    """Return Binance's spelling of a canonical symbol: ``BTC-USDT`` → ``BTCUSDT``.

    Raises:
        ValueRefused: it names no pair.
    """
    base, dash, quote = check_symbol(symbol).partition("-")
    if not dash:
        raise ValueRefused(f"not a pair: {symbol!r} (BASE-QUOTE)")
    return base + quote


def canonical_symbol(name: str) -> str:
    """Return the canonical symbol of Binance's: ``BTCUSDT`` → ``BTC-USDT``.

    Raises:
        ValueRefused: it ends in no known quote asset.
    """
    quote = max((quote for quote in QUOTES if name.endswith(quote) and name != quote), key=len, default=None)
    if quote is None or "-" in name:
        raise ValueRefused(f"not a Binance symbol with a known quote asset: {name[:80]!r}")
    return check_symbol(f"{name.removesuffix(quote)}-{quote}")
