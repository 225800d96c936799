"""Interfaces of the hub and of the feeds to sessions."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol

from gateway.delivery import Schedule
from gateway.v2.encoding import Form
from gateway.v2.feed import Feed, Variant
from gateway.v2.options import Options
from gateway.v2.selection import FeedKey, Selection


class Board(Schedule, Protocol):
    """Interface of :class:`gateway.fanout.Hub` to sessions."""

    def shared_frame(self, messages: tuple[bytes, ...], build: Callable[[], bytes]) -> bytes:
        """Return messages as one frame, built once per tick and set of messages."""
        ...


class Feeds(Protocol):
    """Interface of :class:`gateway.v2.streams.Streams` to sessions."""

    @property
    def watchers(self) -> dict[Any, None]:
        """Clients with patterns."""
        ...

    def match(self, selection: Selection, may: Callable[[str | None], bool]) -> list[FeedKey]:
        """Return the known feeds of a selection.

        Raises:
            UnknownInstrument: a name is not known.
        """
        ...

    def variant(self, key: FeedKey, options: Options, form: Form) -> Variant:
        """Return a feed for a subscriber."""
        ...

    def await_book(self, key: FeedKey, waiter: Any) -> bool:
        """Tell ``waiter`` when a whole book is loaded; False: nothing has to be waited for."""
        ...

    def stop_waiting(self, key: FeedKey, waiter: Any) -> None:
        """End the wait for a book."""
        ...

    def leave(self, key: FeedKey, options: Options) -> None:
        """Drop the feed if it has no subscriber left."""
        ...

    def fresh(self, key: FeedKey, options: Options) -> Feed:
        """Return a feed without subscribers."""
        ...
