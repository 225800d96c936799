"""OpenTelemetry traces of sampled records, carried over Kafka by W3C ``traceparent`` headers (docs/tracing.md).

Off unless ``[tracing] endpoint`` is set: then :func:`start` returns None, which is the whole off state. A caller keeps
that value and tests it once per batch, and nothing of OpenTelemetry is imported.
"""

from __future__ import annotations

from alphapulse.config import TracingSettings
from alphapulse.tracing.context import HEADER, Headers, TraceContext, context_of, kept, logged
from alphapulse.tracing.tracer import Attributes, Tracer, TraceSpan, place

__all__ = [
    "HEADER",
    "Attributes",
    "Headers",
    "TraceContext",
    "TraceSpan",
    "Tracer",
    "context_of",
    "kept",
    "logged",
    "place",
    "start",
]


def start(settings: TracingSettings, service: str) -> Tracer | None:
    """Return the tracer of ``service``, whose spans go to ``settings.endpoint``; None: tracing is off.

    Call :meth:`Tracer.close` at the end.
    """
    if not settings.endpoint:
        return None
    # Late: a service without traces imports nothing of OpenTelemetry's SDK.
    from alphapulse.tracing.export import OtlpExport

    return Tracer(OtlpExport(settings.endpoint, service), settings.sample_ratio)
