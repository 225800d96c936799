"""Traces at their end: the span ``sink`` of a record, from its reading until it is stored and committed."""

from __future__ import annotations

import time
from collections.abc import Iterable
from typing import Final

from alphapulse.tracing import Tracer, TraceSpan, context_of, place
from sinks.buffer import Message

BATCH_SPANS: Final = 2_000
"""Spans per batch. All end together, and the exporter's queue holds only a few times as many."""


class WriteTraces:
    """Makes the spans of traced messages.

    Args:
        tracer: makes them.
        group: consumer group of the sink; None: it is not known.
    """

    def __init__(self, tracer: Tracer, group: str | None) -> None:
        self._tracer = tracer
        self._group = group

    def read(self, messages: Iterable[Message], spans: list[TraceSpan]) -> None:
        """Append the spans of those ``messages``, read now, that are traced, up to ``BATCH_SPANS`` in all."""
        for message in messages:
            if not message.headers or len(spans) >= BATCH_SPANS:
                continue
            parent = context_of(message.headers)
            if parent is None:
                continue
            attributes = place(message.topic, message.partition, message.offset)
            if self._group is not None:
                attributes["messaging.consumer.group.name"] = self._group
            venue, _, symbol = (message.key or b"").decode(errors="replace").rpartition("|")
            if venue:
                attributes["alphapulse.venue"] = venue
            attributes["alphapulse.symbol"] = symbol
            spans.append(self._tracer.begin("sink", time.time_ns(), attributes, parent))


def stored(spans: Iterable[TraceSpan], records: int, now: int) -> None:
    """End ``spans``: their batch of so many ``records`` is stored and committed at ``now`` (ns)."""
    for span in spans:
        span.attributes["alphapulse.batch.records"] = records
        span.end(now)
