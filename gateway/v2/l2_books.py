"""Whole books from ``md.l2``, read only while somebody wants one. Pure.

The books of a partition are loaded together (from the processors' checkpoint and the records after it); until then they
are unknown (``no_book``) and nothing is published.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Final, TypeAlias

from alphapulse.freshness import Fault, book_fault
from gateway.v2.books import BookPlace
from gateway.v2.history import History
from schemas.book_reader import BookReader, Outcome
from schemas.checkpoints import BookState
from schemas.codec import Codec
from schemas.records import L2Update

Instrument: TypeAlias = tuple[str, str]
"""Venue and symbol."""
Sizes: TypeAlias = list[tuple[int, int]]
"""(price, size before the change)"""


@dataclass(frozen=True, slots=True)
class L2Change:
    """A change of a book; ``reset``: all of it, or whether it may be used.

    ``bids`` and ``asks`` are the levels of the record, with their sizes before it.
    """

    reset: bool
    bids: Sizes
    asks: Sizes


_RESET: Final = L2Change(reset=True, bids=[], asks=[])
_CONFIRMED: Final = L2Change(reset=False, bids=[], asks=[])
_APPLIED: Final = frozenset({Outcome.SNAPSHOT, Outcome.INVALIDATED, Outcome.GAP})


class L2Book:
    """Book of one instrument, with the history of its epoch.

    Attributes:
        reader: applies the records.
        loaded: whether the book has been read up to now.
        fault: why the book is not usable; None: it is.
    """

    __slots__ = ("_codec", "_history", "_max_book_age", "fault", "loaded", "reader", "symbol", "venue")

    def __init__(self, venue: str, symbol: str, codec: Codec, max_book_age: int) -> None:
        self.venue = venue
        self.symbol = symbol
        self.reader = BookReader()
        self.loaded = False
        self.fault: Fault | None = "no_book"
        self._codec = codec
        self._max_book_age = max_book_age
        self._history = History[BookPlace]()

    def apply(self, update: L2Update, value: bytes, now: int) -> L2Change | None:
        """Apply a record read at ``now`` (ns); return the change, None if there is none."""
        reader = self.reader
        before = self._sizes_before(update)
        outcome = reader.apply(update)
        if outcome is Outcome.SEEN and update.kind == "DELTA":
            self._remember(update, value)  # read again from before the checkpoint, for the history alone
        if outcome in (Outcome.SEEN, Outcome.WAITING):
            return None
        if outcome is Outcome.SNAPSHOT:
            self._history.clear()
        elif outcome is Outcome.DELTA:
            self._remember(update, value)
        if self.judge(now) or outcome in _APPLIED:
            return _RESET
        return L2Change(False, *before) if outcome is Outcome.DELTA else _CONFIRMED

    def _sizes_before(self, update: L2Update) -> tuple[Sizes, Sizes]:
        if update.kind != "DELTA" or not self.loaded:
            return [], []
        book = self.reader.book
        return (
            [(price, book.bids.size_at(price)) for price in update.bid_prices],
            [(price, book.asks.size_at(price)) for price in update.ask_prices],
        )

    def _remember(self, update: L2Update, value: bytes) -> None:
        place, last = BookPlace(update.epoch, update.sequence), self._history.last
        if update.epoch == self.reader.epoch and (last is None or place > last):
            self._history.add(place, value)

    def judge(self, now: int) -> bool:
        """Judge whether the book is usable at ``now``; return whether that has changed."""
        reader = self.reader
        known = self.loaded and reader.epoch > 0
        fault = book_fault(reader.valid if known else None, reader.received_time, now, self._max_book_age)
        changed = fault != self.fault
        self.fault = fault
        return changed

    def since(self, place: BookPlace) -> list[L2Update] | None:
        """Return all updates of a usable book after ``place``; None: one of them is not known."""
        reader = self.reader
        if self.fault is not None or place.epoch != reader.epoch or place.sequence > reader.sequence:
            return None
        values: list[bytes] = []
        expected = reader.sequence
        for kept in reversed(self._history):
            if expected == place.sequence:
                break
            if kept.position != (reader.epoch, expected):
                return None
            values.append(kept.value)
            expected -= 1
        if expected != place.sequence:
            return None
        return [self._codec.decode_as(L2Update, value) for value in reversed(values)]


class L2Books:
    """The books, and which of them are wanted.

    Args:
        publish: called with each change of a loaded book.
        max_book_age: ``[freshness] max_book_age_ms``, in nanoseconds.

    Attributes:
        on_wanted: called when an instrument is wanted.
    """

    def __init__(self, codec: Codec, max_book_age: int, publish: Callable[[Instrument, L2Change], None]) -> None:
        self._codec = codec
        self._max_book_age = max_book_age
        self._publish = publish
        self._books: dict[Instrument, L2Book] = {}
        self._wanted: dict[Instrument, int] = {}
        self.on_wanted: Callable[[Instrument], None] = lambda _: None

    @property
    def wanted(self) -> Iterator[Instrument]:
        """The instruments with subscribers."""
        return iter(tuple(self._wanted))

    def book(self, venue: str, symbol: str) -> L2Book:
        """Return the book of an instrument; created if unknown."""
        book = self._books.get((venue, symbol))
        if book is None:
            book = self._books[venue, symbol] = L2Book(venue, symbol, self._codec, self._max_book_age)
        return book

    def want(self, venue: str, symbol: str) -> None:
        """Count a subscriber of an instrument."""
        self._wanted[venue, symbol] = self._wanted.get((venue, symbol), 0) + 1
        self.on_wanted((venue, symbol))

    def unwant(self, venue: str, symbol: str) -> None:
        """Count one less."""
        count = self._wanted[venue, symbol] - 1
        if count:
            self._wanted[venue, symbol] = count
        else:
            del self._wanted[venue, symbol]

    # --- records in -------------------------------------------------------------------------------------------

    def restore(self, venue: str, symbol: str, state: BookState) -> None:
        """Take an instrument's book from a checkpoint; it is not loaded yet."""
        state.restore(self.book(venue, symbol).reader)

    def apply(self, update: L2Update, value: bytes, now: int) -> bool:
        """Apply a record read at ``now`` (ns); False: it has no effect."""
        book = self.book(update.venue, update.symbol)
        change = book.apply(update, value, now)
        if change is not None and book.loaded:
            self._publish((book.venue, book.symbol), change)
        return change is not None

    def loaded(self, instruments: Callable[[Instrument], bool], now: int) -> None:
        """Publish the books that ``instruments`` accepts: they have been read up to now."""
        for instrument, book in list(self._books.items()):
            if not book.loaded and instruments(instrument):
                book.loaded = True
                if book.judge(now):
                    self._publish(instrument, _RESET)

    def unload(self) -> None:
        """Forget all books: reading has ended."""
        for instrument, book in list(self._books.items()):
            book.loaded = False
            book.reader = BookReader()
            if book.judge(0):
                self._publish(instrument, _RESET)
        self._books = {each: book for each, book in self._books.items() if each in self._wanted}

    def expire(self, now: int) -> None:
        """Publish the books that have become stale."""
        for instrument, book in list(self._books.items()):
            if book.fault is None and book.judge(now):
                self._publish(instrument, _RESET)
