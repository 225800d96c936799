"""Cache of formatted prices and sizes: near the best price the same numbers recur."""

from __future__ import annotations

from typing import Final

from producers.simulator.listings import SimulatedListing, fixed_text

_REMEMBERED: Final = 1024


class Texts(dict[int, str]):
    """Mapping from a number to its text.

    Args:
        decimals: of the tick or lot.
        shown: decimals that the venue writes, if more.
    """

    __slots__ = ("_decimals", "_padding", "_shown")

    def __init__(self, decimals: int, shown: int | None = None) -> None:
        super().__init__()
        self._decimals = decimals
        self._shown = shown
        self._padding = "0" * ((shown or decimals) - decimals)

    def __missing__(self, mantissa: int) -> str:
        if len(self) >= _REMEMBERED:
            self.clear()
        digits, decimals = str(mantissa), self._decimals
        if decimals and len(digits) > decimals:  # the usual case, and faster
            text = f"{digits[:-decimals]}.{digits[-decimals:]}{self._padding}"
        else:
            text = fixed_text(mantissa, decimals, self._shown)
        self[mantissa] = text
        return text


class Spelling:
    """Formatter of an instrument's prices and sizes.

    Args:
        listing: defines tick and lot.
        shown: decimals that the venue writes of both, if more.
    """

    __slots__ = ("prices", "sizes")

    def __init__(self, listing: SimulatedListing, shown: int | None = None) -> None:
        self.prices = Texts(listing.price_decimals, shown)
        self.sizes = Texts(listing.size_decimals, shown)
