"""Events and dead letters of a collector: logged, counted and published."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Final

from alphapulse import logs, metrics
from producers.collector.record_sink import RecordSink
from producers.feed.actions import Note, Refused
from schemas.records import DeadLetter, Event, Severity
from schemas.refusals import count

_LEVELS: Final = {"INFO": "info", "WARNING": "warning", "ERROR": "error"}


class EventLog:
    """Event log of one collector: events and dead letters.

    Args:
        publisher: receives the records.
        service: name of the service.
        venue: name of the venue.
        source: the venue's address, as the origin of dead letters.
        clock: nanoseconds since the Unix epoch.
    """

    def __init__(self, publisher: RecordSink, service: str, venue: str, source: str, clock: Callable[[], int]) -> None:
        self._publisher = publisher
        self._service = service
        self._venue = venue
        self._source = source
        self._clock = clock
        self._log = logs.get(service, venue=venue)

    def event(
        self,
        kind: str,
        severity: Severity,
        message: str,
        *,
        symbol: str | None = None,
        details: Mapping[str, str] | None = None,
    ) -> None:
        """Log, count and publish an event."""
        getattr(self._log, _LEVELS[severity])(kind, message=message, **({"symbol": symbol} if symbol else {}))
        event = Event(
            time=self._clock(),
            service=self._service,
            kind=kind,
            severity=severity,
            venue=self._venue,
            symbol=symbol,
            message=message,
            details=dict(details or {}),
        )
        self._publisher.publish(event)

    def note(self, note: Note) -> None:
        """Publish an event of the protocol; count losses and resyncs."""
        if note.loss is not None:
            metrics.GAPS.labels(self._venue, note.loss).inc()
        if note.kind == "resync":
            metrics.RESYNCS.labels(self._venue).inc()
        self.event(note.kind, note.severity, note.message, symbol=note.symbol, details=note.details)

    def dead_letter(self, refused: Refused) -> None:
        """Publish a refused frame to the dead-letter topic."""
        letter = DeadLetter(
            time=self._clock(),
            service=self._service,
            source=self._source,
            value=refused.value,
            venue=self._venue,
            symbol=refused.symbol,
            error=refused.error,
            reason=refused.reason,
        )
        count(letter)
        self._publisher.publish(letter)
