"""The order book against one on ``sortedcontainers.SortedDict``, on the same deltas in the same run.

``python -m tests.benchmarks.bench_book``. A delta is five changes a side around the best price, a third of them
deletes; books are as deep as Kraken's least, Kraken's most and Coinbase's.
"""

from __future__ import annotations

import random
from functools import partial

from sortedcontainers import SortedDict

from alphapulse.book import OrderBook
from tests.benchmarks.stopwatch import microseconds, table

DEPTHS = (10, 1_000, 45_000)
DELTAS = 500
CHANGES = 5
MIDDLE = 6_168_600

Delta = tuple[list[int], list[int], list[int], list[int]]


class SortedSide:
    """One side on a SortedDict; ``sign`` as in :class:`alphapulse.book.BookSide`."""

    def __init__(self, sign: int) -> None:
        self.sign = sign
        self.levels: SortedDict = SortedDict()

    def apply(self, prices: list[int], sizes: list[int]) -> None:
        levels, sign = self.levels, self.sign
        for price, size in zip(prices, sizes, strict=True):
            if size:
                levels[-sign * price] = size
            else:
                levels.pop(-sign * price, None)

    def top(self, depth: int) -> list[tuple[int, int]]:
        sign = self.sign
        return [
            (-sign * key, size) for key, size in zip(self.levels.islice(0, depth), self.levels.values(), strict=False)
        ]

    def best_price(self) -> int:
        return int(-self.sign * self.levels.peekitem(0)[0])


def deltas(depth: int) -> list[Delta]:
    """Return the same deltas each time."""
    chance = random.Random(depth)

    def side(sign: int) -> tuple[list[int], list[int]]:
        away = [min(int(chance.expovariate(1 / 20)), depth) for _ in range(CHANGES)]
        return [MIDDLE - sign * (distance + 1) for distance in away], [chance.choice((0, 5, 7)) for _ in away]

    return [(*side(+1), *side(-1)) for _ in range(DELTAS)]


def main() -> None:
    for depth in DEPTHS:
        feed = deltas(depth)
        bids = [MIDDLE - 1 - n for n in range(depth)]
        asks = [MIDDLE + 1 + n for n in range(depth)]
        sizes = [1] * depth
        ours = OrderBook()
        ours.replace(bids, sizes, asks, sizes)
        sorted_bids, sorted_asks = SortedSide(+1), SortedSide(-1)
        sorted_bids.apply(bids, sizes)
        sorted_asks.apply(asks, sizes)

        def apply_ours(feed: list[Delta] = feed, book: OrderBook = ours) -> None:
            for bid_prices, bid_sizes, ask_prices, ask_sizes in feed:
                book.apply(bid_prices, bid_sizes, ask_prices, ask_sizes)

        def apply_sorted(
            feed: list[Delta] = feed, bids: SortedSide = sorted_bids, asks: SortedSide = sorted_asks
        ) -> None:
            for bid_prices, bid_sizes, ask_prices, ask_sizes in feed:
                bids.apply(bid_prices, bid_sizes)
                asks.apply(ask_prices, ask_sizes)

        apply_ours()
        apply_sorted()
        if [*ours.bids] != sorted_bids.top(len(ours.bids)) or [*ours.asks] != sorted_asks.top(len(ours.asks)):
            raise AssertionError("the two books differ: nothing here would mean anything")
        figures = microseconds({"ours": apply_ours, "SortedDict": apply_sorted}, repeats=1)
        per_delta = {name: figure / DELTAS for name, figure in figures.items()}
        table(f"{depth} levels a side, per delta of {2 * CHANGES} changes", per_delta, "SortedDict")
        reading = microseconds(
            {
                "ours, best 20": partial(ours.bids.top, 20),
                "SortedDict, best 20": partial(sorted_bids.top, 20),
                "ours, best price": ours.bids.best_price,
                "SortedDict, best price": sorted_bids.best_price,
            },
            repeats=500,
        )
        table(f"{depth} levels a side, reading", reading, "SortedDict, best 20")


if __name__ == "__main__":
    main()
