"""Traces through the processors: the span ``process`` of a traced record, and which outputs carry it on.

The pure part knows nothing of traces. What a record causes at once (candles, opportunities, events) carries its span.
A Depth is conflated: it carries that of the newest traced update in it, found by epoch and sequence; the spans of
earlier ones end with ``alphapulse.conflated``.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Sequence
from typing import Any

from aiokafka.errors import KafkaError

from alphapulse.tracing import Headers, Tracer, TraceSpan, context_of, place
from schemas.records import Depth, L2Update, Record

IsPending = Callable[[str, str], bool]
"""Given venue and symbol: whether a Depth of the instrument is still to be published."""


class ProcessSpan:
    """Span from the reading of a record until its results are on the broker, or until it turns out to have none.

    Attributes:
        headers: of the results.
        waits: number of results not acknowledged.
    """

    __slots__ = ("_sent", "headers", "span", "waits")

    def __init__(self, span: TraceSpan) -> None:
        self.span = span
        self.headers: Headers = span.context.headers
        self.waits = 0
        self._sent = 0

    def carried(self) -> ProcessSpan:
        """Record that a result is about to be sent with it."""
        self.waits += 1
        self._sent = time.time_ns()
        return self

    def placed(self, error: KafkaError | None, partition: int, offset: int, seconds: float) -> None:
        """Handle that a result is on the broker, or refused by it; the last one ends the span."""
        self.waits -= 1
        if error is not None or not self.waits:
            # Results are polled now and then; the client measured when this one came.
            self.span.end(self._sent + round(seconds * 1e9), "" if error is None else repr(error))

    def end(self, *, conflated: bool = False, error: str = "") -> None:
        """End the span without a result."""
        if conflated:
            self.span.attributes["alphapulse.conflated"] = True
        self.span.end(time.time_ns(), error)


Traced = dict[int, ProcessSpan]
"""Spans of the traced records of a batch, by offset."""


class RecordTraces:
    """Open spans of a worker.

    Args:
        tracer: makes them.
        group: consumer group of the worker.
    """

    def __init__(self, tracer: Tracer, group: str) -> None:
        self._tracer = tracer
        self._group = group
        # By the identity of a result that is about to be published.
        self._caused: dict[int, ProcessSpan] = {}
        # Instrument → (epoch, sequence) and span of updates that no Depth has shown yet, oldest first.
        self._updates: dict[tuple[str, str], list[tuple[tuple[int, int], ProcessSpan]]] = {}

    @property
    def waiting(self) -> bool:
        """Whether updates wait for a Depth."""
        return bool(self._updates)

    def begin(self, topic: str, records: Sequence[Any]) -> Traced | None:
        """Return the spans of those ``records`` that are traced; None: none is."""
        found: Traced | None = None
        for record in records:
            if record.headers and (parent := context_of(record.headers)) is not None:
                attributes = place(topic, record.partition, record.offset)
                attributes["messaging.consumer.group.name"] = self._group
                span = self._tracer.begin("process", time.time_ns(), attributes, parent)
                found = {} if found is None else found
                found[record.offset] = ProcessSpan(span)
        return found

    def applied(self, span: ProcessSpan, record: Any, made: Collection[Record]) -> None:
        """Note that ``record`` was applied within ``span`` and made these results."""
        attributes = span.span.attributes
        attributes["alphapulse.venue"], attributes["alphapulse.symbol"] = record.venue, record.symbol
        results = [result for result in made if not isinstance(result, Depth)]
        for result in results:
            self._caused[id(result)] = span
        if isinstance(record, L2Update):
            updates = self._updates.setdefault((record.venue, record.symbol), [])
            updates.append(((record.epoch, record.sequence), span))
        elif not results:
            span.end()

    def of(self, result: Record) -> ProcessSpan | None:
        """Return the span that ``result``, which is about to be published, carries on; None: none."""
        if self._caused and (caused := self._caused.pop(id(result), None)) is not None:
            return caused.carried()
        if self._updates and isinstance(result, Depth):
            return self._shown(result)
        return None

    def _shown(self, depth: Depth) -> ProcessSpan | None:
        """End the spans of the updates in ``depth`` but the newest, which is returned."""
        instrument = depth.venue, depth.symbol
        updates = self._updates.get(instrument, [])
        shown = [span for at, span in updates if at <= (depth.epoch, depth.sequence)]
        if not shown:
            return None
        if left := updates[len(shown) :]:
            self._updates[instrument] = left
        else:
            del self._updates[instrument]
        for span in shown[:-1]:
            span.end(conflated=True)
        return shown[-1].carried()

    def settle(self, is_pending: IsPending) -> None:
        """End the spans of updates that no Depth will show: they are beyond its levels, or changed nothing in it."""
        for instrument in [one for one in self._updates if not is_pending(*one)]:
            for _, span in self._updates.pop(instrument):
                if not span.waits:
                    span.end()
