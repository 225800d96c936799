"""Snapshots on demand, each made when the client can be written to: a slow client gets the newest. Pure."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Final

from msgspec import Struct

from alphapulse.errors import RequestRefused
from gateway.v2 import messages
from gateway.v2.encoding import Encoding, Form, encoded
from gateway.v2.interfaces import Feeds
from gateway.v2.options import Options
from gateway.v2.selection import FeedKey


class SnapshotsRefused(RequestRefused):
    """A client asks for snapshots faster than it reads them."""

    retry_after_ms: Final = 1000

    def __init__(self, reason: str) -> None:
        super().__init__("rate_limited", reason)


@dataclass(frozen=True, slots=True, eq=False)
class Demand:
    """The answer to one request for snapshots.

    Args:
        permitted: whether the client may see a feed, asked when its snapshot is made: credentials may have changed.
    """

    request_id: int | str | None
    keys: Sequence[FeedKey]
    options: Options
    feeds: Feeds
    encoding: Encoding
    permitted: Callable[[FeedKey], bool]
    _told: set[FeedKey] = field(default_factory=set, init=False)

    def parts(self) -> list[Callable[[], list[bytes]]]:
        """Return what makes the messages of each feed, then the end of the answer; call them in order."""
        return [*(partial(self._snapshot, key) for key in self.keys), self._done]

    def _snapshot(self, key: FeedKey) -> list[bytes]:
        if not self.permitted(key):
            return []
        self._told.add(key)
        form = Form(self.encoding, checksum=False)
        return [
            encoded(
                messages.with_id(message, self.request_id)
                if isinstance(message, Struct)
                else message.answering(self.request_id),
                form,
            )
            for message in self.feeds.fresh(key, self.options).snapshot()
        ]

    def _done(self) -> list[bytes]:
        return [self.encoding.encode(messages.Done(self.request_id, len(self._told)))]
