"""Bounded set of recent ids, to detect duplicates. Pure."""

from __future__ import annotations

from collections import deque
from collections.abc import Hashable, Iterable, Iterator
from typing import Generic, TypeVar

T = TypeVar("T", bound=Hashable)


class RecentIds(Generic[T]):
    """The last ``most`` ids in order of arrival; a repeated id keeps its position.

    A set and a queue instead of one ordered dictionary: finding the first key of a ``dict`` whose first keys were
    deleted scans all of their slots (15 µs with 65,536 ids), and an ``OrderedDict`` takes twice the memory.

    Args:
        most: maximum number of ids, at least one.
        ids: initial ids, the oldest first.
    """

    __slots__ = ("_known", "_most", "_order")

    def __init__(self, most: int, ids: Iterable[T] = ()) -> None:
        self._most = most
        self._known: set[T] = set()
        self._order: deque[T] = deque()
        for one in ids:
            self.add(one)

    def add(self, one: T) -> bool:
        """Add ``one`` and drop the oldest beyond the bound; return whether it is new."""
        known = self._known
        if one in known:
            return False
        known.add(one)
        self._order.append(one)
        if len(known) > self._most:
            known.remove(self._order.popleft())
        return True

    def __contains__(self, one: object) -> bool:
        return one in self._known

    def __iter__(self) -> Iterator[T]:
        """Iterate from the oldest to the newest."""
        return iter(self._order)

    def __len__(self) -> int:
        return len(self._known)
