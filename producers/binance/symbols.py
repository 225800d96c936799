"""Binance's spelling of symbols: ``BTCUSDT``, base and quote without a mark between them.

Where base ends follows from the quote assets that the venue has. Where two of them fit, the longer one is meant
(``BTCTUSD`` is BTC-TUSD: Binance quotes nothing in plain USD).
"""

from __future__ import annotations

from collections.abc import Collection

from alphapulse.errors import ValueRefused
from alphapulse.instruments import check_symbol

_STABLE = ("USDT", "USDC", "FDUSD", "TUSD", "BUSD", "USDP", "USD1", "USDE", "USDS", "PAX", "DAI", "UST", "VAI")
_COINS = ("BTC", "ETH", "BNB", "XRP", "TRX", "DOGE", "DOT", "SOL", "IDRT", "BIDR", "BVND", "BKRW")
_MONEY = ("EUR", "GBP", "AUD", "BRL", "TRY", "RUB", "UAH", "NGN", "ZAR", "PLN", "RON", "ARS", "JPY", "CZK", "MXN")
QUOTES = frozenset((*_STABLE, *_COINS, *_MONEY, "COP", "IDR"))


def canonical(venue_symbol: str) -> str:
    """Return our name of Binance's ``venue_symbol``: ``BTCUSDT`` → ``BTC-USDT``.

    Raises:
        ValueRefused: it ends in no quote asset that Binance has.
    """
    return split(venue_symbol, QUOTES, "Binance")


def venue_symbol(canonical: str) -> str:
    """Return Binance's name of our symbol ``canonical``: ``BTC-USDT`` → ``BTCUSDT``.

    Raises:
        ValueRefused: it is no pair.
    """
    return join(canonical)


def split(venue_symbol: str, quotes: Collection[str], venue: str) -> str:
    """Return ``BASE-QUOTE`` of a symbol without a mark between them, by the longest of ``quotes`` it ends in.

    Raises:
        ValueRefused: none of them fits.
    """
    for length in range(len(venue_symbol) - 1, 0, -1):
        base, quote = venue_symbol[:-length], venue_symbol[-length:]
        if quote in quotes:
            return check_symbol(f"{base}-{quote}")
    raise ValueRefused(f"not a {venue} symbol: {venue_symbol[:80]!r} (BASEQUOTE with a quote asset that is known)")


def join(canonical: str) -> str:
    """Return ``BASEQUOTE`` of our symbol ``canonical``.

    Raises:
        ValueRefused: it is no pair.
    """
    base, dash, quote = check_symbol(canonical).partition("-")
    if not dash:
        raise ValueRefused(f"not a pair: {canonical[:80]!r} (BASE-QUOTE)")
    return base + quote
