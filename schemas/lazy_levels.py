"""Levels of a record that are decoded at their first use.

Whoever decodes a record may leave its levels as they stand on the wire (:mod:`schemas.depth_reader`), after proving
that they can be decoded: here nothing is checked, and nothing can fail.

An Avro ``long`` is written as Protocol Buffers write a ``sint64`` (zigzag, seven bits a byte, the lowest first), and a
packed repeated field is such integers one after the other, as the items of an Avro array are. So protobuf's parser,
which is compiled, reads the levels in a quarter of the time that fastavro takes, which reads byte by byte.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from google.protobuf.descriptor_pb2 import FieldDescriptorProto, FileDescriptorProto
from google.protobuf.descriptor_pool import DescriptorPool
from google.protobuf.message_factory import GetMessageClass

LEVELS: Final = ("bid_prices", "bid_sizes", "ask_prices", "ask_sizes")
"""Fields with levels, in the order of the schema."""

UNREAD: Final = "_unread"
"""Attribute of a record whose levels were not decoded: their bytes on the wire."""

NO_LEVELS: Final = bytes(len(LEVELS))
"""The levels of a book without any, on the wire."""


def _message_class() -> Any:
    """Return the class of a Protocol Buffers message with the levels as fields 1 to 4."""
    file = FileDescriptorProto(name="levels.proto", package="levels", syntax="proto3")
    message = file.message_type.add(name="Levels")
    for number, name in enumerate(LEVELS, 1):
        message.field.add(
            name=name,
            number=number,
            type=FieldDescriptorProto.TYPE_SINT64,
            label=FieldDescriptorProto.LABEL_REPEATED,
        )
    pool = DescriptorPool()
    pool.Add(file)
    return GetMessageClass(pool.FindMessageTypeByName("levels.Levels"))


_PARSE: Final = _message_class().FromString
_TAGS: Final = tuple(bytes((number << 3 | 2,)) for number in range(1, len(LEVELS) + 1))
"""Before each field: its number, and that it is packed."""
_LENGTHS: Final = tuple(
    bytes((size,)) if size < 0x80 else bytes((size & 0x7F | 0x80, size >> 7)) for size in range(640)
)
"""Then the length of its bytes: 63 integers have at most nine each."""


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
    record.__dict__.update(zip(LEVELS, _parsed(raw), strict=True))
    return True


def _parsed(raw: bytes) -> tuple[list[int], list[int], list[int], list[int]]:
    """Return the four arrays of ``raw``; each is a byte for its size, the items, and a zero."""
    parts: list[bytes] = []
    for tag, array in zip(_TAGS, raw.split(b"\0"), strict=False):
        size = len(array) - 1
        if size < 0:  # the zero alone: an empty array
            continue
        parts += (tag, _LENGTHS[size], array[1:])
    message = _PARSE(b"".join(parts))
    return message.bid_prices[:], message.bid_sizes[:], message.ask_prices[:], message.ask_sizes[:]


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
