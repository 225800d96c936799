"""What a shard needs of the collector it belongs to."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from typing import TYPE_CHECKING, Any, Protocol

from alphapulse.config import FreshnessSettings
from producers.collector.events import EventLog
from producers.collector.publisher import Publisher
from producers.feed.venue import Venue
from producers.net.rate_limit import RateLimiter
from producers.net.rest import RestClient

if TYPE_CHECKING:
    from producers.collector.shard import Shard


class Context(Protocol):
    """A collector, as its shards see it."""

    venue: Venue
    freshness: FreshnessSettings
    publisher: Publisher
    event_log: EventLog
    log: Any
    rest: RestClient
    connects: RateLimiter
    messages: RateLimiter | None
    """Of all shards together, where the venue counts them so."""
    frames: int
    """Frames received on all shards so far; a frame's number is what it was with it."""
    bytes: int
    told: int
    """The number up to which frames were said to be done."""

    def now(self) -> int:
        """Return the time, ns since the Unix epoch; each later than the one before."""
        ...

    def spawn(self, work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        """Run ``work``; an error in it ends the collector."""
        ...

    def shard_changed(self) -> None:
        """Take note that a shard connected or lost its connection."""
        ...

    def replace(self, shard: Shard, reason: str, delay: float) -> None:
        """Open a new connection for the shard's symbols, then end this one."""
        ...
