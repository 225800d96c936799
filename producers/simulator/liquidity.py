"""How liquid a market is: spread, distances between levels and their sizes, by asset, quote asset and venue. Pure.

One number, the *thinness*, orders markets from BTC-USDT on Binance (0) to an altcoin in a small currency (4 and more).
It is the sum of what base, quote and venue add. What follows from it is at either end what the recordings show
(docs/simulated-market.md), and interpolated on a logarithmic scale in between.
"""

from __future__ import annotations

import random
from array import array
from dataclasses import dataclass
from typing import Final

from producers.registry import part

_MOST_THINNESS: Final = 4.3

_BASES: Final = {"BTC": 0.0, "ETH": 0.5, "SOL": 1.2, "XRP": 1.4, "DOGE": 1.6, "ADA": 1.8, "LTC": 2.0, "SHIB": 2.0}
_OTHER_BASES: Final = (3.4, 4.2)
_STOCKS: Final = (1.0, 2.5)
_CURRENCY: Final = 1.0
_QUOTES: Final = {"USDT": 0.0, "USD": 0.0, "USDC": 0.1, "EUR": 0.4, "GBP": 0.8, "BTC": 0.8, "ETH": 1.0}
_OTHER_QUOTE: Final = 3.5
_CURRENCIES: Final = frozenset({"USD", "USDT", "USDC", "EUR", "GBP", "CHF", "JPY", "AUD", "CAD"})

_SECOND_VOLATILITY: Final = 0.7e-4


@dataclass(frozen=True, slots=True)
class VenueMarket:
    """What is a venue's own about all its markets.

    Attributes:
        thinness: added to that of the symbol.
        latency_ns: the shortest and the longest time that news of a price take to it; each instrument has its own.
        price_decimals: at most so many where the price is 10,000 or more.
        size_decimals: of all sizes; None: as many as a usual size needs.
    """

    thinness: float = 0.5
    latency_ns: tuple[int, int] = (40_000_000, 160_000_000)
    price_decimals: int = 2
    size_decimals: int | None = None


def venue_market(venue: str) -> VenueMarket:
    """Return what is the venue's own: ``MARKET`` of the ``simulator.py`` in its folder; without it, an average one."""
    found: VenueMarket = getattr(part(venue, "simulator"), "MARKET", VenueMarket())
    return found


@dataclass(frozen=True, slots=True)
class Liquidity:
    """A market's usual shape. Prices are relative: 1e-4 is a basis point.

    Attributes:
        spread: between best bid and best ask, where the tick allows it.
        gap: between two levels next to the best price.
        growth: levels behind the best after which the distance from it is twice what ``gap`` alone would make it.
        power: by which it grows further.
        touch: size at the best price, as a multiple of the other levels'.
        notional: value of a usual level, in dollars.
    """

    spread: float
    gap: float
    growth: float
    power: float
    touch: float
    notional: float


def liquidity(symbol: str, venue: VenueMarket) -> Liquidity:
    """Return the shape of the market for ``symbol`` on ``venue``."""
    base, _, quote = symbol.partition("-")
    thinness = min(_thinness(base, quote) + venue.thinness, _MOST_THINNESS)
    part_thin = thinness / 4.0
    return Liquidity(
        spread=0.001e-4 * 10.0**thinness,
        gap=0.05e-4 * 40.0**part_thin,
        growth=80.0 - 40.0 * part_thin,
        power=2.0 - part_thin,
        touch=10.0 ** (1.0 - part_thin),
        notional=8_000.0 * 10.0**-part_thin,
    )


def distances(shape: Liquidity, ticks: float, count: int) -> array[int]:
    """Return how many ticks the levels of a side are usually away from its best, level by level, from 0 on.

    Args:
        shape: of the book.
        ticks: the price.
        count: of levels.
    """
    gap = shape.gap * ticks
    found, away = array("q"), 0
    for place in range(count):
        usual = gap * place * (1.0 + (place / shape.growth) ** shape.power)
        away = max(round(usual), away + 1) if place else 0
        found.append(away)
    return found


def _thinness(base: str, quote: str) -> float:
    """Return what the symbol adds; the quote is empty for a stock."""
    own = random.Random(f"{base}/thinness").uniform  # noqa: S311 a simulation
    if not quote:
        return own(*_STOCKS)
    if base in _CURRENCIES:
        return _CURRENCY + _QUOTES.get(quote, _OTHER_QUOTE)
    found = _BASES[base] if base in _BASES else own(*_OTHER_BASES)
    return found + _QUOTES.get(quote, _OTHER_QUOTE)


def volatility(symbol: str) -> float:
    """Return the usual standard deviation of the log price after a second; 1e-4 is 56 % a year."""
    base, _, quote = symbol.partition("-")
    if base in _CURRENCIES and quote in _CURRENCIES:
        return _SECOND_VOLATILITY / 10.0
    return _SECOND_VOLATILITY * (1.0 + 0.3 * _BASES.get(base, 3.0))
