"""The two encodings of the stream, by their WebSocket subprotocol. Pure.

A WebSocket message of the gateway holds one or more messages: JSON objects one per line, or MessagePack maps one after
the other.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final, Literal, TypeAlias

import msgspec

from alphapulse.client.errors import ProtocolError
from alphapulse.shown import shown

Encoding: TypeAlias = Literal["json", "msgpack"]

SUBPROTOCOLS: Final[dict[Encoding, str]] = {"json": "alphapulse.v2.json", "msgpack": "alphapulse.v2.msgpack"}

_json: Final = msgspec.json.Decoder()
_msgpack: Final = msgspec.msgpack.Decoder()


def encode(fields: dict[str, Any], encoding: Encoding) -> str | bytes:
    """Return a message to the gateway."""
    if encoding == "json":
        return msgspec.json.encode(fields).decode()
    return msgspec.msgpack.encode(fields)


def decode(data: str | bytes, encoding: Encoding) -> list[dict[str, Any]]:
    """Return the messages in one WebSocket message, in order; each has a ``type``.

    Raises:
        ProtocolError: the data is not of this encoding.
    """
    if isinstance(data, str) is not (encoding == "json"):
        found = "text" if isinstance(data, str) else "binary"
        raise ProtocolError(f"a {found} WebSocket message; the encoding is {encoding}")
    try:
        values: list[Any] = (
            [_json.decode(line) for line in data.split("\n") if line] if isinstance(data, str) else _maps(data)
        )
    except (msgspec.DecodeError, ValueError, RecursionError) as error:
        raise ProtocolError(f"not {encoding}: {error}, found {data[:80]!r}") from error
    for value in values:
        if not isinstance(value, dict) or not isinstance(value.get("type"), str):
            raise ProtocolError(f"expected an object with a type, found {shown(value)}")
    return values


def _maps(data: bytes) -> list[Any]:
    ends = list(_ends(data))
    if len(ends) == 1:
        return [_msgpack.decode(data)]
    return [_msgpack.decode(data[start:end]) for start, end in zip([0, *ends], ends, strict=False)]


# Bytes after the type byte, for types of a fixed size; after the length, for those that carry one.
_FIXED: Final = {0xC0: 0, 0xC2: 0, 0xC3: 0, 0xCA: 4, 0xCB: 8, 0xCC: 1, 0xCD: 2, 0xCE: 4, 0xCF: 8, 0xD0: 1, 0xD1: 2}
_FIXED_SIZE: Final = _FIXED | {0xD2: 4, 0xD3: 8, 0xD4: 2, 0xD5: 3, 0xD6: 5, 0xD7: 9, 0xD8: 17}
_LENGTH_BYTES: Final = {0xC4: 1, 0xC5: 2, 0xC6: 4, 0xD9: 1, 0xDA: 2, 0xDB: 4, 0xC7: 1, 0xC8: 2, 0xC9: 4}
_COUNT_BYTES: Final = {0xDC: 2, 0xDD: 4, 0xDE: 2, 0xDF: 4}
_EXTENSIONS: Final = frozenset({0xC7, 0xC8, 0xC9})


def _ends(data: bytes) -> Iterator[int]:
    """Yield where each MessagePack value ends. msgspec decodes one value only, and does not tell its end.

    Source: https://github.com/msgpack/msgpack/blob/master/spec.md

    Raises:
        ValueError: the data ends within a value.
    """
    at = 0
    size = len(data)
    while at < size:
        pending = 1
        while pending:
            if at >= size:
                raise ValueError(f"the data ends within a value, at byte {size}")
            pending -= 1
            kind = data[at]
            at += 1
            if kind <= 0x7F or kind >= 0xE0:  # small integers
                continue
            if kind <= 0x8F:  # map of up to 15
                pending += 2 * (kind & 0x0F)
            elif kind <= 0x9F:  # array of up to 15
                pending += kind & 0x0F
            elif kind <= 0xBF:  # text of up to 31 bytes
                at += kind & 0x1F
            elif (fixed := _FIXED_SIZE.get(kind)) is not None:
                at += fixed
            elif (width := _LENGTH_BYTES.get(kind)) is not None:
                at += width + int.from_bytes(data[at : at + width], "big") + (kind in _EXTENSIONS)
            elif (width := _COUNT_BYTES.get(kind)) is not None:
                count = int.from_bytes(data[at : at + width], "big")
                pending += 2 * count if kind >= 0xDE else count
                at += width
            else:
                raise ValueError(f"byte {kind:#x} at {at - 1} begins no value")
        if at > size:
            raise ValueError(f"the data ends within a value, at byte {size}")
        yield at
