"""Traces at their end: the span ``deliver`` of a record, from its reading to the clients' sockets."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any, Protocol

from alphapulse.tracing import Tracer, context_of, place
from schemas.records import Record


class Audience(Protocol):
    """Interface of :class:`gateway.fanout.Hub` to traces."""

    def audience(self, record: Record) -> int:
        """Return how many subscriptions concern ``record``."""
        ...

    def when_written(self, call: Callable[[], None]) -> None:
        """Call ``call`` when all queued messages have been written out; at once if there are none."""
        ...


class DeliveryTraces:
    """Makes the spans of traced records."""

    def __init__(self, tracer: Tracer, hub: Audience) -> None:
        self._tracer = tracer
        self._hub = hub

    def delivered(self, consumed: Any, record: Record, read: int) -> None:
        """Begin the span of a record that was read at ``read`` (ns) and has just been applied, if it is traced."""
        parent = context_of(consumed.headers)
        if parent is None:
            return
        attributes = place(consumed.topic, consumed.partition, consumed.offset)
        for name in ("venue", "symbol"):
            if (value := getattr(record, name, None)) is not None:
                attributes[f"alphapulse.{name}"] = value
        attributes["alphapulse.subscriptions"] = self._hub.audience(record)
        span = self._tracer.begin("deliver", read, attributes, parent)
        self._hub.when_written(lambda: span.end(time.time_ns()))
