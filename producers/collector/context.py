"""Context of a collector: shared objects handed down to its shards."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from dataclasses import dataclass
from typing import Any

from alphapulse.config import FreshnessSettings
from producers.collector.events import EventLog
from producers.collector.record_sink import RecordSink, Tap
from producers.feed.venue import Venue
from producers.net.rate_limit import RateLimiter
from producers.net.rest import RestClient


@dataclass(slots=True)
class FrameCounters:
    """Frames and bytes received, over all connections; ``last``: when the last one was (ns), 0: none was."""

    frames: int = 0
    bytes: int = 0
    last: int = 0


@dataclass(frozen=True, slots=True)
class Context:
    """What a collector's shards share.

    Attributes:
        venue: the venue.
        freshness: heartbeat interval and the limit for late frames.
        publisher: receives the records.
        event_log: receives events and dead letters.
        log: the service's log.
        rest: sends REST requests.
        connects: rate limiter of the venue for new connections.
        messages: rate limiter for messages, if all connections share one.
        counters: frames and bytes received.
        now: receipt time, ns since the Unix epoch, strictly increasing.
        spawn: runs a task; an error in it stops the collector.
        tap: receives every frame and REST answer before it is parsed.
    """

    venue: Venue
    freshness: FreshnessSettings
    publisher: RecordSink
    event_log: EventLog
    log: Any
    rest: RestClient
    connects: RateLimiter
    messages: RateLimiter | None
    counters: FrameCounters
    now: Callable[[], int]
    spawn: Callable[[Coroutine[Any, Any, None]], asyncio.Task[None]]
    tap: Tap | None = None
