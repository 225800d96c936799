"""Trace context of a record: the W3C ``traceparent`` header (https://www.w3.org/TR/trace-context/#traceparent-header).

Pure. A header that is missing, foreign or broken is the same as none: it never makes a record fail.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Final, TypeAlias

import structlog

HEADER: Final = "traceparent"
"""Name of the record header; lower case, as Kafka's header names are case-sensitive."""

Headers: TypeAlias = Sequence[tuple[str, bytes]]
"""Names and values of a record's headers."""

# Later versions may append fields; version 00 must not, and ff is invalid.
_FORMAT: Final = re.compile(rb"(?!ff)([0-9a-f]{2})-([0-9a-f]{32})-([0-9a-f]{16})-([0-9a-f]{2})(-.*)?", re.DOTALL)
_SAMPLED: Final = 1


@dataclass(frozen=True, slots=True)
class TraceContext:
    """Position in a sampled trace: its id (128 bits) and the id of a span in it (64 bits), neither of them 0."""

    trace_id: int
    span_id: int

    @property
    def headers(self) -> list[tuple[str, bytes]]:
        """Headers of a record that was made within the span."""
        return [(HEADER, b"00-%032x-%016x-01" % (self.trace_id, self.span_id))]


def parsed(value: object) -> TraceContext | None:
    """Return the context in the value of a ``traceparent`` header; None: there is none, or it is not sampled."""
    found = _FORMAT.fullmatch(value) if isinstance(value, bytes) else None
    if found is None or (found[1] == b"00" and found[5] is not None):
        return None
    trace_id, span_id, flags = int(found[2], 16), int(found[3], 16), int(found[4], 16)
    return TraceContext(trace_id, span_id) if trace_id and span_id and flags & _SAMPLED else None


def context_of(headers: Iterable[tuple[str, bytes | None]]) -> TraceContext | None:
    """Return the context of a record with ``headers``; None: it is not traced."""
    for name, value in headers:
        if name == HEADER:
            return parsed(value)
    return None


def kept(headers: Iterable[tuple[str, bytes | None]]) -> list[tuple[str, bytes]] | None:
    """Return the headers that a dead letter keeps of its record: those of its trace; None: none."""
    context = context_of(headers)
    return context.headers if context is not None else None


@contextmanager
def logged(headers: Iterable[tuple[str, bytes | None]]) -> Iterator[None]:
    """Add ``trace_id`` to the log lines written in the block, if a record with ``headers`` is traced."""
    context = context_of(headers)
    if context is None:
        yield
        return
    with structlog.contextvars.bound_contextvars(trace_id=f"{context.trace_id:032x}"):
        yield
