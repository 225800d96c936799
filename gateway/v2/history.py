"""History of a feed: its last records as bytes, decoded only when a client comes back. Pure."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from typing import Final, Generic, NamedTuple, TypeVar

KEPT_RECORDS: Final = 1000
KEPT_BYTES: Final = 2 * 1024 * 1024

P = TypeVar("P")


class Kept(NamedTuple, Generic[P]):
    """A record: its position in the feed and its bytes on the topic."""

    position: P
    value: bytes


class History(Generic[P]):
    """The last records of one feed, at most ``records`` and ``size`` bytes.

    Attributes:
        bytes: size of the records kept.
    """

    __slots__ = ("_kept", "_records", "_size", "bytes")

    def __init__(self, records: int = KEPT_RECORDS, size: int = KEPT_BYTES) -> None:
        self._records = records
        self._size = size
        self._kept: deque[Kept[P]] = deque()
        self.bytes = 0

    def __len__(self) -> int:
        return len(self._kept)

    def __iter__(self) -> Iterator[Kept[P]]:
        """Iterate from the oldest to the newest."""
        return iter(self._kept)

    def __reversed__(self) -> Iterator[Kept[P]]:
        """Iterate from the newest to the oldest."""
        return reversed(self._kept)

    @property
    def last(self) -> P | None:
        """Position of the newest record."""
        return self._kept[-1].position if self._kept else None

    def add(self, position: P, value: bytes) -> None:
        """Add the next record and drop the oldest beyond the bounds."""
        self._kept.append(Kept(position, value))
        self.bytes += len(value)
        while len(self._kept) > self._records or self.bytes > self._size:
            self.bytes -= len(self._kept.popleft().value)

    def clear(self) -> None:
        """Drop all records."""
        self._kept.clear()
        self.bytes = 0

    def after(self, position: P) -> list[bytes] | None:
        """Return the values of all records after the newest one at ``position``; None: there is none."""
        values: list[bytes] = []
        for kept in reversed(self._kept):
            if kept.position == position:
                return values[::-1]
            values.append(kept.value)
        return None

    def at(self, position: P) -> bytes | None:
        """Return the value of the newest record at ``position``."""
        return next((kept.value for kept in reversed(self._kept) if kept.position == position), None)
