"""Feeds of the best levels and of the best bid and offer, from Depth records. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final, NamedTuple

from alphapulse.freshness import Fault
from gateway.feeds import changed_levels
from gateway.state import ShownInstrument
from gateway.v2.book_messages import BboMessage, BookMessage, Head
from gateway.v2.checksum import CHECKSUM_LEVELS
from gateway.v2.encoding import Outgoing
from gateway.v2.feed import Feed
from gateway.v2.history import History
from gateway.v2.pace import Pacer
from gateway.v2.requests import BookPosition, Position
from schemas.codec import Codec
from schemas.records import Depth

ALL_LEVELS: Final = 20
CONFIRM_NS: Final = 900_000_000
"""A message without news is sent if the last one is at least this old (stream time): about once a second, since valid
books are confirmed once a second."""


class BookPlace(NamedTuple):
    """Position in a book."""

    epoch: int
    sequence: int


class DepthHistory:
    """The books that an instrument had, by position.

    Two valid Depth records of the same position have the same levels, so one of them is enough; an invalid one is no
    position that a client can be at.
    """

    def __init__(self, codec: Codec) -> None:
        self._codec = codec
        self._history = History[BookPlace]()

    def add(self, depth: Depth, value: bytes) -> None:
        """Add a record that the state has applied; without its bytes it is left out."""
        if not depth.valid or not value:
            return
        last = self._history.last
        if last is None or last.sequence != depth.sequence or last.epoch != depth.epoch:
            self._history.add(BookPlace(depth.epoch, depth.sequence), value)

    def at(self, position: BookPosition) -> Depth | None:
        """Return the book of a client's position; None: it is not known."""
        value = self._history.at(BookPlace(int(position.epoch), position.sequence))
        return None if value is None else self._codec.decode_as(Depth, value)


def head_of(depth: Depth) -> Head:
    """Return what a message on a Depth record says."""
    return Head(
        depth.venue,
        depth.symbol,
        depth.epoch,
        depth.sequence,
        depth.received_time,
        depth.price_exponent,
        depth.size_exponent,
    )


def continues(before: Depth, after: Depth) -> bool:
    """Whether ``after`` can be sent as a delta to ``before``: same epoch, comparable mantissas."""
    return (
        before.epoch == after.epoch
        and before.price_exponent == after.price_exponent
        and before.size_exponent == after.size_exponent
    )


def _best(depth: Depth, levels: int) -> tuple[list[tuple[int, int]], list[tuple[int, int]]]:
    return (
        list(zip(depth.bid_prices[:levels], depth.bid_sizes[:levels], strict=True)),
        list(zip(depth.ask_prices[:levels], depth.ask_sizes[:levels], strict=True)),
    )


class _DepthFeed(Feed):
    """Base of the feeds of an instrument's Depth records.

    ``_told`` and ``_told_fault`` are the book that the subscribers know.
    """

    def __init__(self, instrument: ShownInstrument, history: DepthHistory, pacer: Pacer, interval_ms: int) -> None:
        super().__init__(pacer, interval_ms)
        self._instrument = instrument
        self._history = history
        self._told: Depth | None = None
        self._told_fault: Fault | None = "no_book"

    def _begin(self) -> None:
        self._told, self._told_fault = self._instrument.depth, self._instrument.fault

    def changed(self) -> None:
        if self._instrument.fault != self._told_fault and self._instrument.fault is not None:
            self.flush()  # a book that must not be used any longer is reported at once
        else:
            super().changed()

    def _before(self, position: Position) -> Depth | None:
        """Bring the subscribers up to date and return the book of ``position``, if the newest can be its successor."""
        self.catch_up()
        told = self._told
        if told is None or self._told_fault is not None or not isinstance(position, BookPosition):
            return None
        before = self._history.at(position)
        if before is None or not continues(before, told) or before.sequence > told.sequence:
            return None
        return before

    def _head(self) -> Head:
        instrument = self._instrument
        return (
            head_of(self._told) if self._told is not None else Head(instrument.venue, instrument.symbol, 0, 0, 0, 0, 0)
        )


