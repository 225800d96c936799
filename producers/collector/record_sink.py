"""Interfaces of a collector's outputs: the sink for records and the tap for raw frames."""

from __future__ import annotations

import asyncio
from collections import Counter
from typing import Protocol

from schemas.records import Record


class RecordSink(Protocol):
    """Sink for a collector's records; :class:`producers.collector.publisher.Publisher` publishes them to Kafka.

    Attributes:
        patience: seconds at a bound after which the venue connection should be closed.
        failed: set when records can no longer be accepted.
        taken, acknowledged: records accepted so far, and those acknowledged.
        published: acknowledged records by topic.
        in_flight, in_flight_bytes: records accepted and not acknowledged, and the memory they occupy.
    """

    @property
    def patience(self) -> float: ...

    @property
    def failed(self) -> asyncio.Event: ...

    @property
    def taken(self) -> int: ...

    @property
    def acknowledged(self) -> int: ...

    @property
    def published(self) -> Counter[str]: ...

    @property
    def in_flight(self) -> int: ...

    @property
    def in_flight_bytes(self) -> int: ...

    def publish(self, record: Record) -> None:
        """Accept ``record``. Never waits: call :meth:`room` between frames.

        Raises:
            RecordRefused: the record does not fit its schema.
            BrokerError: an earlier record was refused.
        """
        ...

    async def room(self) -> None:
        """Wait while the sink is at its bound.

        Raises:
            BrokerError: a record was refused.
        """
        ...

    @property
    def full(self) -> bool:
        """Whether the bound is reached, so that :meth:`room` would wait."""
        ...

    def confirmed(self) -> int:
        """Return n such that the first n records are all acknowledged."""
        ...


class Tap(Protocol):
    """Receives a venue's raw frames and REST answers before they are parsed."""

    def frame(self, received_time: int, frame: bytes) -> None:
        """Receive a frame; ``received_time`` in ns since the Unix epoch."""
        ...

    def rest(self, received_time: int, path: str, body: bytes) -> None:
        """Receive the answer to the REST request for ``path``."""
        ...
