"""Producer of dead letters to ``dlq`` and of lost-record events to ``ops.events``."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from typing import Any, Final

from aiokafka import AIOKafkaProducer, TopicPartition
from aiokafka.errors import KafkaError

from alphapulse import tracing
from alphapulse.errors import AlphaPulseError, BrokerError
from schemas.codec import Codec
from schemas.records import TOPIC_OF, DeadLetter, Event, Severity, key_of
from schemas.refusals import Consumed, lost_records, refuse

UNACKNOWLEDGED: Final = 500
"""Maximum records in flight; at this number the next one waits for all of them."""


class RefusalSender:
    """Sends dead letters and loss events; they are acknowledged before anything after them is committed.

    Args:
        service: service name in dead letters and events.
        producer: started.
        codec: encodes.
        clock: nanoseconds since the Unix epoch.

    Attributes:
        refused: records sent to ``dlq`` since the start.
    """

    def __init__(
        self, service: str, producer: AIOKafkaProducer, codec: Codec, clock: Callable[[], int] = time.time_ns
    ) -> None:
        self._service = service
        self._producer = producer
        self._codec = codec
        self._clock = clock
        self._unacknowledged: list[asyncio.Future[Any]] = []
        self.refused = 0

    async def refuse(self, consumed: Consumed, error: AlphaPulseError) -> None:
        """Send a record that could not be decoded to ``dlq``, with the reason; counts and logs it.

        The dead letter keeps the record's trace.

        Raises:
            BrokerError: the broker refuses it, or an earlier one.
        """
        self.refused += 1
        letter = refuse(consumed, error, service=self._service, time=self._clock())
        await self._send(letter, tracing.kept(consumed.headers))

    async def lost(self, partition: TopicPartition, offsets: range, *, severity: Severity = "ERROR") -> None:
        """Send an event to ``ops.events`` for ``offsets`` that the broker dropped before they were read.

        Raises:
            BrokerError: the broker refuses the event, or an earlier record.
        """
        await self._send(
            lost_records(
                partition.topic,
                partition.partition,
                offsets,
                service=self._service,
                time=self._clock(),
                severity=severity,
            )
        )

    async def acknowledged(self) -> None:
        """Wait until the broker has acknowledged everything sent so far.

        Raises:
            BrokerError: the broker refuses a record.
        """
        waiting = list(self._unacknowledged)
        if not waiting:
            return
        await asyncio.wait(waiting)
        try:
            for sent in waiting:
                sent.result()
        except KafkaError as error:
            raise BrokerError(f"the broker refuses dead letters of {self._service}: {error}") from error
        # They stay in the list until then: concurrent callers must wait for them, too.
        self._unacknowledged = [sent for sent in self._unacknowledged if not sent.done()]

    async def _send(self, record: DeadLetter | Event, headers: tracing.Headers | None = None) -> None:
        topic = TOPIC_OF[type(record)]
        try:
            sent = await self._producer.send(topic, self._codec.encode(record), key=key_of(record), headers=headers)
        except KafkaError as error:
            raise BrokerError(f"the broker refuses records for {topic}: {error}") from error
        self._unacknowledged.append(sent)
        if len(self._unacknowledged) >= UNACKNOWLEDGED:
            await self.acknowledged()