class BookFeed(_DepthFeed):
    """Feed of the best ``levels`` of a book: snapshot, then the levels that changed.

    A fault, its end, and a new epoch are sent to all as a snapshot.
    """

    def __init__(
        self, instrument: ShownInstrument, history: DepthHistory, pacer: Pacer, interval_ms: int, levels: int
    ) -> None:
        super().__init__(instrument, history, pacer, interval_ms)
        self._levels = levels

    def _snapshot(self) -> Sequence[Outgoing]:
        told, fault = self._told, self._told_fault
        if told is None or fault is not None:
            return (BookMessage("book", self._head(), (), (), fault=fault),)
        bids, asks = _best(told, self._levels)
        best = bids[:CHECKSUM_LEVELS], asks[:CHECKSUM_LEVELS]
        return (BookMessage("book", self._head(), bids, asks, best=best),)

    def _news(self) -> Sequence[Outgoing]:
        told, told_fault = self._told, self._told_fault
        newest, fault = self._instrument.depth, self._instrument.fault
        if newest is None or (newest is told and fault == told_fault):
            return ()
        if told is None or fault != told_fault or (fault is None and not continues(told, newest)):
            self._begin()
            return self._snapshot()
        if fault is not None:
            if told.epoch == newest.epoch and newest.received_time - told.received_time < CONFIRM_NS:
                return ()
            self._begin()
            return self._snapshot()
        message = self._delta(told, newest)
        unchanged = not message.bids and not message.asks
        if self._levels < ALL_LEVELS and unchanged and newest.received_time - told.received_time < CONFIRM_NS:
            return ()
        self._told = newest
        return (message,)

    def _delta(self, before: Depth, after: Depth) -> BookMessage:
        n = self._levels
        return BookMessage(
            "book",
            head_of(after),
            changed_levels(before.bid_prices[:n], before.bid_sizes[:n], after.bid_prices[:n], after.bid_sizes[:n]),
            changed_levels(before.ask_prices[:n], before.ask_sizes[:n], after.ask_prices[:n], after.ask_sizes[:n]),
            previous_sequence=before.sequence,
            best=_best(after, min(n, CHECKSUM_LEVELS)),
        )

    def recover(self, position: Position) -> Sequence[Outgoing] | None:
        before = self._before(position)
        told = self._told
        if before is None or told is None:
            return None
        return () if before.sequence == told.sequence else (self._delta(before, told),)


class BboFeed(_DepthFeed):
    """Feed of the best bid and offer: each change, else about once a second."""

    def _snapshot(self) -> Sequence[Outgoing]:
        told = self._told
        if told is None or self._told_fault is not None:
            return (BboMessage(self._head(), self._told_fault, None, None),)
        return (BboMessage(self._head(), None, *_quotes(told)),)

    def _news(self) -> Sequence[Outgoing]:
        told, newest = self._told, self._instrument.depth
        if newest is None or (newest is told and self._instrument.fault == self._told_fault):
            return ()
        if (
            told is not None
            and self._instrument.fault == self._told_fault
            and continues(told, newest)
            and (self._told_fault is not None or _quotes(told) == _quotes(newest))
            and newest.received_time - told.received_time < CONFIRM_NS
        ):
            return ()
        self._begin()
        return self._snapshot()

    def recover(self, position: Position) -> Sequence[Outgoing] | None:
        before = self._before(position)
        if before is None or self._told is None:
            return None
        return () if before.sequence == self._told.sequence else self._snapshot()


def _quotes(depth: Depth) -> tuple[tuple[int, int] | None, tuple[int, int] | None]:
    """Return best bid and offer."""
    return (
        (depth.bid_prices[0], depth.bid_sizes[0]) if depth.bid_prices else None,
        (depth.ask_prices[0], depth.ask_sizes[0]) if depth.ask_prices else None,
    )
