"""What a collector hands down to its shards."""

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
    """Frames received on all connections so far, and their bytes."""

    frames: int = 0
    bytes: int = 0


@dataclass(frozen=True, slots=True)
class Context:
    """The collector, as its shards see it.

    Attributes:
        venue: what is collected.
        freshness: how books are confirmed, and how late frames may be read.
        publisher: takes the records.
        event_log: takes events and dead letters.
        log: the service's log.
        rest: sends REST requests.
        connects: the venue's limit of connections opened.
        messages: its limit of messages, where all connections share one.
        counters: of frames.
        now: the time, ns since the Unix epoch; each later than the one before.
        spawn: runs a task; an error in it ends the collector.
        tap: hears every frame and every REST answer first.
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
