"""Reader of Depth records that leaves the levels to be decoded at their first use.

Levels are most of a Depth, and most readers of ``md.depth`` use few of them: a gateway those that somebody watches, a
processor the prices alone, as long as they do not cross. So the fields before the levels are decoded, and the levels
are only proven to be sound, which takes bytes operations on the whole instead of a step for each integer:

* In Avro's usual encoding the four arrays are nothing but variable-length integers: for each array the number of its
  items, the items, and a zero; an empty array is the zero alone. A zero byte ends each array, if no item is zero.
* Of each integer the last byte is below 0x80, all others are not. So without the others, as many bytes are left as
  there are integers.
* An integer of at most nine bytes has at most 63 bits: it fits a long.

Whatever is encoded otherwise (several blocks, an item of zero, a side alone, 64 or more levels, an integer of 64 bits)
or is damaged is not read here: the codec's general reader decodes it, or says what is wrong with it.
"""

from __future__ import annotations

import struct
from collections.abc import Mapping
from io import BytesIO
from typing import Any, Final

from fastavro import schemaless_reader
from fastavro.read import SchemaResolutionError

from schemas.lazy_levels import LEVELS, NO_LEVELS, UNREAD
from schemas.records import Depth
from schemas.validity import Validity

HEAD_BYTES: Final = struct.calcsize(">bI")
"""Magic byte and schema id."""

UNREADABLE: Final = (
    ValueError,  # includes UnicodeDecodeError
    TypeError,
    EOFError,
    LookupError,  # enum and union indices
    OverflowError,
    SchemaResolutionError,
)
"""What fastavro raises for a body that does not fit its schema."""

_CONTINUING: Final = bytes(range(0x80, 0x100))
_MARKS: Final = b"Z" + b"L" * 0x7F + b"C" * 0x80
"""Marks zeros, bytes that end an integer, and those that do not."""
_CUT: Final = b"CZ"
_TOO_LONG: Final = b"C" * 9


class DepthReader:
    """Reads Depth records of this release's schema, which has the levels at its end.

    Args:
        schema: as fastavro parsed it, enums checked.
    """

    def __init__(self, schema: Mapping[str, Any]) -> None:
        names = tuple(field["name"] for field in schema["fields"])
        if names[-len(LEVELS) :] != LEVELS:
            raise AssertionError(f"the levels are not the last fields: {names}")
        self._head = {**schema, "fields": schema["fields"][: -len(LEVELS)]}
        self._sound = Validity(self._head).sound

    def read(self, value: bytes) -> Depth | None:
        """Return the record of the wire bytes ``value``; None: it is damaged, or encoded in a way not read here."""
        body = BytesIO(value)
        body.seek(HEAD_BYTES)
        try:
            values: dict[str, Any] = schemaless_reader(body, self._head, None)  # type: ignore[assignment]
        except UNREADABLE:
            return None
        levels = value[body.tell() :]
        if not (sound_levels(levels) and self._sound(values)):
            return None
        values[UNREAD] = levels
        record = object.__new__(Depth)
        record.__dict__ = values
        return record


def sound_levels(raw: bytes) -> bool:
    """Return whether ``raw`` is four arrays of longs, two by two of the same size, in the usual encoding.

    False: it is damaged, or encoded in another way.
    """
    try:
        bid_prices, bid_sizes, ask_prices, ask_sizes, rest = raw.split(b"\0")
        ends = [len(array) for array in raw.translate(None, _CONTINUING).split(b"\0")]
        bids, asks = bid_prices[0], ask_prices[0]
        same = bids == bid_sizes[0] and asks == ask_sizes[0]
    except (ValueError, IndexError):
        return raw == NO_LEVELS
    marks = raw.translate(_MARKS)
    # Zigzag: an even number is twice the count; odd ones are negative counts, of blocks that tell their size.
    counted = [(bids >> 1) + 1, (bids >> 1) + 1, (asks >> 1) + 1, (asks >> 1) + 1, 0]
    return same and not (bids | asks) & 0x81 and ends == counted and not (_CUT in marks or _TOO_LONG in marks or rest)
