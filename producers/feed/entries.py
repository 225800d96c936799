"""Decoding of frames with several entries: all at once, or one by one if an entry is malformed."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final, Generic, Protocol, TypeVar

import msgspec


class Entry(Protocol):
    """An entry of a frame about one instrument."""

    @property
    def symbol(self) -> str:
        """The instrument, as the venue spells it."""
        ...


T = TypeVar("T")

UNREADABLE: Final = (msgspec.DecodeError, UnicodeDecodeError, RecursionError)
"""Exceptions that decoders raise."""


class Entries(Generic[T]):
    """Decoders for a JSON array of ``kind``.

    Attributes:
        decode: decodes the whole array.
        decode_one: decodes one entry.
    """

    __slots__ = ("decode", "decode_one")

    def __init__(self, kind: type[T]) -> None:
        self.decode: Callable[[bytes | msgspec.Raw], list[T]] = msgspec.json.Decoder(list[kind]).decode  # type: ignore[valid-type]
        self.decode_one: Callable[[bytes | msgspec.Raw], T] = msgspec.json.Decoder(kind).decode


split: Final[Callable[[bytes | msgspec.Raw], list[msgspec.Raw]]] = msgspec.json.Decoder(list[msgspec.Raw]).decode
"""Splits a JSON array into its raw entries."""
