"""What waits for one client: bounded, in order, and conflated when the client is too slow. Pure.

A message belongs to a feed (market data) or to none (answers). When more than ``limit`` characters wait, all waiting
data is dropped and the feeds concerned are *stale*: nothing more is queued for them, and when the client can be
written to again it gets each feed's snapshot of that moment. So a slow client sees fewer states, never a wrong one,
and what waits for it is bounded by its subscriptions, not by time.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from typing import Final, Protocol


class Source(Protocol):
    """A feed, as far as the outbox is concerned."""

    def snapshot(self) -> Sequence[str]:
        """Return the messages that put a client in step with the feed as it is now."""
        ...


class _Left:
    """Stands for the feeds that a client has left while messages of them waited."""

    def snapshot(self) -> Sequence[str]:
        return ()


_LEFT: Final[Source] = _Left()


class Outbox:
    """The queue of one client.

    Args:
        limit: characters (the stream is ASCII: bytes) that may wait.

    Attributes:
        waiting: characters queued; snapshots of stale feeds are made later and not counted.
    """

    __slots__ = ("_entries", "_limit", "_stale", "waiting")

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._entries: deque[tuple[Source | None, str]] = deque()
        self._stale: dict[Source, None] = {}
        self.waiting = 0

    def __bool__(self) -> bool:
        return bool(self._entries or self._stale)

    @property
    def conflated(self) -> bool:
        """Whether a feed waits to be put in step again."""
        return bool(self._stale)

    @property
    def overflowing(self) -> bool:
        """Whether more waits than may, even after conflation: answers that nobody reads."""
        return self.waiting > self._limit

    def answer(self, text: str) -> int:
        """Queue a message that belongs to no feed, which conflation leaves where it is; return as :meth:`put`."""
        self._entries.append((None, text))
        self.waiting += len(text)
        return self._conflate() if self.waiting > self._limit else 0

    def restart(self, source: Source) -> None:
        """Queue the feed's snapshot as it is now: what a new subscription gets."""
        self._stale.pop(source, None)
        for text in source.snapshot():
            self._entries.append((source, text))
            self.waiting += len(text)

    def put(self, source: Source, text: str) -> int:
        """Queue a message of a feed; return how many feeds had to be conflated for it (0 nearly always)."""
        if source in self._stale:
            return 0
        self._entries.append((source, text))
        self.waiting += len(text)
        return self._conflate() if self.waiting > self._limit else 0

    def _conflate(self) -> int:
        stale = {source: None for source, _ in self._entries if source is not None and source is not _LEFT}
        self._entries = deque(entry for entry in self._entries if entry[0] is None)
        self.waiting = sum(len(text) for _, text in self._entries)
        self._stale |= stale
        return len(stale)

    def forget(self, source: Source) -> None:
        """Owe the client nothing more of a feed it has left: what waits of it keeps its place, and may be dropped."""
        self._stale.pop(source, None)
        self._entries = deque((_LEFT if of is source else of, text) for of, text in self._entries)

    def take(self, size: int) -> tuple[str, ...]:
        """Return the next messages, in order: at least one if any waits, then as many as fit into ``size``."""
        taken: list[str] = []
        length = 0
        while True:
            if not self._entries:
                if not self._stale:
                    break
                source = next(iter(self._stale))
                self.restart(source)
                continue
            text = self._entries[0][1]
            if taken and length + len(text) > size:
                break
            self._entries.popleft()
            self.waiting -= len(text)
            taken.append(text)
            length += len(text) + 1
        return tuple(taken)
