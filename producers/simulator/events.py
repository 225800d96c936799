"""Events of the simulated market. Prices and sizes are integers, in ticks and lots of their listing."""

from __future__ import annotations

from typing import Literal

from msgspec import Struct

from producers.simulator.listings import SimulatedListing

Level = tuple[int, int]
"""(price in ticks, size in lots); a size of 0 removes the level."""


class SimulatedTrade(Struct, frozen=True):
    """One match: ``side`` is the aggressor's; ids increase by one per instrument."""

    trade_id: int
    side: Literal["buy", "sell"]
    price: int
    size: int


class Trades(Struct, frozen=True):
    """Matches of one aggressive order, level by level."""

    listing: SimulatedListing
    time_ns: int
    trades: tuple[SimulatedTrade, ...]


class BookChange(Struct, frozen=True):
    """Changed levels, with their new sizes."""

    listing: SimulatedListing
    time_ns: int
    bids: tuple[Level, ...]
    asks: tuple[Level, ...]


Event = Trades | BookChange
