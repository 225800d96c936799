"""Snapshots on demand, as a source of messages: a slow client gets the newest. Pure."""

from __future__ import annotations

from dataclasses import dataclass
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
    """The answer to one request for snapshots: all of them, and its end."""

    request_id: int | str | None
    keys: list[FeedKey]
    options: Options
    feeds: Feeds
    encoding: Encoding

    def snapshot(self) -> list[bytes]:
        """Return the current snapshots, and the end of the answer."""
        form = Form(self.encoding, checksum=False)
        found: list[bytes] = []
        for key in self.keys:
            for message in self.feeds.fresh(key, self.options).snapshot():
                answering = (
                    messages.with_id(message, self.request_id)
                    if isinstance(message, Struct)
                    else message.answering(self.request_id)
                )
                found.append(encoded(answering, form))
        return [*found, self.encoding.encode(messages.Done(self.request_id, len(self.keys)))]

    def resume(self) -> list[bytes]:
        """Return the same as they are now."""
        return self.snapshot()
