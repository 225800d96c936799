"""What a line needs of the collector it belongs to."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from typing import TYPE_CHECKING, Any, Protocol

from alphapulse.config import FreshnessSettings
from producers.collector.events import Journal
from producers.collector.publisher import Publisher
from producers.feed.venue import Venue
from producers.net.rate_limit import Gate
from producers.net.rest import RestClient

if TYPE_CHECKING:
    from producers.collector.shard import Line


class Host(Protocol):
    """A collector, as its lines see it."""

    venue: Venue
    freshness: FreshnessSettings
    publisher: Publisher
    journal: Journal
    log: Any
    rest: RestClient
    connects: Gate
    messages: Gate | None
    """Of all lines together, where the venue counts them so."""
    frames: int
    """Frames received on all lines so far; a frame's number is what it was with it."""
    bytes: int
    told: int
    """The number up to which frames were said to be done."""

    def now(self) -> int:
        """Return the time, ns since the Unix epoch; each later than the one before."""
        ...

    def spawn(self, work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        """Run ``work``; an error in it ends the collector."""
        ...

    def line_changed(self) -> None:
        """Take note that a line connected or lost its connection."""
        ...

    def replace(self, line: Line, reason: str, delay: float) -> None:
        """Open a new connection for the line's symbols, then end this one."""
        ...
