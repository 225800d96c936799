"""Format of the processors' checkpoints in the topic ``state.processors``, as far as other services read it.

Pure. A partition of the topic holds the state of the same partition of the input topics: one record per instrument and
symbol, and a manifest. MessagePack by :mod:`msgspec`; prices of a book are stored as differences between levels, which
are small. A record of another :data:`VERSION` is ignored.

:mod:`stream_processors.processing.state` defines the rest of the records, :mod:`stream_processors.checkpoints` writes
them.
"""

from __future__ import annotations

from itertools import accumulate, chain, pairwise
from typing import TypeVar

import msgspec

from alphapulse.book import BookSide
from alphapulse.errors import AlphaPulseError
from schemas.book_reader import BookReader

VERSION = 1

MANIFEST_KEY = b"*"

Positions = dict[str, int]
"""Topic → offset of the next record to apply."""


class CheckpointRecord(msgspec.Struct, array_like=True):
    """Base of the records: the format's version comes first."""

    version: int


class SideState(msgspec.Struct, array_like=True):
    """One side of a book, best first: the first price, then the difference to each next one."""

    steps: list[int]
    sizes: list[int]

    @classmethod
    def of(cls, side: BookSide) -> SideState:
        """Return the levels of ``side``."""
        levels = list(side)
        prices = [price for price, _ in levels]
        steps = [second - first for first, second in pairwise(chain((0,), prices))]
        return cls(steps, [size for _, size in levels])

    @property
    def prices(self) -> list[int]:
        """The prices, best first."""
        return list(accumulate(self.steps))


class BookState(msgspec.Struct, array_like=True):
    """A book with epoch and sequence."""

    valid: bool
    epoch: int
    sequence: int
    price_exponent: int
    size_exponent: int
    exchange_time: int
    received_time: int
    bids: SideState
    asks: SideState

    @classmethod
    def of(cls, reader: BookReader) -> BookState:
        """Return the current state of ``reader``."""
        return cls(
            valid=reader.valid,
            epoch=reader.epoch,
            sequence=reader.sequence,
            price_exponent=reader.price_exponent,
            size_exponent=reader.size_exponent,
            exchange_time=reader.exchange_time,
            received_time=reader.received_time,
            bids=SideState.of(reader.book.bids),
            asks=SideState.of(reader.book.asks),
        )

    def restore(self, reader: BookReader) -> None:
        """Restore ``reader`` from this state."""
        reader.book.replace(self.bids.prices, self.bids.sizes, self.asks.prices, self.asks.sizes)
        reader.valid = self.valid
        reader.epoch = self.epoch
        reader.sequence = self.sequence
        reader.price_exponent = self.price_exponent
        reader.size_exponent = self.size_exponent
        reader.exchange_time = self.exchange_time
        reader.received_time = self.received_time


class InstrumentEnvelope(CheckpointRecord, array_like=True):
    """The part of an instrument's record that other services read: its book after all records below ``positions``."""

    venue: str
    symbol: str
    positions: Positions
    book: BookState


class Manifest(CheckpointRecord, array_like=True):
    """Consistent set of records: with these, reading resumes at ``positions``.

    ``keys``: key of each record → sum of its positions when it was last written. ``published``: topic → an offset
    below which the partition of this number holds nothing that was published later than ``positions``. ``confirmed``:
    key of each valid book → its ``received_time``: a book is not written again for each heartbeat.
    """

    positions: Positions
    keys: dict[str, int]
    published: Positions
    confirmed: dict[str, int] = {}


class Unreadable(AlphaPulseError):
    """Bytes that are not a state of this version; the message gives the reason."""

    recoverable = True


R = TypeVar("R", bound=CheckpointRecord)


def pack(value: CheckpointRecord) -> bytes:
    """Return ``value`` as bytes."""
    return msgspec.msgpack.encode(value)


def unpack(kind: type[R], value: bytes) -> R:
    """Return the record of class ``kind`` in ``value``; fields that follow those of ``kind`` are ignored.

    Raises:
        Unreadable: it is invalid, or of another version.
    """
    try:
        found = msgspec.msgpack.decode(value, type=kind)
    except msgspec.DecodeError as error:
        raise Unreadable(f"invalid {kind.__name__} of version {VERSION}: {error}") from error
    if found.version != VERSION:
        raise Unreadable(f"a {kind.__name__} of version {found.version}; this release reads {VERSION}")
    return found
