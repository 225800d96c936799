"""Traces that begin in a collector: which frames are sampled, and the span ``collect`` of each record of theirs."""

from __future__ import annotations

import time

from aiokafka.errors import KafkaError

from alphapulse.tracing import Headers, Tracer, TraceSpan
from schemas.records import L2Update, Quote, Record, Trade


class CollectSpan:
    """Span from the receipt of a frame to the broker's acknowledgement of one record made from it."""

    __slots__ = ("_sent", "_span")

    def __init__(self, span: TraceSpan) -> None:
        self._span = span
        self._sent = 0

    def sending(self) -> Headers:
        """Note that the record is now sent; return the headers it takes along."""
        self._sent = time.time_ns()
        return self._span.context.headers

    def placed(self, error: KafkaError | None, partition: int, offset: int, seconds: float) -> None:
        """End the span: it is known, ``seconds`` after the sending, that the record is on the broker or refused."""
        if error is None:
            self._span.attributes["messaging.destination.partition.id"] = str(partition)
            self._span.attributes["messaging.kafka.offset"] = offset
        self._span.end(self._sent + round(seconds * 1e9), "" if error is None else repr(error))


class FrameSampler:
    """Decides frame by frame, of those that publish a record, whether their records are traced.

    Each record of a sampled frame begins a trace of its own. Records of one frame have its receive time in common.
    Heartbeats of books, candles, events and dead letters are never traced: they are not made from one frame.
    """

    def __init__(self, tracer: Tracer) -> None:
        self._tracer = tracer
        self._frame = 0
        self._sampled = False

    def begin(self, topic: str, record: Record) -> CollectSpan | None:
        """Return the span of ``record``, which will be sent; None: it is not traced."""
        if not isinstance(record, L2Update | Trade | Quote):
            return None
        if isinstance(record, L2Update) and record.kind == "HEARTBEAT":
            return None
        if record.received_time != self._frame:
            self._frame = record.received_time
            self._sampled = self._tracer.sampled()
        if not self._sampled:
            return None
        return CollectSpan(
            self._tracer.begin(
                "collect",
                record.received_time,
                {
                    "messaging.system": "kafka",
                    "messaging.destination.name": topic,
                    "alphapulse.venue": record.venue,
                    "alphapulse.symbol": record.symbol,
                },
            )
        )
