"""What is traded where in the simulation: symbols, prices to start from, precisions."""

from __future__ import annotations

import math
import random
from collections.abc import Iterable
from dataclasses import dataclass
from importlib import import_module

from alphapulse.instruments import check_symbol
from producers.endpoint.dialects import dialect

_PRICES = {
    "BTC": 61_800.0,
    "ETH": 2_650.0,
    "SOL": 152.0,
    "XRP": 0.57,
    "DOGE": 0.107,
    "ADA": 0.34,
    "LTC": 62.0,
    "SHIB": 0.0000138,
}
"""In dollars, of about the day of the recordings; other assets get a price that follows from their name."""

_QUOTES = {"USD": 1.0, "USDT": 1.0, "USDC": 1.0, "EUR": 1.08, "GBP": 1.27, **_PRICES}

_LEVEL_NOTIONAL = 2_500.0
"""A usual level is worth this much, in the quote asset."""

_SIZE_DECIMALS = {"kraken": 8, "coinbase": 8}


@dataclass(frozen=True, slots=True)
class Listing:
    """One symbol on one venue.

    Prices and sizes of the simulation are integers: multiples of ``10**-price_decimals`` (the tick) and of
    ``10**-size_decimals`` (the lot). The two floats only say where the simulation starts.

    Attributes:
        venue_symbol: the venue's spelling.
        start_price: in the quote asset.
        unit_size: of a usual level, in the base asset.
    """

    venue: str
    symbol: str
    venue_symbol: str
    price_decimals: int
    size_decimals: int
    start_price: float
    unit_size: float

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


def make_listings(venues: Iterable[str], symbols: Iterable[str]) -> list[Listing]:
    """Return the listings of every symbol on every venue.

    Raises:
        ValueRefused: an unknown venue, or a symbol that is no pair.
    """
    wanted = list(symbols)
    return [_listing(venue, symbol) for venue in venues for symbol in wanted]


def _listing(venue: str, symbol: str) -> Listing:
    dialect(venue)
    venue_symbol: str = import_module(f"producers.{venue}.symbols").venue_symbol(check_symbol(symbol))
    base, _, quote = symbol.partition("-")
    price = _PRICES.get(base, random.Random(base).uniform(0.5, 150.0)) / _QUOTES.get(quote, 1.0)  # noqa: S311
    magnitude = math.floor(math.log10(price))
    # A tick of about a basis point or less, as venues choose it; Kraken's is ten times the others' for dear assets.
    price_decimals = max(2 if magnitude < 4 or venue != "kraken" else 1, 4 - magnitude)
    unit = _LEVEL_NOTIONAL / price
    size_decimals = _SIZE_DECIMALS.get(venue, min(8, max(0, 4 - math.floor(math.log10(unit)))))
    return Listing(venue, symbol, venue_symbol, price_decimals, size_decimals, price, unit)
