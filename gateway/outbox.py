"""Outgoing queue of one client: bounded, in order, conflated when the client is too slow. Pure.

A message belongs to a feed (market data) or to none (answers). When more than ``limit`` characters are queued, all
queued data is dropped and its feeds are *stale*: nothing more is queued for them, and as soon as the client can be
written to it gets the current snapshot of each. So a slow client sees fewer states, never a wrong one, and its queue
is bounded by its subscriptions, not by time.

What is large or much is queued unbuilt (:meth:`Outbox.later`, :meth:`Outbox.defer`): it is built when the client can be
written to, one at a time.

Messages are text (protocol version 1) or bytes (version 2), of one kind per client.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence
from typing import Any, Final, Generic, Protocol, TypeVar

Message = TypeVar("Message", str, bytes)
M_co = TypeVar("M_co", str, bytes, covariant=True)


class Source(Protocol[M_co]):
    """A feed, as seen by the outbox."""

    def snapshot(self) -> Sequence[M_co]:
        """Return the messages that bring a new subscriber up to date with the feed."""
        ...

    def resume(self) -> Sequence[M_co]:
        """Return the same for a subscriber whose queued messages were dropped."""
        ...


class _Left:
    """Placeholder for feeds that a client has unsubscribed while messages of them were queued."""

    def snapshot(self) -> Sequence[Any]:
        return ()

    def resume(self) -> Sequence[Any]:
        return ()


_LEFT: Final[Source[Any]] = _Left()


class Outbox(Generic[Message]):
    """Queue of one client.

    Args:
        limit: maximum length queued (text of the stream is ASCII: bytes).

    Attributes:
        waiting: length queued; what is built later is not counted.
    """

    __slots__ = ("_deferred", "_entries", "_limit", "_stale", "waiting")

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._entries: deque[tuple[Source[Message] | None, Message]] = deque()
        # Feed → whether messages of it were dropped; if not, it has just been subscribed to.
        self._stale: dict[Source[Message], bool] = {}
        # None while there are none: an empty deque has 760 bytes.
        self._deferred: deque[Callable[[], Sequence[Message]]] | None = None
        self.waiting = 0

    def __bool__(self) -> bool:
        return bool(self._entries or self._stale or self._deferred)

    @property
    def conflated(self) -> bool:
        """Whether a feed whose messages were dropped waits for its snapshot."""
        return any(self._stale.values())

    @property
    def deferred(self) -> int:
        """Number of answers that are not built yet."""
        return len(self._deferred or ())

    @property
    def overflowing(self) -> bool:
        """Whether the queue exceeds its limit even after conflation: unread answers."""
        return self.waiting > self._limit

    def answer(self, text: Message) -> int:
        """Queue a message that belongs to no feed and is never conflated; returns as :meth:`put`."""
        self._entries.append((None, text))
        self.waiting += len(text)
        return self._conflate() if self.waiting > self._limit else 0

    def restart(self, source: Source[Message]) -> None:
        """Queue the feed's current snapshot, for a new subscription."""
        self.begin(source, source.snapshot())

    def begin(self, source: Source[Message], messages: Sequence[Message]) -> None:
        """Queue the first messages of a new subscription: a snapshot, or what a returning client missed."""
        self._stale.pop(source, None)
        for text in messages:
            self._entries.append((source, text))
            self.waiting += len(text)

    def later(self, source: Source[Message]) -> None:
        """Subscribe to a feed whose snapshot is built when the client can be written to; until then it is stale."""
        self._stale[source] = False

    def defer(self, *answers: Callable[[], Sequence[Message]]) -> None:
        """Queue answers (as :meth:`answer`) that are built, in order, when the client can be written to."""
        if answers:
            self._deferred = self._deferred or deque()
            self._deferred.extend(answers)

    def put(self, source: Source[Message], text: Message) -> int:
        """Queue a message of a feed; return how many feeds were conflated for it (nearly always 0)."""
        if self._stale and source in self._stale:
            return 0
        self._entries.append((source, text))
        self.waiting += len(text)
        return self._conflate() if self.waiting > self._limit else 0

    def _conflate(self) -> int:
        stale = {source: True for source, _ in self._entries if source is not None and source is not _LEFT}
        self._entries = deque(entry for entry in self._entries if entry[0] is None)
        self.waiting = sum(len(text) for _, text in self._entries)
        self._stale |= stale
        return len(stale)

    def forget(self, *sources: Source[Message]) -> None:
        """Unsubscribe from feeds: their queued messages stay in place, but may be dropped."""
        left = set(sources)
        for source in left:
            self._stale.pop(source, None)
        self._entries = deque((_LEFT if of in left else of, text) for of, text in self._entries)

    def take(self, size: int) -> tuple[Message, ...]:
        """Return the next messages in order: at least one if any is queued, then as many as fit into ``size``."""
        entries = self._entries
        if not self._stale and not self._deferred and self.waiting + len(entries) <= size:  # nearly always: all of it
            everything = tuple([text for _, text in entries])
            entries.clear()
            self.waiting = 0
            return everything
        taken: list[Message] = []
        length = 0
        while True:
            if not self._entries:
                if self._deferred:
                    if taken:  # what is built is taken at once: it does not wait in the queue for a slow client
                        break
                    for text in self._deferred.popleft()():
                        self._entries.append((None, text))
                        self.waiting += len(text)
                    if not self._deferred:
                        self._deferred = None
                    continue
                if not self._stale:
                    break
                source, dropped = next(iter(self._stale.items()))
                if taken and not dropped:
                    break
                self.begin(source, source.resume() if dropped else source.snapshot())
                continue
            text = self._entries[0][1]
            if taken and length + len(text) > size:
                break
            self._entries.popleft()
            self.waiting -= len(text)
            taken.append(text)
            length += len(text) + 1
        return tuple(taken)
