"""The order book against a dict, which is right and slow."""

from __future__ import annotations

import hashlib
from decimal import Decimal

from hypothesis import given
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from alphapulse.book import Changes, OrderBook

# Few prices, so that changes hit levels that are there; and some far apart, at the ends of an int64.
prices = st.one_of(st.integers(-3, 12), st.sampled_from([2**63 - 1, -(2**63)]))
sizes = st.one_of(st.just(0), st.integers(1, 2**63 - 1))
levels = st.lists(st.tuples(prices, sizes), max_size=8)
Levels = list[tuple[int, int]]


def columns(side: Levels) -> tuple[list[int], list[int]]:
    return [price for price, _ in side], [size for _, size in side]


class Model:
    """One side, done naively."""

    def __init__(self, best: int) -> None:
        self.best = best
        self.sizes: dict[int, int] = {}

    def replace(self, side: Levels) -> None:
        self.sizes = {}
        self.apply(side)

    def apply(self, side: Levels) -> Changes:
        changes = Changes(0, 0, 0, 0)
        for price, size in side:
            there = price in self.sizes
            if size:
                self.sizes[price] = size
                changes += Changes(0, 1, 0, 0) if there else Changes(1, 0, 0, 0)
            elif there:
                del self.sizes[price]
                changes += Changes(0, 0, 1, 0)
            else:
                changes += Changes(0, 0, 0, 1)
        return changes

    def truncate(self, depth: int) -> set[int]:
        gone = {price for price, _ in self.sorted()[depth:]}
        for price in gone:
            del self.sizes[price]
        return gone

    def sorted(self) -> Levels:
        return sorted(self.sizes.items(), key=lambda level: -self.best * level[0])


def digest(bids: Levels, asks: Levels, price_exponent: int, size_exponent: int) -> str:
    """The digest as DESIGN defines it, computed with nothing of ours."""

    def plain(value: int, exponent: int) -> str:
        text = format(Decimal(value).scaleb(exponent), "f")
        return text.rstrip("0").rstrip(".") if "." in text else text

    lines = [f"B {plain(p, price_exponent)} {plain(s, size_exponent)}\n" for p, s in bids]
    lines += [f"A {plain(p, price_exponent)} {plain(s, size_exponent)}\n" for p, s in asks]
    return hashlib.sha256("".join(lines).encode()).hexdigest()


class BookMachine(RuleBasedStateMachine):
    """Any sequence of snapshots, deltas and truncations."""

    def __init__(self) -> None:
        super().__init__()
        self.book = OrderBook()
        self.bids, self.asks = Model(+1), Model(-1)

    @rule(bids=levels, asks=levels)
    def replace(self, bids: Levels, asks: Levels) -> None:
        self.book.replace(*columns(bids), *columns(asks))
        self.bids.replace(bids)
        self.asks.replace(asks)
        self._truncated()

    @rule(bids=levels, asks=levels)
    def apply(self, bids: Levels, asks: Levels) -> None:
        changes = self.book.apply(*columns(bids), *columns(asks))
        assert changes == self.bids.apply(bids) + self.asks.apply(asks)
        self._truncated()

    def _truncated(self) -> None:
        if self.book.depth is not None:
            self.bids.truncate(self.book.depth)
            self.asks.truncate(self.book.depth)

    @rule(depth=st.integers(0, 6))
    def truncate(self, depth: int) -> None:
        assert set(self.book.bids.truncate(depth)) == self.bids.truncate(depth)
        assert set(self.book.asks.truncate(depth)) == self.asks.truncate(depth)

    @rule(depth=st.one_of(st.none(), st.integers(1, 6)))
    def set_depth(self, depth: int | None) -> None:
        self.book.depth = depth
        self._truncated()
        self.book.apply([], [], [], [])

    @precondition(lambda self: self.bids.sizes)
    @rule()
    def clear(self) -> None:
        self.book.clear()
        self.bids.replace([])
        self.asks.replace([])

    @invariant()
    def agree(self) -> None:
        for side, model in ((self.book.bids, self.bids), (self.book.asks, self.asks)):
            expected = model.sorted()
            assert list(side) == expected
            assert len(side) == len(expected)
            assert side.best_price() == (expected[0][0] if expected else None)
            for depth in (0, 1, 3, 100):
                assert side.top(depth) == expected[:depth]
            for price in range(-3, 13):
                assert side.size_at(price) == model.sizes.get(price, 0)
        bids, asks = self.bids.sorted(), self.asks.sorted()
        assert self.book.crossed == (bool(bids) and bool(asks) and bids[0][0] >= asks[0][0])
        for exponents in ((0, 0), (-2, -8), (3, -1)):
            assert self.book.sha256(*exponents) == digest(bids, asks, *exponents)


TestBook = BookMachine.TestCase


@given(levels, levels)
def test_one_delta_or_many_is_the_same(first: Levels, second: Levels) -> None:
    together, apart = OrderBook(), OrderBook()
    changes = together.apply(*columns(first + second), [], [])
    assert changes == apart.apply(*columns(first), [], []) + apart.apply(*columns(second), [], [])
    assert together.text(0, 0) == apart.text(0, 0)


@given(levels, st.integers(0, 3))
def test_the_digest_does_not_depend_on_the_exponent(bids: Levels, finer: int) -> None:
    coarse, fine = OrderBook(), OrderBook()
    coarse.replace(*columns(bids), [], [])
    fine.replace([price * 10**finer for price, _ in bids], [size * 10**finer for _, size in bids], [], [])
    assert coarse.sha256(-2, -3) == fine.sha256(-2 - finer, -3 - finer)
