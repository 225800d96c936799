"""Binance's symbols have no separator: ``BTCUSDT``. The quote asset is told by the longest known ending.

https://developers.binance.com/docs/binance-spot-api-docs/rest-api/general-endpoints#exchange-information
"""

from __future__ import annotations

from collections.abc import Collection, Sequence

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
    return split_symbol(name, QUOTES)


def split_symbol(name: str, quotes: Sequence[str], whole: Collection[str] = ()) -> str:
    """Return the canonical symbol of ``name``: its quote asset is the longest of ``quotes`` it ends in.

    Args:
        name: as the venue spells it.
        quotes: the venue's quote assets.
        whole: base assets that no quote may take a letter from, though the longest one would (``BNB`` of ``BNBUSD``).

    Raises:
        ValueRefused: it ends in none of them.
    """
    endings = {quote: name.removesuffix(quote) for quote in quotes if name.endswith(quote) and name != quote}
    quote = max((quote for quote in endings if endings[quote] in whole), key=len, default=None)
    quote = quote or max(endings, key=len, default=None)
    if quote is None or "-" in name:
        raise ValueRefused(f"not a Binance symbol with a known quote asset: {name[:80]!r}")
    return check_symbol(f"{endings[quote]}-{quote}")
