"""True books of a simulated venue: at every change, and so at every frame about one.

Tests compare a collector's records with them. Mantissas of prices and sizes are at eight decimals, with which a
collector's epochs start, or at the listing's decimals if these are more.
"""

from __future__ import annotations

from typing import Final

from alphapulse.book import OrderBook
from producers.simulator.events import BookChange
from producers.simulator.instrument import SimulatedInstrument

DECIMALS: Final = 8


class TrueBook:
    """One instrument's book after each of its changes.

    Args:
        instrument: before its first event.

    Attributes:
        changes: number of changes.
        price_unit, size_unit: mantissas of one tick and of one lot.
    """

    def __init__(self, instrument: SimulatedInstrument) -> None:
        listing = instrument.listing
        self.price_unit = 10 ** max(DECIMALS - listing.price_decimals, 0)
        self.size_unit = 10 ** max(DECIMALS - listing.size_decimals, 0)
        self._log: list[tuple[list[int], list[int], list[int], list[int]]] = []
        self._by_frame: dict[int, int] = {}
        self._by_sequence: dict[int, int] = {}
        self._start = (
            *self._scaled(tuple(instrument.book.bids)),
            *self._scaled(tuple(instrument.book.asks)),
        )
        self._book = OrderBook()
        self._book.replace(*self._start)
        self._at = 0

    @property
    def changes(self) -> int:
        return len(self._log)

    def changed(self, change: BookChange, sequence: int | None = None) -> None:
        """Record a change, and the venue's number of it."""
        self._log.append((*self._scaled(change.bids), *self._scaled(change.asks)))
        self.numbered(sequence)

    def numbered(self, sequence: int | None) -> None:
        """Record the venue's sequence number of the current book."""
        if sequence is not None:
            self._by_sequence[sequence] = self.changes

    def told(self, frame: int) -> None:
        """Record that frame number ``frame`` describes the current book."""
        self._by_frame[frame] = self.changes

    def at_frame(self, frame: int) -> OrderBook:
        """Return the book described by frame number ``frame``; the same object at every call.

        Raises:
            KeyError: not the number of a book frame.
        """
        return self._go(self._by_frame[frame])

    def at_sequence(self, sequence: int) -> OrderBook:
        """Return the book of the venue's sequence number; see :meth:`at_frame`."""
        return self._go(self._by_sequence[sequence])

    def now(self) -> OrderBook:
        """Return the book after the last change; see :meth:`at_frame`."""
        return self._go(self.changes)

    def _go(self, change: int) -> OrderBook:
        if change < self._at:
            self._book.replace(*self._start)
            self._at = 0
        for entry in self._log[self._at : change]:
            self._book.apply(*entry)
        self._at = change
        return self._book

    def _scaled(self, levels: tuple[tuple[int, int], ...]) -> tuple[list[int], list[int]]:
        price_unit, size_unit = self.price_unit, self.size_unit
        return [price * price_unit for price, _ in levels], [size * size_unit for _, size in levels]
