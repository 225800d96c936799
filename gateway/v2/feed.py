"""Base of the feeds: state that a feed's subscribers know, and its messages, encoded once per form. Pure.

A feed belongs to a channel, an instrument (or venue, or symbol) and the options that decide what its messages say:
levels, interval, candle interval. What decides only how they are written is a :class:`Form`: all subscribers of a form
are behind one :class:`Variant`, which encodes each message once.

All subscribers of a feed know the same state. A new one gets a snapshot of *that*, not of the newest, so the next
message continues it, too.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Any, Protocol

from gateway.outbox import Source
from gateway.v2.encoding import Form, Outgoing, encoded
from gateway.v2.pace import Pacer
from gateway.v2.requests import Position


class Subscriber(Protocol):
    """A client, as seen by a feed."""

    def deliver(self, source: Source[bytes], data: bytes) -> None:
        """Queue a message for the client; never blocks, never fails."""
        ...


class Variant:
    """The subscribers of a feed that get the same bytes.

    Attributes:
        subscribers: in order of subscription.
    """

    __slots__ = ("_snapshot", "feed", "form", "subscribers")

    def __init__(self, feed: Feed, form: Form) -> None:
        self.feed = feed
        self.form = form
        self.subscribers: dict[Subscriber, None] = {}
        self._snapshot: tuple[int, Sequence[bytes]] | None = None

    def snapshot(self) -> Sequence[bytes]:
        """Return the messages for a new subscriber."""
        messages = self.feed.snapshot()  # before its version: it may begin
        if self._snapshot is None or self._snapshot[0] != self.feed.version:
            self._snapshot = self.feed.version, [encoded(message, self.form) for message in messages]
        return self._snapshot[1]

    def resume(self) -> Sequence[bytes]:
        """Return the messages for a subscriber whose queued messages were dropped."""
        if self.feed.keeps_gaps:
            return [encoded(message, self.form) for message in self.feed.resumption()]
        return self.snapshot()

    def recover(self, position: Position) -> Sequence[bytes] | None:
        """Return the messages that a subscriber at ``position`` missed; None: it needs a snapshot."""
        messages = self.feed.recover(position)
        return None if messages is None else [encoded(message, self.form) for message in messages]

    def join(self, subscriber: Subscriber) -> None:
        """Add a subscriber; it gets every message from now on."""
        if subscriber not in self.subscribers:
            self.subscribers[subscriber] = None
            self.feed.audience += 1

    def leave(self, subscriber: Subscriber) -> None:
        """Remove a subscriber."""
        if subscriber in self.subscribers:
            del self.subscribers[subscriber]
            self.feed.audience -= 1

    def send(self, message: Outgoing) -> None:
        """Queue a message for all subscribers."""
        if self.subscribers:
            data = encoded(message, self.form)
            for subscriber in self.subscribers:
                subscriber.deliver(self, data)


class Feed(ABC):
    """Base of all feeds.

    Args:
        pacer: for feeds with an interval.
        interval_ms: 0: each change.

    Attributes:
        audience: number of subscribers. Without any, the state that they know is the newest.
        version: changes whenever the snapshot may.
        keeps_gaps: whether a subscriber whose messages were dropped is told of the gap.
    """

    keeps_gaps = False

    def __init__(self, pacer: Pacer, interval_ms: int = 0) -> None:
        self.audience = 0
        self.version = 0
        self._pacer = pacer
        self._interval_ms = interval_ms
        self._variants: dict[Form, Variant] = {}

    def variant(self, form: Form) -> Variant:
        """Return the variant of a form."""
        found = self._variants.get(form)
        if found is None:
            found = self._variants[form] = Variant(self, form)
        return found

    def snapshot(self) -> Sequence[Outgoing]:
        """Return the messages that bring a client to the state that the subscribers know."""
        if not self.audience:
            self._begin()
        return self._snapshot()

    def resumption(self) -> Sequence[Outgoing]:
        """Return the snapshot for a subscriber that missed messages; see ``keeps_gaps``."""
        return self._snapshot()

    def recover(self, position: Position) -> Sequence[Outgoing] | None:
        """Return what a client at ``position`` missed; None: it cannot be told, or the feed has no positions.

        The subscribers may get a message early for this: their state is brought up to date first.
        """
        return None

    def take(self, record: Any) -> None:
        """Take a record of the feed that the state has just applied."""
        self.changed()

    def retell(self) -> None:
        """Send what has changed without a record."""
        self.changed()

    def changed(self) -> None:
        """Send the change at once, or at the next tick; called after each change of the state behind the feed."""
        if self._interval_ms and self.audience:
            self._pacer.wait(self, self._interval_ms)
        else:
            self.flush()

    def flush(self) -> None:
        """Send what the subscribers do not know yet."""
        self.version += 1
        if self.audience:
            for message in self._news():
                self._send(message)

    def tell_gap(self) -> None:
        """Send what is pending, then the snapshot that tells of a gap: records of the feed were lost."""
        if self.audience:
            self.flush()
            for message in self.resumption():
                self._send(message)

    def catch_up(self) -> None:
        """Let the newest state be what the subscribers know, whatever the interval."""
        if self.audience:
            self.flush()
        else:
            self._begin()

    def _send(self, message: Outgoing) -> None:
        for variant in self._variants.values():
            variant.send(message)

    @abstractmethod
    def _begin(self) -> None:
        """Take the newest state for what the subscribers know: there are none."""

    @abstractmethod
    def _snapshot(self) -> Sequence[Outgoing]:
        """Return the snapshot of what the subscribers know."""

    @abstractmethod
    def _news(self) -> Sequence[Outgoing]:
        """Return the messages from what the subscribers know to the newest state, and take that for known."""
