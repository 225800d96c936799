"""Liquidity model: spread, level distances and sizes, by base asset, quote asset and venue. Pure.

One number, the *thinness*, orders markets from BTC-USDT on Binance (0) to an altcoin in a minor currency (4 and more).
It is the sum of contributions of base, quote and venue. The parameters at both ends come from the recordings
(docs/simulated-market.md); between them they are interpolated on a logarithmic scale.
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
    """Properties of a venue's markets.

    Attributes:
        thinness: added to that of the symbol.
        latency_ns: minimum and maximum delay of price news; each instrument has its own.
        price_decimals: maximum where the price is 10,000 or more.
        size_decimals: of all sizes; None: as many as a usual size needs.
    """

    thinness: float = 0.5
    latency_ns: tuple[int, int] = (40_000_000, 160_000_000)
    price_decimals: int = 2
    size_decimals: int | None = None


def venue_market(venue: str) -> VenueMarket:
    """Return ``MARKET`` of the venue's ``simulator.py``; a default without it."""
    found: VenueMarket = getattr(part(venue, "simulator"), "MARKET", VenueMarket())
    return found


@dataclass(frozen=True, slots=True)
class Liquidity:
    """Shape of a market. Prices are relative: 1e-4 is a basis point.

    Attributes:
        spread: between best bid and best ask, where the tick allows it.
        gap: between two levels next to the best price.
        growth: number of levels after which the distance from the best is twice what ``gap`` alone would give.
        power: exponent of the further growth.
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
    """Return the usual distances in ticks of a side's levels from its best price, level by level, starting with 0.

    Args:
        shape: of the book.
        ticks: the price, in ticks.
        count: number of levels.
    """
    gap = shape.gap * ticks
    found, away = array("q"), 0
    for place in range(count):
        usual = gap * place * (1.0 + (place / shape.growth) ** shape.power)
        away = max(round(usual), away + 1) if place else 0
        found.append(away)
    return found


def _thinness(base: str, quote: str) -> float:
    """Return the contribution of the symbol; the quote is empty for a stock."""
    own = random.Random(f"{base}/thinness").uniform  # noqa: S311 a simulation
    if not quote:
        return own(*_STOCKS)
    if base in _CURRENCIES:
        return _CURRENCY + _QUOTES.get(quote, _OTHER_QUOTE)
    found = _BASES[base] if base in _BASES else own(*_OTHER_BASES)
    return found + _QUOTES.get(quote, _OTHER_QUOTE)


def volatility(symbol: str) -> float:
    """Return the usual standard deviation of the log price after a second; 1e-4 is 56 % per year."""
    base, _, quote = symbol.partition("-")
    if base in _CURRENCIES and quote in _CURRENCIES:
        return _SECOND_VOLATILITY / 10.0
    return _SECOND_VOLATILITY * (1.0 + 0.3 * _BASES.get(base, 3.0))
