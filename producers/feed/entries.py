"""The entries of a frame that has several: read all at once, or, if one of them cannot be read, each for itself."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final, Generic, Protocol, TypeVar

import msgspec


class Entry(Protocol):
    """A message, or a part of one, about one instrument."""

    @property
    def symbol(self) -> str:
        """The instrument, in the venue's spelling."""
        ...


T = TypeVar("T")

UNREADABLE: Final = (msgspec.DecodeError, UnicodeDecodeError, RecursionError)
"""What decoders raise."""


class Entries(Generic[T]):
    """Decoders of a JSON array of ``kind``.

    Attributes:
        decode: the whole array.
        decode_one: an entry.
    """

    __slots__ = ("decode", "decode_one")

    def __init__(self, kind: type[T]) -> None:
        self.decode: Callable[[bytes | msgspec.Raw], list[T]] = msgspec.json.Decoder(list[kind]).decode  # type: ignore[valid-type]
        self.decode_one: Callable[[bytes | msgspec.Raw], T] = msgspec.json.Decoder(kind).decode


split: Final[Callable[[bytes | msgspec.Raw], list[msgspec.Raw]]] = msgspec.json.Decoder(list[msgspec.Raw]).decode
"""Takes a JSON array apart."""
