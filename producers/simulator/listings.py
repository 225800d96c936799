"""What is traded where in the simulation: symbols, prices to start from, precisions."""

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
    # Of about the day of the recording of Binance; other assets get a price that follows from their name.
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
_OTHER_MAGNITUDES: Final = (-3.0, 3.0)  # of a price that follows from the name
_STOCK_MAGNITUDES: Final = (1.0, 2.7)
_STOCK_DECIMALS: Final = 2
_MOST_DECIMALS: Final = 8  # of venues' prices and sizes
_LEAST_DIGITS: Final = 4  # of a price, though it takes more decimals than that
_SIZE_DIGITS: Final = 14  # of a usual size at most, so that the greatest fits 64 bits by far


@dataclass(frozen=True, slots=True)
class SimulatedListing:
    """One symbol on one venue.

    Prices and sizes of the simulation are integers: multiples of ``10**-price_decimals`` (the tick) and of
    ``10**-size_decimals`` (the lot). The two floats only say where the simulation starts.

    Attributes:
        venue_symbol: the venue's spelling.
        start_price: in the quote asset.
        unit_size: of a usual level, in the base asset.
        liquidity: the shape of the book.
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
        """Return a price as the venue writes it, with ``decimals`` places (as many as the tick has, or more)."""
        return fixed_text(ticks, self.price_decimals, decimals)

    def size_text(self, lots: int, decimals: int | None = None) -> str:
        """Return a size as the venue writes it."""
        return fixed_text(lots, self.size_decimals, decimals)


def fixed_text(mantissa: int, decimals: int, shown: int | None = None) -> str:
    """Return ``mantissa × 10**-decimals`` with all its decimals, zeros included, padded to ``shown``."""
    if decimals == 0:
        text = str(mantissa) + "." if shown else str(mantissa)
    else:
        digits = str(mantissa).rjust(decimals + 1, "0")
        text = f"{digits[:-decimals]}.{digits[-decimals:]}"
    return text + "0" * ((shown or decimals) - decimals)


def make_listings(venues: Iterable[str], symbols: Iterable[str]) -> list[SimulatedListing]:
    """Return the listings of every symbol on every venue.

    Raises:
        ValueRefused: an unknown venue, or a symbol that is no pair.
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
    # A tick of about a basis point or less, as venues choose it, but of no more than eight decimals: the tick of a
    # SHIB is then some basis points wide, as it is in life.
    usual = min(max(2 if magnitude < 4 else own.price_decimals, 4 - magnitude), _MOST_DECIMALS)
    price_decimals = max(usual, _LEAST_DIGITS - 1 - magnitude) if quote else _STOCK_DECIMALS
    unit = shape.notional / dollars
    digits = math.floor(math.log10(unit)) + 1
    size_decimals = max(0, 5 - digits) if own.size_decimals is None else own.size_decimals
    size_decimals = max(min(size_decimals, _MOST_DECIMALS, _SIZE_DIGITS - digits), 0)
    return SimulatedListing(venue, symbol, venue_symbol, price_decimals, size_decimals, price, unit, shape)


def _dollars(asset: str, magnitudes: tuple[float, float] = _OTHER_MAGNITUDES) -> float:
    """Return what one of ``asset`` costs in dollars."""
    known = _DOLLARS.get(asset)
    return known if known is not None else 10.0 ** random.Random(asset).uniform(*magnitudes)  # noqa: S311
