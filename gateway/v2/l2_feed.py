"""Feed of a whole book: snapshot, then each change, merged if there is an interval. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from alphapulse.book import BookSide
from alphapulse.freshness import Fault
from gateway.v2.book_messages import BookMessage, Head
from gateway.v2.books import CONFIRM_NS, BookPlace
from gateway.v2.checksum import CHECKSUM_LEVELS
from gateway.v2.encoding import Outgoing
from gateway.v2.feed import Feed
from gateway.v2.l2_books import L2Book, L2Change
from gateway.v2.pace import Pacer
from gateway.v2.requests import BookPosition, Position
from schemas.records import L2Update


class L2Feed(Feed):
    """Feed of a whole book.

    The subscribers' book is the newest with ``_old_bids`` and ``_old_asks`` (price → size) in place of what has changed
    since: no second copy of the book is needed.
    """

    def __init__(self, book: L2Book, pacer: Pacer, interval_ms: int) -> None:
        super().__init__(pacer, interval_ms)
        self._book = book
        self._old_bids: dict[int, int] = {}
        self._old_asks: dict[int, int] = {}
        self._reset = False
        self._told = self._newest_head()
        self._told_fault: Fault | None = "no_book"

    def _newest_head(self) -> Head:
        book, reader = self._book, self._book.reader
        return Head(
            book.venue,
            book.symbol,
            reader.epoch,
            max(reader.sequence, 0),
            reader.received_time,
            reader.price_exponent,
            reader.size_exponent,
        )

    def take(self, record: Any) -> None:
        """Take a change that the book has just applied."""
        change: L2Change = record
        if change.reset:
            self._reset = True
            self.flush()  # the book that the subscribers know is gone
            return
        if self.audience:
            for price, size in change.bids:
                self._old_bids.setdefault(price, size)
            for price, size in change.asks:
                self._old_asks.setdefault(price, size)
        self.changed()

    def _begin(self) -> None:
        self._old_bids.clear()
        self._old_asks.clear()
        self._reset = False
        self._told, self._told_fault = self._newest_head(), self._book.fault

    def _snapshot(self) -> Sequence[Outgoing]:
        if self._told_fault is not None:
            return (BookMessage("l2", self._told, (), (), fault=self._told_fault),)
        book = self._book.reader.book
        bids, asks = _levels(book.bids, self._old_bids, +1), _levels(book.asks, self._old_asks, -1)
        return (BookMessage("l2", self._told, bids, asks, best=(bids[:CHECKSUM_LEVELS], asks[:CHECKSUM_LEVELS])),)

    def _news(self) -> Sequence[Outgoing]:
        told, reader = self._told, self._book.reader
        due = reader.received_time - told.received_time >= CONFIRM_NS
        if self._reset or (self._book.fault is not None and due):
            self._begin()
            return self._snapshot()
        if self._book.fault is not None or (reader.sequence == told.sequence and not due):
            return ()
        message = BookMessage(
            "l2",
            self._newest_head(),
            _changes(reader.book.bids, self._old_bids),
            _changes(reader.book.asks, self._old_asks),
            previous_sequence=told.sequence,
            best=self._best(),
        )
        self._begin()
        return (message,)

    def _best(self) -> tuple[list[tuple[int, int]], list[tuple[int, int]]]:
        book = self._book.reader.book
        return book.bids.top(CHECKSUM_LEVELS), book.asks.top(CHECKSUM_LEVELS)

    def recover(self, position: Position) -> Sequence[Outgoing] | None:
        if not isinstance(position, BookPosition):
            return None
        self.catch_up()
        missed = self._book.since(BookPlace(int(position.epoch), position.sequence))
        if missed is None:
            return None
        if not missed:
            return ()
        bids, asks = _merged(missed)
        return (BookMessage("l2", self._told, bids, asks, previous_sequence=position.sequence, best=self._best()),)


def _levels(side: BookSide, old: Mapping[int, int], sign: int) -> list[tuple[int, int]]:
    """Return the levels of a side, best first, with ``old`` sizes in place of the newer ones."""
    if not old:
        return list(side)
    sizes = {price: size for price, size in (dict(side) | dict(old)).items() if size}
    return sorted(sizes.items(), key=lambda level: -sign * level[0])


def _changes(side: BookSide, old: Mapping[int, int]) -> list[tuple[int, int]]:
    """Return the levels whose size is no longer the old one."""
    return [(price, size) for price, before in old.items() if (size := side.size_at(price)) != before]


def _merged(updates: Sequence[L2Update]) -> tuple[list[tuple[int, int]], list[tuple[int, int]]]:
    """Return the levels of several updates, each with its last size."""
    bids: dict[int, int] = {}
    asks: dict[int, int] = {}
    for update in updates:
        bids |= zip(update.bid_prices, update.bid_sizes, strict=True)
        asks |= zip(update.ask_prices, update.ask_sizes, strict=True)
    return list(bids.items()), list(asks.items())
