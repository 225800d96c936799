"""Levels of a record that are decoded at their first use.

Whoever decodes a record may leave its levels as they stand on the wire (:mod:`schemas.depth_reader`), after proving
that they can be decoded: here nothing is checked, and nothing can fail.
"""

from __future__ import annotations

from io import BytesIO
from typing import TYPE_CHECKING, Any, Final

import fastavro

LEVELS: Final = ("bid_prices", "bid_sizes", "ask_prices", "ask_sizes")
"""Fields with levels, in the order of the schema."""

UNREAD: Final = "_unread"
"""Attribute of a record whose levels were not decoded: their bytes on the wire."""

NO_LEVELS: Final = bytes(len(LEVELS))
"""The levels of a book without any, on the wire."""

_SCHEMA: Final[Any] = fastavro.parse_schema(
    {
        "type": "record",
        "name": "Levels",
        "fields": [{"name": name, "type": {"type": "array", "items": "long"}} for name in LEVELS],
    }
)


class LazyLevels:
    """Base of a record whose levels may be decoded at their first use.

    Until then the record's ``__dict__`` lacks them; :func:`read_levels` completes it.
    """

    if not TYPE_CHECKING:

        def __getattr__(self, name: str) -> list[int]:
            if name not in LEVELS or not read_levels(self):
                raise AttributeError(f"{type(self).__name__!r} has no attribute {name!r}", name=name, obj=self)
            return self.__dict__[name]


def read_levels(record: object) -> bool:
    """Decode the levels of a record; return whether they were not decoded yet."""
    raw = record.__dict__.pop(UNREAD, None)
    if raw is None:
        return False
    levels: Any = fastavro.schemaless_reader(BytesIO(raw), _SCHEMA, None)
    record.__dict__.update(levels)
    return True


def best_prices(record: LazyLevels) -> tuple[int | None, int | None]:
    """Return best bid and offer of a record, mantissas; None: the side is empty. Other levels stay undecoded."""
    values = record.__dict__
    raw: bytes | None = values.get(UNREAD)
    if raw is None:
        bids, asks = values["bid_prices"], values["ask_prices"]
        return bids[0] if bids else None, asks[0] if asks else None
    if raw == NO_LEVELS:
        return None, None
    # Each array begins with a byte for its size and ends with a zero: :mod:`schemas.depth_reader` leaves no others.
    return _integer(raw, 1), _integer(raw, raw.index(0, raw.index(0) + 1) + 2)


def _integer(raw: bytes, at: int) -> int:
    """Return the integer that begins at ``at`` (zigzag, seven bits a byte, the lowest first)."""
    byte = raw[at]
    value, shift = byte & 0x7F, 7
    while byte & 0x80:
        at += 1
        byte = raw[at]
        value |= (byte & 0x7F) << shift
        shift += 7
    return value >> 1 ^ -(value & 1)
