"""Spans and what makes them.

A span is our own small object until it ends: the pipeline has to know its id before (it goes into a header), but
nothing of it is worth an object of OpenTelemetry's while it is open. All times are nanoseconds since the Unix epoch.
"""

from __future__ import annotations

import random
from collections.abc import Mapping
from typing import Final, Protocol, TypeAlias

from alphapulse.tracing.context import TraceContext

Attributes: TypeAlias = Mapping[str, "str | int | bool"]
"""Attributes of a span, named by OpenTelemetry's semantic conventions where there is a name."""

CLOSE_SECONDS: Final = 2.0
"""Time for the last spans at a service's end."""


def place(topic: str, partition: int, offset: int) -> dict[str, str | int | bool]:
    """Return the attributes of a record's position (semantic conventions for messaging, Kafka)."""
    return {
        "messaging.system": "kafka",
        "messaging.destination.name": topic,
        "messaging.destination.partition.id": str(partition),
        "messaging.kafka.offset": offset,
    }


class SpanExport(Protocol):
    """Takes spans that have ended; :class:`alphapulse.tracing.export.OtlpExport` outside of tests."""

    def add(self, span: TraceSpan, end: int, error: str) -> None:
        """Export ``span``. Never waits, never fails."""
        ...

    def close(self, seconds: float) -> None:
        """Send what is left, for at most ``seconds``."""
        ...


class TraceSpan:
    """One stage of a record's way.

    Attributes:
        name: of the stage: ``collect``, ``process``, ``sink``, ``deliver``.
        context: its ids; records made within it carry them in their headers.
        parent: id of the span before it; None: the first of its trace.
        start: ns since the Unix epoch.
        attributes: may be added to until the end.
    """

    __slots__ = ("_export", "attributes", "context", "ended", "name", "parent", "start")

    def __init__(
        self,
        export: SpanExport,
        name: str,
        context: TraceContext,
        parent: TraceContext | None,
        start: int,
        attributes: dict[str, str | int | bool],
    ) -> None:
        self._export = export
        self.name = name
        self.context = context
        self.parent = parent
        self.start = start
        self.attributes = attributes
        self.ended = False

    def end(self, time: int, error: str = "") -> None:
        """End the span at ``time``; ``error`` says why its stage failed. Further calls have no effect."""
        if not self.ended:
            self.ended = True
            # A clock may have been set back meanwhile.
            self._export.add(self, max(time, self.start), error)


class Tracer:
    """Makes the spans of one service.

    Args:
        export: takes them when they have ended.
        sample_ratio: share of frames that are traced, 0 to 1.
        chance: random numbers from 0 (inclusive) to 1 (exclusive).
    """

    def __init__(self, export: SpanExport, sample_ratio: float, chance: random.Random | None = None) -> None:
        self._export = export
        self._ratio = sample_ratio
        # Seeded by the system: processes that were forked or started together must not draw the same ids.
        self._chance = chance if chance is not None else random.Random()  # noqa: S311 ids, not secrets

    def sampled(self) -> bool:
        """Return whether the next frame is to be traced."""
        return self._chance.random() < self._ratio

    def begin(
        self, name: str, start: int, attributes: dict[str, str | int | bool], parent: TraceContext | None = None
    ) -> TraceSpan:
        """Return a span that began at ``start``; without ``parent`` it begins a trace."""
        trace_id = parent.trace_id if parent is not None else self._id(128)
        return TraceSpan(self._export, name, TraceContext(trace_id, self._id(64)), parent, start, attributes)

    def _id(self, bits: int) -> int:
        while True:
            if found := self._chance.getrandbits(bits):  # 0 is no id
                return found

    def close(self, seconds: float = CLOSE_SECONDS) -> None:
        """Send what is left, for at most ``seconds``."""
        self._export.close(seconds)
