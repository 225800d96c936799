"""Avro's binary encoding, read for many records at once: one call reads one field of every record. Pure numpy.

Positions are indices into the joined bytes of all records, one per record, int64. A reader takes the positions of a
field and the ends of the records, and returns the field's values and the positions after it. It never looks past the
end of a record for a value it returns: a length or count that would lead there is :class:`Irregular`, so a damaged
record cannot change what is read of its neighbours.

Only the usual form of an encoding is read. What Avro allows besides (arrays of several blocks, blocks with their byte
size) or what is damaged is Irregular alike; the caller has a slower reader that tells the two apart.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Final, TypeAlias

import numpy as np
import numpy.typing as npt

Integers: TypeAlias = npt.NDArray[np.int64]
Booleans: TypeAlias = npt.NDArray[np.bool_]

PADDING: Final = bytes(16)
"""After the last record: a varint is read as a word of eight bytes and two more, wherever it begins."""

MAX_BYTES: Final = 2**31 - 1 - len(PADDING)
"""Arrow's offsets have 32 bits."""

_CONTINUES: Final = np.uint64(0x8080808080808080)
_PAYLOAD: Final = np.uint64(0x7F7F7F7F7F7F7F7F)
_HEAD: Final = np.uint64(0xFFFFFFFFFF)
_ONE: Final = np.uint64(1)
_SQUEEZE: Final = tuple(
    (np.uint64(low), np.uint64(high), np.uint64(shift))
    for low, high, shift in (
        (0x007F007F007F007F, 0x7F007F007F007F00, 1),
        (0x00003FFF00003FFF, 0x3FFF00003FFF0000, 2),
        (0x000000000FFFFFFF, 0x0FFFFFFF00000000, 4),
    )
)
"""Steps that join groups of 7, 14 and 28 bits to their upper neighbours."""


class Irregular(Exception):
    """A record is damaged, or encoded in a way that is not read here."""


@dataclass(frozen=True, slots=True)
class Texts:
    """Strings or bytes where they stand: their positions and sizes in bytes, ascending."""

    starts: Integers
    sizes: Integers


@dataclass(frozen=True, slots=True)
class Lists:
    """Arrays of integers: the number of items of each record, and all items in the order of the records."""

    counts: Integers
    items: Integers


class Bodies:
    """The joined bytes of all records.

    Args:
        data: records, then :data:`PADDING`.
    """

    def __init__(self, data: bytes) -> None:
        self.data = data
        self._bytes = np.frombuffer(data, np.uint8)
        # One word for each position, overlapping: a view without a copy.
        places = (len(data) - 7,)
        self._words: npt.NDArray[np.uint64] = np.ndarray(places, "<u8", data, 0, (1,))
        self._doubles: npt.NDArray[np.float64] = np.ndarray(places, "<f8", data, 0, (1,))

    @cached_property
    def _stops(self) -> Integers:
        """Positions of all bytes that end a varint, should they belong to one."""
        return np.flatnonzero(self._bytes < 0x80)

    def heads(self, at: Integers) -> npt.NDArray[np.uint64]:
        """Return the five bytes at each position as a number, the first byte lowest."""
        return self._words[at] & _HEAD

    def integers(self, at: Integers) -> tuple[Integers, Integers]:
        """Read an ``int`` or ``long`` of any size.

        Raises:
            Irregular: one has more than 64 bits.
        """
        words = self._words[at]
        stops = ~words & _CONTINUES
        # All bits below the lowest stop bit; all 64 if the varint is longer than the word.
        below = (stops & (~stops + _ONE)) - _ONE
        sizes = (np.bitwise_count(below).astype(np.int64) + 1) >> 3
        values = words & below & _PAYLOAD
        for low, high, shift in _SQUEEZE:
            values = (values & low) | ((values & high) >> shift)
        longer = np.flatnonzero(stops == 0)
        if longer.size:
            ninth, tenth = self._bytes[at[longer] + 8], self._bytes[at[longer] + 9]
            more = ninth >= 0x80
            tenth = np.where(more, tenth, 0).astype(np.uint8)
            if tenth.max() > 1:
                raise Irregular
            values[longer] |= ((ninth & 0x7F).astype(np.uint64) << np.uint64(56)) | (
                tenth.astype(np.uint64) << np.uint64(63)
            )
            sizes[longer] += 1 + more
        return ((values >> _ONE) ^ (~(values & _ONE) + _ONE)).view(np.int64), at + sizes

    def small(self, at: Integers) -> tuple[Integers, Integers]:
        """Read an ``int`` or ``long``, quickly where each is one byte."""
        found = self._bytes[at]
        if found.max(initial=0) >= 0x80:
            return self.integers(at)
        values = found.astype(np.int64)
        return (values >> 1) ^ -(values & 1), at + 1

    def flags(self, at: Integers) -> tuple[Booleans, Integers]:
        """Read a ``boolean``.

        Raises:
            Irregular: a byte is neither 0 nor 1.
        """
        found = self._bytes[at]
        if found.max(initial=0) > 1:
            raise Irregular
        return found.view(np.bool_), at + 1

    def doubles(self, at: Integers) -> tuple[npt.NDArray[np.float64], Integers]:
        """Read a ``double``."""
        return self._doubles[at], at + 8

    def texts(self, at: Integers, ends: Integers) -> tuple[Texts, Integers]:
        """Read a ``string`` or ``bytes``; UTF-8 is not checked.

        Raises:
            Irregular: a size is negative or leads past the end of the record.
        """
        sizes, at = self.small(at)
        if ((sizes < 0) | (sizes > ends - at)).any():
            raise Irregular
        return Texts(at, sizes), at + sizes

    def lists(self, at: Integers, ends: Integers, number: int) -> tuple[list[Lists], Integers]:
        """Read ``number`` consecutive arrays of ``long``, each in one block.

        All bytes that end a varint are numbered. An array's items are the varints after its count, whatever their
        sizes, so their places follow from the number of the count's last byte.

        Raises:
            Irregular: a count leads past the end of the record, or an array has several blocks.
        """
        stops = self._stops
        found: list[Lists] = []
        number_of = np.searchsorted(stops, at)
        for _ in range(number):
            counts, at = self.small(at)
            if ((counts < 0) | (counts > ends - at)).any():
                raise Irregular
            last = stops.take(number_of + counts, mode="clip") + 1
            if (last > ends).any():
                raise Irregular
            filled = counts > 0
            if self._bytes[last[filled]].any():
                raise Irregular
            before = np.cumsum(counts) - counts
            places = np.repeat(number_of - before, counts)
            places += np.arange(len(places))
            items, _ends = self.integers(stops[places] + 1)
            found.append(Lists(counts, items))
            at = last + filled
            number_of = number_of + 1 + counts + filled
            within(at, ends)
        return found, at


def within(at: Integers, ends: Integers) -> None:
    """Check that no position is past the end of its record.

    Raises:
        Irregular: one is.
    """
    if (at > ends).any():
        raise Irregular
