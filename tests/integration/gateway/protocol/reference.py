"""A market that the test publishes, and its book at every (epoch, sequence), computed apart from the product."""

from __future__ import annotations

import random
import time
from collections.abc import Sequence
from typing import Any

from schemas.records import Depth, L2Update, Record, Trade
from tests.fixtures import market
from tests.fixtures.records import L2

LEVELS = 30
DEPTH = 20
PRICE_DECIMALS, SIZE_DECIMALS = 2, 3

Levels = list[tuple[str, str]]
Numbers = tuple[str, int]
"""(epoch, sequence)"""


def text_of(mantissa: int, decimals: int) -> str:
    """Return mantissa / 10^decimals as the stream writes it: no trailing zeros."""
    whole, fraction = divmod(mantissa, 10**decimals)
    digits = f"{fraction:0{decimals}d}".rstrip("0")
    return f"{whole}.{digits}" if digits else str(whole)


class PublishedMarket:
    """A seeded walk of one instrument's book, its records, and every state it had.

    Attributes:
        books: the whole valid book, bids and asks best first, by (epoch, sequence).
        numbers: of the last record.
        trade: number of the last trade; trades are numbered from 1 on without holes.
    """

    def __init__(self, venue: str, symbol: str, seed: int) -> None:
        self.venue = venue
        self.symbol = symbol
        self.books: dict[Numbers, tuple[Levels, Levels]] = {}
        self.trade = 0
        self._chance = random.Random(seed)
        self._epoch = time.time_ns()
        self._sequence = 0
        self._sides: tuple[dict[int, int], dict[int, int]] = ({}, {})

    @property
    def numbers(self) -> Numbers:
        return str(self._epoch), self._sequence

    def begin(self) -> list[Record]:
        """Return the records of a new epoch's beginning: the whole book."""
        self._epoch += 10**9
        self._sequence = 0
        self._sides = (
            {100_000 - n: self._size() for n in range(1, LEVELS + 1)},
            {100_000 + n: self._size() for n in range(1, LEVELS + 1)},
        )
        self._note()
        return [self._l2("SNAPSHOT", *self._sides), self._depth()]

    def end(self) -> list[Record]:
        """Return the records with which the collector says that it doubts the book."""
        self._sequence += 1
        return [self._l2("INVALID", {}, {}), self._depth(valid=False)]

    def move(self) -> list[Record]:
        """Return the records of one change: levels, and sometimes a trade."""
        self._sequence += 1
        changes: tuple[dict[int, int], dict[int, int]] = ({}, {})
        for side, change, worse in zip(self._sides, changes, (-1, 1), strict=True):
            prices = sorted(side, key=lambda price: price * worse)
            for price in {prices[0] if self._chance.random() < 0.4 else self._chance.choice(prices)}:
                # One that leaves makes room for another at the far end, or comes back at a better price.
                change[price] = 0 if self._chance.random() < 0.4 and len(side) > DEPTH + 2 else self._size()
            if len(side) < LEVELS:
                change[prices[0] - worse if self._chance.random() < 0.3 else prices[-1] + worse] = self._size()
        self._uncross(changes)
        for side, change in zip(self._sides, changes, strict=True):
            for price, size in change.items():
                if size:
                    side[price] = size
                else:
                    side.pop(price, None)
        self._note()
        records: list[Record] = [self._l2("DELTA", *changes), self._depth()]
        if self._chance.random() < 0.5:
            self.trade += 1
            records.append(self._trade())
        return records

    def _uncross(self, changes: tuple[dict[int, int], dict[int, int]]) -> None:
        """Drop new levels that would cross the book."""
        best_bid, best_ask = max(self._sides[0]), min(self._sides[1])
        for price in [price for price in changes[0] if price >= best_ask]:
            del changes[0][price]
        for price in [price for price in changes[1] if price <= best_bid]:
            del changes[1][price]
        if changes[0] and changes[1] and max(changes[0]) >= min(changes[1]):
            changes[0].clear()

    def _size(self) -> int:
        return self._chance.randint(1, 9_999)

    def _note(self) -> None:
        bids, asks = self._sides
        self.books[self.numbers] = (
            [self._level(price, bids[price]) for price in sorted(bids, reverse=True)],
            [self._level(price, asks[price]) for price in sorted(asks)],
        )

    @staticmethod
    def _level(price: int, size: int) -> tuple[str, str]:
        return text_of(price, PRICE_DECIMALS), text_of(size, SIZE_DECIMALS)

    def _common(self) -> dict[str, Any]:
        numbers: dict[str, Any] = {
            "venue": self.venue,
            "symbol": self.symbol,
            "epoch": self._epoch,
            "sequence": self._sequence,
        }
        return numbers | {
            "exchange_time": time.time_ns(),
            "received_time": time.time_ns(),
            "price_exponent": -PRICE_DECIMALS,
            "size_exponent": -SIZE_DECIMALS,
        }

    def _l2(self, kind: str, bids: dict[int, int], asks: dict[int, int]) -> L2Update:
        fields = L2.__dict__ | self._common() | {"kind": kind, "checksum": None}
        sides = {"bid_prices": list(bids), "bid_sizes": list(bids.values())}
        sides |= {"ask_prices": list(asks), "ask_sizes": list(asks.values())}
        return L2Update(**fields | sides)

    def _depth(self, *, valid: bool = True) -> Depth:
        bids, asks = self._sides
        best = (
            [(price, bids[price]) for price in sorted(bids, reverse=True)[:DEPTH]] if valid else [],
            [(price, asks[price]) for price in sorted(asks)[:DEPTH]] if valid else [],
        )
        return market.depth(best[0], best[1], valid=valid, **self._common())

    def _trade(self) -> Trade:
        common = self._common()
        del common["epoch"], common["sequence"]
        return market.trade(str(self.trade), price=100_000, size=self._size(), **common)


def best(levels: Sequence[tuple[str, str]], count: int | None) -> Levels:
    """Return the best ``count`` levels; None: all."""
    return list(levels if count is None else levels[:count])
