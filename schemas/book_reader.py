"""Rebuild a book from ``md.l2``: the rule for every consumer (docs/integrity.md).

A snapshot opens an epoch with sequence 0; each delta of the epoch has the next sequence and the same exponents.
INVALID, next in sequence, ends the epoch: the book may differ from the venue's. HEARTBEAT repeats epoch and sequence of
the last record: the book was unchanged at its ``received_time``. Anything else means that a record was lost. After
that, and after INVALID, the book is invalid until the next snapshot. Records seen before (a consumer that returns to
its committed offset) are ignored.

Consumers also check the book's age: ``received_time`` against their own clock (:mod:`alphapulse.freshness`).
"""

from __future__ import annotations

from enum import Enum

from alphapulse.book import Changes, OrderBook
from schemas.records import L2Update

NO_CHANGES = Changes(0, 0, 0, 0)


class Outcome(Enum):
    """Effect of a record on the book."""

    SNAPSHOT = "snapshot"
    """The book was replaced by the snapshot."""
    DELTA = "delta"
    """The delta was applied."""
    HEARTBEAT = "heartbeat"
    """The book is confirmed: only ``received_time`` has advanced."""
    INVALIDATED = "invalidated"
    """The collector invalidated the book, which is now empty."""
    SEEN = "seen"
    """The record was applied before; nothing changed."""
    GAP = "gap"
    """A record is missing before this one, or it belongs to another epoch; the book is now invalid and empty."""
    WAITING = "waiting"
    """The book is invalid and this is not a snapshot; nothing changed."""


class BookReader:
    """Book of one instrument, rebuilt from its ``md.l2`` records.

    Attributes:
        book: the levels; empty while ``valid`` is False.
        valid: whether the book is known to match what the venue published.
        epoch, sequence: of the last record applied; epoch 0 before the first.
        price_exponent, size_exponent: of this epoch.
        exchange_time: of the last record applied that was not a HEARTBEAT.
        received_time: of the last record applied: the latest time at which the book is known to be correct.
    """

    __slots__ = (
        "book",
        "changes",
        "epoch",
        "exchange_time",
        "price_exponent",
        "received_time",
        "sequence",
        "size_exponent",
        "valid",
    )

    def __init__(self) -> None:
        self.book = OrderBook()
        self.valid = False
        self.epoch = 0
        self.sequence = -1
        self.price_exponent = 0
        self.size_exponent = 0
        self.exchange_time = 0
        self.received_time = 0
        self.changes = NO_CHANGES

    def apply(self, update: L2Update) -> Outcome:
        """Apply one record; ``changes`` then holds the level counts of a DELTA.

        Raises:
            ValueError: prices and sizes of a side differ in length (the codec refuses such records).
        """
        if update.kind == "HEARTBEAT":
            return self._confirm(update)
        if update.epoch < self.epoch or (update.epoch == self.epoch and update.sequence <= self.sequence):
            return Outcome.SEEN
        if update.kind == "SNAPSHOT":
            self.book.replace(update.bid_prices, update.bid_sizes, update.ask_prices, update.ask_sizes)
            self.price_exponent = update.price_exponent
            self.size_exponent = update.size_exponent
            self.valid = True
            self.changes = NO_CHANGES
            self._advance(update)
            return Outcome.SNAPSHOT
        if not self.valid:
            return Outcome.WAITING
        # A collector that replaces a killed one may end the book with an epoch of its own.
        ends_epoch = update.kind == "INVALID" and update.sequence == 0
        if not ends_epoch and (update.epoch != self.epoch or update.sequence != self.sequence + 1):
            self._invalidate()
            return Outcome.GAP
        if update.kind == "INVALID":
            self._invalidate()
            self._advance(update)
            return Outcome.INVALIDATED
        if update.price_exponent != self.price_exponent or update.size_exponent != self.size_exponent:
            # Never within an epoch: the mantissas would not be comparable with the book's.
            self._invalidate()
            return Outcome.GAP
        self.changes = self.book.apply(update.bid_prices, update.bid_sizes, update.ask_prices, update.ask_sizes)
        self._advance(update)
        return Outcome.DELTA

    def would_lose(self, heartbeat: L2Update) -> bool:
        """Return whether a HEARTBEAT shows that a record is missing: applied to a valid book, it invalidates it."""
        return self.valid and (heartbeat.epoch, heartbeat.sequence) > (self.epoch, self.sequence)

    def _confirm(self, heartbeat: L2Update) -> Outcome:
        if self.would_lose(heartbeat):
            self._invalidate()
            return Outcome.GAP
        if (heartbeat.epoch, heartbeat.sequence) < (self.epoch, self.sequence):
            return Outcome.SEEN
        if not self.valid:
            return Outcome.WAITING
        if heartbeat.received_time <= self.received_time:
            return Outcome.SEEN
        self.received_time = heartbeat.received_time
        return Outcome.HEARTBEAT

    def _invalidate(self) -> None:
        self.valid = False
        self.book.clear()

    def _advance(self, update: L2Update) -> None:
        self.epoch = update.epoch
        self.sequence = update.sequence
        self.exchange_time = update.exchange_time
        self.received_time = update.received_time
