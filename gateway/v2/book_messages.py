"""Messages on books with integer levels, before they are written in a form. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from typing import Literal, Self, TypeAlias

from msgspec import UNSET, Struct, UnsetType

from alphapulse.fixed import decimal_text
from alphapulse.freshness import Fault
from gateway.protocol import microseconds
from gateway.v2.checksum import checksum
from gateway.v2.messages import Bbo, BookDelta, BookSnapshot, Level, PackedBbo, PackedBookDelta, PackedBookSnapshot

Pairs: TypeAlias = Sequence[tuple[int, int]]
"""(price mantissa, size mantissa), size 0 for a removed level."""


@dataclass(frozen=True, slots=True)
class Head:
    """What all messages on a book say; times in nanoseconds."""

    venue: str
    symbol: str
    epoch: int
    sequence: int
    received_time: int
    price_exponent: int
    size_exponent: int


def _flat(pairs: Pairs) -> list[int]:
    return [number for pair in pairs for number in pair]


@dataclass(slots=True)
class BookMessage:
    """A snapshot (``previous_sequence`` None) or a delta of a book.

    Args:
        fault: of a snapshot: why there are no levels.
        best: both sides' best levels after the message, for the checksum; none: it has none.
    """

    channel: Literal["book", "l2"]
    head: Head
    bids: Pairs
    asks: Pairs
    previous_sequence: int | None = None
    fault: Fault | None = None
    best: tuple[Pairs, Pairs] | None = None
    request_id: int | str | UnsetType | None = UNSET
    _texts: tuple[list[Level], list[Level]] | None = field(default=None, repr=False)
    _checksum: int | None = field(default=None, repr=False)

    def answering(self, request_id: int | str | None) -> Self:
        """Return the message as the answer to a request."""
        return replace(self, request_id=request_id)

    def written(self, packed: bool, checksum: bool) -> Struct:
        """Return the message to encode."""
        head, place, time = self.head, self._place(), self._time()
        proof = self._proof() if checksum and self.best is not None else UNSET
        previous, valid = self.previous_sequence, self.fault is None
        if packed:
            exponents = head.price_exponent, head.size_exponent
            flat_bids, flat_asks = _flat(self.bids), _flat(self.asks)
            if previous is not None:
                return PackedBookDelta(*place, previous, *time, *exponents, flat_bids, flat_asks, proof)
            return PackedBookSnapshot(
                *place, *time, valid, self.fault, *exponents, flat_bids, flat_asks, proof, self.request_id
            )
        bids, asks = self._levels()
        if previous is not None:
            return BookDelta(*place, previous, *time, bids, asks, proof)
        return BookSnapshot(*place, *time, valid, self.fault, bids, asks, proof, self.request_id)

    def _place(self) -> tuple[Literal["book", "l2"], str, str, str]:
        return self.channel, self.head.venue, self.head.symbol, str(self.head.epoch)

    def _time(self) -> tuple[int, int]:
        return self.head.sequence, microseconds(self.head.received_time)

    def _levels(self) -> tuple[list[Level], list[Level]]:
        if self._texts is None:
            self._texts = self._text_pairs(self.bids), self._text_pairs(self.asks)
        return self._texts

    def _proof(self) -> int:
        if self._checksum is None:
            bids, asks = self.best or ((), ())
            self._checksum = checksum(self._text_pairs(bids), self._text_pairs(asks))
        return self._checksum

    def _text_pairs(self, pairs: Iterable[tuple[int, int]]) -> list[Level]:
        head = self.head
        return [(decimal_text(p, head.price_exponent), decimal_text(s, head.size_exponent)) for p, s in pairs]


@dataclass(slots=True)
class BboMessage:
    """Best bid and offer; none of a book that is not valid."""

    head: Head
    fault: Fault | None
    bid: tuple[int, int] | None
    ask: tuple[int, int] | None
    request_id: int | str | UnsetType | None = UNSET

    def answering(self, request_id: int | str | None) -> Self:
        """Return the message as the answer to a request."""
        return replace(self, request_id=request_id)

    def written(self, packed: bool, checksum: bool) -> Struct:
        """Return the message to encode."""
        head = self.head
        common = (
            "bbo",
            head.venue,
            head.symbol,
            str(head.epoch),
            head.sequence,
            microseconds(head.received_time),
            self.fault is None,
            self.fault,
        )
        if packed:
            exponents = head.price_exponent, head.size_exponent
            return PackedBbo(*common, *exponents, self.bid, self.ask, self.request_id)  # type: ignore[arg-type]
        return Bbo(*common, self._text(self.bid), self._text(self.ask), self.request_id)  # type: ignore[arg-type]

    def _text(self, level: tuple[int, int] | None) -> tuple[str, str] | None:
        if level is None:
            return None
        return decimal_text(level[0], self.head.price_exponent), decimal_text(level[1], self.head.size_exponent)
