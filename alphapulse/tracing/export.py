"""Export of spans by OTLP over HTTP, in a thread of OpenTelemetry's; imported only where tracing is on.

An endpoint that is away costs the service nothing: the queue is bounded, further spans are dropped and counted. The
first failure is logged, the next ones are not until it is back.

Headers, certificates and compression come from OpenTelemetry's own variables (``OTEL_EXPORTER_OTLP_HEADERS`` …).
"""

from __future__ import annotations

import logging
import os
import socket
import threading
from collections.abc import Sequence
from typing import Final

from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.sdk.trace.export import BatchSpanProcessor, SpanExporter, SpanExportResult
from opentelemetry.sdk.util.instrumentation import InstrumentationScope
from opentelemetry.trace import SpanContext, SpanKind, Status, StatusCode, TraceFlags

from alphapulse import logs
from alphapulse.config.faults import without_password
from alphapulse.tracing.context import TraceContext
from alphapulse.tracing.tracer import TraceSpan

QUEUE_SPANS: Final = 8_192
"""Spans waiting for their export; further ones are dropped. One takes about a kilobyte."""
BATCH_SPANS: Final = 512
DELAY_MS: Final = 1_000
"""How long a span waits for others of its batch."""
EXPORT_SECONDS: Final = 5.0
"""Time for one batch, repeated attempts included."""

_SCOPE: Final = InstrumentationScope("alphapulse")
_KINDS: Final = {"collect": SpanKind.PRODUCER}
_SAMPLED: Final = TraceFlags(TraceFlags.SAMPLED)


class OtlpExport:
    """Queue of ended spans and the thread that sends them to ``endpoint``/v1/traces.

    Args:
        endpoint: address of an OTLP/HTTP receiver, ``http://host:4318``.
        service: name of the service.

    Attributes:
        dropped: spans that found the queue full.
    """

    def __init__(self, endpoint: str, service: str) -> None:
        self._log = logs.get("tracing")
        self._resource = Resource.create(
            {
                "service.name": service,
                "service.namespace": "alphapulse",
                "service.instance.id": f"{socket.gethostname()}:{os.getpid()}",
            }
        )
        self._exporter = _ReportingExporter(
            OTLPSpanExporter(endpoint=f"{endpoint.rstrip('/')}/v1/traces", timeout=EXPORT_SECONDS), endpoint
        )
        self._processor = BatchSpanProcessor(
            self._exporter,
            max_queue_size=QUEUE_SPANS,
            schedule_delay_millis=DELAY_MS,
            max_export_batch_size=BATCH_SPANS,
            export_timeout_millis=EXPORT_SECONDS * 1000,
        )
        self._added = 0
        self.dropped = 0

    def add(self, span: TraceSpan, end: int, error: str) -> None:
        """Queue an ended span; see :class:`alphapulse.tracing.tracer.SpanExport`."""
        if self._added - self._exporter.taken >= QUEUE_SPANS:
            self.dropped += 1
            return
        self._added += 1
        self._processor.on_end(
            ReadableSpan(
                span.name,
                context=_span_context(span.context, remote=False),
                parent=_span_context(span.parent, remote=True) if span.parent is not None else None,
                resource=self._resource,
                attributes=span.attributes,
                kind=_KINDS.get(span.name, SpanKind.CONSUMER),
                instrumentation_scope=_SCOPE,
                status=Status(StatusCode.ERROR, error) if error else Status(),
                start_time=span.start,
                end_time=end,
            )
        )

    def close(self, seconds: float) -> None:
        """Send what is left, for at most ``seconds``; log what was sent and lost."""
        flushed = threading.Event()

        def close() -> None:
            # Its shutdown alone may sleep for seconds while a batch is on its way.
            self._processor.force_flush()
            flushed.set()
            self._processor.shutdown()  # type: ignore[no-untyped-call]

        threading.Thread(target=close, name="tracing-close", daemon=True).start()
        flushed.wait(seconds)
        self._log.info(
            "traces ended",
            exported=self._exporter.exported,
            dropped=self.dropped,
            failed=self._added - self._exporter.exported,
        )


def _span_context(context: TraceContext, *, remote: bool) -> SpanContext:
    return SpanContext(context.trace_id, context.span_id, is_remote=remote, trace_flags=_SAMPLED)


class _ReportingExporter(SpanExporter):
    """Exporter that logs the first failure in a row, and the recovery, instead of every failure.

    Attributes:
        taken: spans passed to it, whatever became of them.
        exported: spans that the endpoint accepted.
    """

    def __init__(self, exporter: OTLPSpanExporter, endpoint: str) -> None:
        self._exporter = exporter
        self._shown = without_password(endpoint)
        self._log = logs.get("tracing")
        self._words = _FirstWords()
        library = logging.getLogger("opentelemetry")
        library.handlers[:] = [self._words]
        library.propagate = False
        self._failing = False
        self._lost = 0
        self.taken = 0
        self.exported = 0

    def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
        """Export a batch (called in the thread)."""
        self._words.text = ""
        try:
            result = self._exporter.export(spans)
        except Exception as error:  # noqa: BLE001 whatever it is, it is reported and must not end the thread
            result = SpanExportResult.FAILURE
            self._words.text = repr(error)
        self.taken += len(spans)
        if result is SpanExportResult.SUCCESS:
            self.exported += len(spans)
            if self._failing:
                self._log.info("traces are exported again", endpoint=self._shown, lost=self._lost)
            self._failing, self._lost = False, 0
            return result
        self._lost += len(spans)
        if not self._failing:
            self._failing = True
            reason = without_password(self._words.text)
            self._log.warning("cannot export traces; silent until it succeeds", endpoint=self._shown, reason=reason)
        return result

    def shutdown(self) -> None:
        """Close the connection."""
        self._exporter.shutdown()  # type: ignore[no-untyped-call]

    def force_flush(self, timeout_millis: int = 30_000) -> bool:
        """Return True: nothing is kept here."""
        return True


class _FirstWords(logging.Handler):
    """Keeps the library's first message on an export, which tells why it failed, and writes none."""

    def __init__(self) -> None:
        super().__init__(logging.WARNING)
        self.text = ""

    def emit(self, record: logging.LogRecord) -> None:
        """Keep the message, if it is the first."""
        self.text = self.text or record.getMessage()
