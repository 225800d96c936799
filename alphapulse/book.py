"""Order book: price levels of both sides as integer mantissas.

Pure: no I/O, no clock, no venue. Exponents belong to the stream the book follows, not to the book; only the
texts and digests at the end take them as arguments.

Each side keeps a dict of sizes by price beside a sorted list of keys with the *best price last*. Nearly all
changes happen near the best price, so an insert or delete moves only the few keys behind it; that makes the
plain list quicker than balanced structures at the depths venues publish (see tests/benchmarks/bench_book.py).
"""

from __future__ import annotations

import hashlib
from bisect import bisect_left, insort
from collections.abc import Iterator, Sequence
from typing import NamedTuple

from alphapulse.fixed import decimal_text

Level = tuple[int, int]
"""(price mantissa, size mantissa)"""


class Changes(NamedTuple):
    """Counts of level changes in a batch.

    Attributes:
        added, updated, removed: levels inserted, resized, deleted.
        absent: deletes of levels that did not exist.
    """

    added: int
    updated: int
    removed: int
    absent: int

    def __add__(self, other: Changes) -> Changes:  # type: ignore[override]  # sums, not a longer tuple
        return Changes(
            self.added + other.added,
            self.updated + other.updated,
            self.removed + other.removed,
            self.absent + other.absent,
        )


def _check_parallel(prices: Sequence[int], sizes: Sequence[int]) -> None:
    """Check lengths before any change: a half-applied delta would leave a wrong book without a sign of it."""
    if len(prices) != len(sizes):
        raise ValueError(f"{len(prices)} prices but {len(sizes)} sizes")


class BookSide:
    """One side of a book.

    Args:
        sign: +1 for bids, where the highest price is best; -1 for asks, where the lowest is.
    """

    __slots__ = ("_keys", "_sign", "_sizes")

    def __init__(self, sign: int) -> None:
        self._sign = sign
        self._sizes: dict[int, int] = {}
        self._keys: list[int] = []  # sign * price, ascending: the best is last

    def __len__(self) -> int:
        return len(self._keys)

    def replace(self, prices: Sequence[int], sizes: Sequence[int]) -> None:
        """Replace all levels; the last size of a repeated price counts, sizes of 0 are left out.

        Raises:
            ValueError: ``prices`` and ``sizes`` differ in length; nothing was changed.
        """
        levels = dict(zip(prices, sizes, strict=True))
        self._sizes = {price: size for price, size in levels.items() if size} if 0 in sizes else levels
        sign = self._sign
        self._keys = sorted([sign * price for price in self._sizes])

    def apply(self, prices: Sequence[int], sizes: Sequence[int]) -> Changes:
        """Set each price to its size in the order given; a size of 0 deletes the level.

        Raises:
            ValueError: ``prices`` and ``sizes`` differ in length; nothing was changed.
        """
        _check_parallel(prices, sizes)
        added, updated, removed, absent = self._apply(prices, sizes)
        return Changes(added, updated, removed, absent)

    def _apply(self, prices: Sequence[int], sizes: Sequence[int]) -> tuple[int, int, int, int]:
        levels, keys, sign = self._sizes, self._keys, self._sign
        added = updated = removed = absent = 0
        for price, size in zip(prices, sizes, strict=True):
            if size:
                if price in levels:
                    updated += 1
                else:
                    added += 1
                    insort(keys, sign * price)
                levels[price] = size
            elif price in levels:
                removed += 1
                del levels[price]
                del keys[bisect_left(keys, sign * price)]
            else:
                absent += 1
        return added, updated, removed, absent

    def set(self, price: int, size: int) -> int:
        """Set the size of a level, 0 deletes it; return its previous size."""
        before = self._sizes.get(price, 0)
        if size:
            if not before:
                insort(self._keys, self._sign * price)
            self._sizes[price] = size
        elif before:
            del self._sizes[price]
            del self._keys[bisect_left(self._keys, self._sign * price)]
        return before

    def truncate(self, depth: int) -> list[int]:
        """Keep the ``depth`` best levels; return the prices of the levels removed."""
        excess = len(self._keys) - depth
        if excess <= 0:
            return []
        gone = [self._sign * key for key in self._keys[:excess]]
        for price in gone:
            del self._sizes[price]
        del self._keys[:excess]
        return gone

    def best_price(self) -> int | None:
        """Return the best price, or None if the side is empty."""
        return self._sign * self._keys[-1] if self._keys else None

    def price_at(self, place: int) -> int:
        """Return the price of a level by its position, 0 for the best.

        Raises:
            IndexError: the side has fewer levels.
        """
        if place < 0:
            raise IndexError(place)
        return self._sign * self._keys[-1 - place]

    def prices(self, depth: int) -> list[int]:
        """Return the prices of up to ``depth`` levels, best first."""
        if depth <= 0:
            return []
        best = self._keys[: -depth - 1 : -1]
        return best if self._sign > 0 else [-key for key in best]

    def size_at(self, price: int) -> int:
        """Return the size at ``price``, 0 if there is no such level."""
        return self._sizes.get(price, 0)

    def top(self, depth: int) -> list[Level]:
        """Return up to ``depth`` levels, best first."""
        sign, sizes = self._sign, self._sizes
        if depth <= 0:
            return []
        return [(sign * key, sizes[sign * key]) for key in self._keys[: -depth - 1 : -1]]

    def __iter__(self) -> Iterator[Level]:
        """Yield all levels, best first."""
        sign, sizes = self._sign, self._sizes
        for key in reversed(self._keys):
            yield sign * key, sizes[sign * key]

    def clear(self) -> None:
        """Remove all levels."""
        self._sizes = {}
        self._keys = []


