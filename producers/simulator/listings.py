"""Listings of the simulation: symbols, start prices, precisions."""

from __future__ import annotations

import math
import random
from collections.abc import Iterable
from dataclasses import dataclass
from importlib import import_module
from typing import Final

from alphapulse.instruments import check_symbol
from producers.simulator.liquidity import Liquidity, liquidity, venue_market
from producers.venue_server.dialects import dialect

_DOLLARS: Final = {
    # From about the day of the recording of Binance; other assets get a price derived from their name.
    "BTC": 61_800.0,
    "ETH": 2_650.0,
    "SOL": 152.0,
    "XRP": 0.57,
    "DOGE": 0.107,
    "ADA": 0.34,
    "LTC": 62.0,
    "SHIB": 0.0000138,
    "USD": 1.0,
    "USDT": 1.0,
    "USDC": 1.0,
    "EUR": 1.08,
    "GBP": 1.27,
    "CHF": 1.15,
    "JPY": 0.0068,
    "AUD": 0.66,
    "CAD": 0.73,
}
_OTHER_MAGNITUDES: Final = (-3.0, 3.0)  # of a price derived from the name
_STOCK_MAGNITUDES: Final = (1.0, 2.7)
_STOCK_DECIMALS: Final = 2
_MOST_DECIMALS: Final = 8  # of venues' prices and sizes
_LEAST_DIGITS: Final = 4  # minimum digits of a price, even if it then needs more decimals
_SIZE_DIGITS: Final = 14  # maximum digits of a usual size, so that the largest fits 64 bits


@dataclass(frozen=True, slots=True)
class SimulatedListing:
    """One symbol on one venue.

    Prices and sizes are integers: multiples of ``10**-price_decimals`` (the tick) and of ``10**-size_decimals`` (the
    lot). The two floats are only start values.

    Attributes:
        venue_symbol: the venue's spelling.
        start_price: in the quote asset.
        unit_size: size of a usual level, in the base asset.
        liquidity: shape of the book.
    """

    venue: str
    symbol: str
    venue_symbol: str
    price_decimals: int
    size_decimals: int
    start_price: float
    unit_size: float
    liquidity: Liquidity

    def price_text(self, ticks: int, decimals: int | None = None) -> str:
        """Return a price as the venue writes it, with ``decimals`` places (at least as many as the tick has)."""
        return fixed_text(ticks, self.price_decimals, decimals)

    def size_text(self, lots: int, decimals: int | None = None) -> str:
        """Return a size as the venue writes it."""
        return fixed_text(lots, self.size_decimals, decimals)


def fixed_text(mantissa: int, decimals: int, shown: int | None = None) -> str:
    """Return ``mantissa × 10**-decimals`` with all decimals, zeros included, padded to ``shown``."""
    if decimals == 0:
        text = str(mantissa) + "." if shown else str(mantissa)
    else:
        digits = str(mantissa).rjust(decimals + 1, "0")
        text = f"{digits[:-decimals]}.{digits[-decimals:]}"
    return text + "0" * ((shown or decimals) - decimals)


def make_listings(venues: Iterable[str], symbols: Iterable[str]) -> list[SimulatedListing]:
    """Return the listings of every symbol on every venue.

    Raises:
        ValueRefused: an unknown venue, or a symbol that is not a pair.
    """
    wanted = list(symbols)
    return [_listing(venue, symbol) for venue in venues for symbol in wanted]


def _listing(venue: str, symbol: str) -> SimulatedListing:
    dialect(venue)
    venue_symbol: str = import_module(f"producers.venues.{venue}.symbols").venue_symbol(check_symbol(symbol))
    base, _, quote = symbol.partition("-")
    own = venue_market(venue)
    shape = liquidity(symbol, own)
    dollars = _dollars(base, _OTHER_MAGNITUDES if quote else _STOCK_MAGNITUDES)
    price = dollars / (_dollars(quote) if quote else 1.0)
    magnitude = math.floor(math.log10(price))
    # A tick of about a basis point or less, as venues choose it, but with at most eight decimals: the tick of SHIB is
    # then several basis points wide, as on real venues.
    usual = min(max(2 if magnitude < 4 else own.price_decimals, 4 - magnitude), _MOST_DECIMALS)
    price_decimals = max(usual, _LEAST_DIGITS - 1 - magnitude) if quote else _STOCK_DECIMALS
    unit = shape.notional / dollars
    digits = math.floor(math.log10(unit)) + 1
    size_decimals = max(0, 5 - digits) if own.size_decimals is None else own.size_decimals
    size_decimals = max(min(size_decimals, _MOST_DECIMALS, _SIZE_DIGITS - digits), 0)
    return SimulatedListing(venue, symbol, venue_symbol, price_decimals, size_decimals, price, unit, shape)


def _dollars(asset: str, magnitudes: tuple[float, float] = _OTHER_MAGNITUDES) -> float:
    """Return the price of one ``asset`` in dollars."""
    known = _DOLLARS.get(asset)
    return known if known is not None else 10.0 ** random.Random(asset).uniform(*magnitudes)  # noqa: S311
