"""Binance's symbols, without a separator: ``BTCUSDT``. The quote asset is the longest known suffix.

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

MARKETS = ("binance_futures", "binance_delivery")
"""The exchange's markets that no collector has: their names follow the same rules (files of vendors have them)."""


def venue_symbol(symbol: str) -> str:
    """Return Binance's spelling of a canonical symbol: ``BTC-USDT`` → ``BTCUSDT``.

    Raises:
        ValueRefused: not a pair.
    """
    base, dash, quote = check_symbol(symbol).partition("-")
    if not dash:
        raise ValueRefused(f"not a pair: {symbol!r} (BASE-QUOTE)")
    return base + quote


def canonical_symbol(name: str) -> str:
    """Return the canonical symbol of Binance's ``name``: ``BTCUSDT`` → ``BTC-USDT``.

    Raises:
        ValueRefused: no known quote asset at its end.
    """
    return split_symbol(name, QUOTES)


def split_symbol(name: str, quotes: Sequence[str], whole: Collection[str] = ()) -> str:
    """Return the canonical symbol of ``name``: the quote asset is the longest of ``quotes`` that is its suffix.

    Args:
        name: as the venue spells it.
        quotes: the venue's quote assets.
        whole: base assets that stay whole although a longer quote asset matches (``BNB`` of ``BNBUSD``).

    Raises:
        ValueRefused: none of them is its suffix.
    """
    endings = {quote: name.removesuffix(quote) for quote in quotes if name.endswith(quote) and name != quote}
    quote = max((quote for quote in endings if endings[quote] in whole), key=len, default=None)
    quote = quote or max(endings, key=len, default=None)
    if quote is None or "-" in name:
        raise ValueRefused(f"not a Binance symbol with a known quote asset: {name[:80]!r}")
    return check_symbol(f"{endings[quote]}-{quote}")
