"""Encoding of server frames: unfragmented, unmasked, uncompressed (RFC 6455, section 5.2)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final


class _Headers(dict[int, bytes]):
    """Frame headers by payload length."""

    def __init__(self, first: int) -> None:
        super().__init__()
        self._first = first

    def __missing__(self, length: int) -> bytes:
        if length < 126:
            header = bytes((self._first, length))
        elif length < 1 << 16:
            header = bytes((self._first, 126)) + length.to_bytes(2, "big")
        else:
            return bytes((self._first, 127)) + length.to_bytes(8, "big")
        self[length] = header
        return header


_TEXT_HEADERS: Final = _Headers(0x81)
_BINARY_HEADERS: Final = _Headers(0x82)


def joined(frames: Sequence[bytes]) -> bytes:
    """Return ``frames`` in wire format: text messages, or binary ones where the bytes are not UTF-8."""
    headers = _TEXT_HEADERS
    if b"".join(frames).isascii():
        parts: list[bytes] = []
        for frame in frames:
            parts += (headers[len(frame)], frame)
        return b"".join(parts)
    return b"".join([(headers if is_text(frame) else _BINARY_HEADERS)[len(frame)] + frame for frame in frames])


def is_text(frame: bytes) -> bool:
    """Whether ``frame`` is UTF-8."""
    try:
        frame.decode()
    except UnicodeDecodeError:
        return False
    return True