class OrderBook:
    """Order book of one instrument.

    Args:
        depth: keep at most this many levels a side (a venue that publishes N levels sends no deletes for what
            falls out of them); None keeps all.
    """

    __slots__ = ("asks", "bids", "depth")

    def __init__(self, depth: int | None = None) -> None:
        self.bids = BookSide(+1)
        self.asks = BookSide(-1)
        self.depth = depth

    def replace(
        self,
        bid_prices: Sequence[int],
        bid_sizes: Sequence[int],
        ask_prices: Sequence[int],
        ask_sizes: Sequence[int],
    ) -> None:
        """Replace the book by a snapshot.

        Raises:
            ValueError: prices and sizes of a side differ in length; nothing was changed.
        """
        _check_parallel(bid_prices, bid_sizes)
        _check_parallel(ask_prices, ask_sizes)
        self.bids.replace(bid_prices, bid_sizes)
        self.asks.replace(ask_prices, ask_sizes)
        self._truncate()

    def apply(
        self,
        bid_prices: Sequence[int],
        bid_sizes: Sequence[int],
        ask_prices: Sequence[int],
        ask_sizes: Sequence[int],
    ) -> Changes:
        """Apply a delta: set each price to its size, 0 deletes it; then truncate to the depth.

        Raises:
            ValueError: prices and sizes of a side differ in length; nothing was changed.
        """
        _check_parallel(bid_prices, bid_sizes)
        _check_parallel(ask_prices, ask_sizes)
        added, updated, removed, absent = self.bids._apply(bid_prices, bid_sizes)  # noqa: SLF001 its own half
        more_added, more_updated, more_removed, more_absent = self.asks._apply(ask_prices, ask_sizes)  # noqa: SLF001
        self._truncate()
        return Changes(added + more_added, updated + more_updated, removed + more_removed, absent + more_absent)

    def _truncate(self) -> None:
        if self.depth is not None:
            self.bids.truncate(self.depth)
            self.asks.truncate(self.depth)

    @property
    def crossed(self) -> bool:
        """Whether the best bid is at or above the best ask, which never happens in a venue's book."""
        bid, ask = self.bids.best_price(), self.asks.best_price()
        return bid is not None and ask is not None and bid >= ask

    def clear(self) -> None:
        """Remove all levels."""
        self.bids.clear()
        self.asks.clear()

    def text(self, price_exponent: int, size_exponent: int) -> str:
        """Return the book as canonical text.

        Lines ``B <price> <size>`` from the best bid down, then ``A <price> <size>`` from the best ask up.
        """
        lines = []
        for mark, side in (("B", self.bids), ("A", self.asks)):
            lines += [
                f"{mark} {decimal_text(price, price_exponent)} {decimal_text(size, size_exponent)}\n"
                for price, size in side
            ]
        return "".join(lines)

    def sha256(self, price_exponent: int, size_exponent: int) -> str:
        """Return the SHA-256 of :meth:`text`: equal books have equal digests, whatever their exponents."""
        return hashlib.sha256(self.text(price_exponent, size_exponent).encode()).hexdigest()
