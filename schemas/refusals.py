"""Builders for dead letters and lost-record events.

:mod:`schemas.refusal_sender` sends them for services without a publisher of their own.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final, Protocol

from alphapulse import logs, metrics, tracing
from alphapulse.errors import AlphaPulseError
from alphapulse.topics import MAX_RECORD_BYTES
from schemas.records import DeadLetter, Event, Severity

LOST_RECORDS: Final = "lost_records"
"""Event kind of a loss."""

KEY_BYTES: Final = 64 * 1024
"""Maximum bytes kept of a refused record's key."""
_REST_BYTES: Final = 64 * 1024
"""Upper bound of all other fields of a dead letter plus the broker's overhead."""
VALUE_BYTES: Final = MAX_RECORD_BYTES - KEY_BYTES - _REST_BYTES
"""Maximum bytes kept of a refused record's value: a dead letter too large for its topic would be refused in turn, and
block the consumer that has to send it before it continues."""


class Consumed(Protocol):
    """A consumed record."""

    @property
    def topic(self) -> str: ...
    @property
    def partition(self) -> int: ...
    @property
    def offset(self) -> int: ...
    @property
    def key(self) -> bytes | None: ...
    @property
    def value(self) -> bytes | None: ...
    @property
    def headers(self) -> Sequence[tuple[str, bytes]]: ...


def dead_letter(consumed: Consumed, error: AlphaPulseError, *, service: str, time: int) -> DeadLetter:
    """Return the dead letter of a record that ``service`` refused because of ``error``.

    Key and value are kept unchanged, unless they are too large for ``dlq``; then ``reason`` says how much is kept.

    Args:
        time: nanoseconds since the Unix epoch.
    """
    key, key_cut = _kept("key", consumed.key or b"", KEY_BYTES)
    value, value_cut = _kept("value", consumed.value or b"", VALUE_BYTES)
    return DeadLetter(
        time=time,
        service=service,
        source=consumed.topic,
        partition=consumed.partition,
        offset=consumed.offset,
        key=None if consumed.key is None else key,
        value=value,
        error=type(error).__name__,
        reason=f"{error}{key_cut}{value_cut}",
    )


def _kept(what: str, data: bytes, most: int) -> tuple[bytes, str]:
    if len(data) <= most:
        return data, ""
    return data[:most], f" (only the first {most} of {len(data)} bytes of the {what} are kept)"


def count(letter: DeadLetter) -> None:
    """Add ``letter`` to ``alphapulse_dead_letters_total``."""
    metrics.DEAD_LETTERS.labels(letter.service, letter.error).inc()


def refuse(consumed: Consumed, error: AlphaPulseError, *, service: str, time: int) -> DeadLetter:
    """Build the dead letter of a record, as :func:`dead_letter` does; count and log the refusal."""
    letter = dead_letter(consumed, error, service=service, time=time)
    count(letter)
    with tracing.logged(consumed.headers):
        logs.get(service).warning(
            "record refused, kept in dlq",
            topic=letter.source,
            partition=letter.partition,
            offset=letter.offset,
            reason=letter.reason,
        )
    return letter


def lost_records(
    topic: str, partition: int, offsets: range, *, service: str, time: int, severity: Severity = "ERROR"
) -> Event:
    """Return the event of ``offsets`` that the broker dropped before ``service`` read them.

    Losses are counted where they are detected: :func:`alphapulse.kafka.tell_loss`.

    Args:
        time: nanoseconds since the Unix epoch.
    """
    return Event(
        time=time,
        service=service,
        kind=LOST_RECORDS,
        severity=severity,
        message=f"{len(offsets)} records of {topic} [{partition}] were dropped before {service} read them",
        details={
            "topic": topic,
            "partition": str(partition),
            "first_offset": str(offsets.start),
            "records": str(len(offsets)),
        },
    )
