"""Where a collector's records go, and who else may listen: the publisher, or a recorder that wants the frames alone."""

from __future__ import annotations

import asyncio
from collections import Counter
from typing import Protocol

from schemas.records import Record


class RecordSink(Protocol):
    """Takes a collector's records; :class:`producers.collector.publisher.Publisher` is the one that publishes them.

    Attributes:
        patience: seconds without room after which the venue is better left alone.
        failed: set when records cannot be taken any more.
        taken, acknowledged: records taken so far, and of these the ones known to be kept.
        published: the latter by topic.
        in_flight, in_flight_bytes: records taken and not known to be kept yet, and the memory that they take.
    """

    patience: float
    failed: asyncio.Event
    taken: int
    acknowledged: int
    published: Counter[str]
    in_flight: int
    in_flight_bytes: int

    def publish(self, record: Record) -> None:
        """Take ``record``. Never waits: :meth:`room` does, between frames.

        Raises:
            RecordRefused: the record does not fit its schema.
            BrokerError: an earlier record was refused.
        """
        ...

    async def room(self) -> None:
        """Wait while no more can be taken.

        Raises:
            BrokerError: a record was refused.
        """
        ...

    @property
    def full(self) -> bool:
        """Whether :meth:`room` would wait."""
        ...

    def confirmed(self) -> int:
        """Return n: the first n records taken are all acknowledged."""
        ...


class Tap(Protocol):
    """Listens to what a venue says, before it is understood."""

    def frame(self, received_time: int, frame: bytes) -> None:
        """Take a frame; ``received_time`` in ns since the Unix epoch."""
        ...

    def rest(self, received_time: int, path: str, body: bytes) -> None:
        """Take the answer to the REST request for ``path``."""
        ...
