"""Binance.US's spelling of symbols: Binance's, but with quotes in USD and without TUSD."""

from __future__ import annotations

from producers.binance.symbols import join, split

QUOTES = frozenset(("USDT", "USD", "USDC", "BUSD", "DAI", "BTC", "ETH", "BNB"))


def canonical(venue_symbol: str) -> str:
    """Return our name of Binance.US's ``venue_symbol``: ``BTCUSD`` → ``BTC-USD``.

    Raises:
        ValueRefused: it ends in no quote asset that Binance.US has.
    """
    return split(venue_symbol, QUOTES, "Binance.US")


def venue_symbol(canonical: str) -> str:
    """Return Binance.US's name of our symbol ``canonical``: ``BTC-USD`` → ``BTCUSD``.

    Raises:
        ValueRefused: it is no pair.
    """
    return join(canonical)
