"""Word of what could not be read or was lost: dead letters to ``dlq``, events to ``ops.events``."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from typing import Final, Protocol

from aiokafka import AIOKafkaProducer, TopicPartition
from aiokafka.errors import KafkaError

from alphapulse import metrics
from alphapulse.errors import AlphaPulseError, BrokerError
from schemas.codec import Codec
from schemas.records import TOPIC_OF, DeadLetter, Event, Record, key_of

KEPT_BYTES: Final = 512 * 1024
"""Brokers take about 1 MB a record unless told otherwise."""


class Consumed(Protocol):
    """A record as the consumer hands it out."""

    topic: str
    partition: int
    offset: int
    key: bytes | None
    value: bytes | None


class Refusals:
    """Sends dead letters and events.

    Args:
        clock: nanoseconds since the Unix epoch.
    """

    def __init__(self, service: str, producer: AIOKafkaProducer, codec: Codec, clock: Callable[[], int]) -> None:
        self._service = service
        self._producer = producer
        self._codec = codec
        self._clock = clock

    async def keep(self, refused: list[tuple[Consumed, AlphaPulseError]]) -> None:
        """Keep records that could not be decoded in ``dlq``, with the reason.

        Raises:
            BrokerError: the broker does not take them.
        """
        letters: list[Record] = []
        for consumed, error in refused:
            name = type(error).__name__
            value = consumed.value or b""
            # A dead letter that the broker refuses as too large would stop the gateway at every start.
            cut = f" (the first {KEPT_BYTES} of {len(value)} bytes are kept)" if len(value) > KEPT_BYTES else ""
            metrics.DEAD_LETTERS.labels(service=self._service, error=name).inc()
            letters.append(
                DeadLetter(
                    time=self._clock(),
                    service=self._service,
                    source=consumed.topic,
                    partition=consumed.partition,
                    offset=consumed.offset,
                    key=consumed.key,
                    value=value[:KEPT_BYTES],
                    error=name,
                    reason=f"{error}{cut}",
                )
            )
        await self._send(letters)

    async def lost(self, lost: Mapping[TopicPartition, int]) -> None:
        """Tell ``ops.events`` that the broker dropped records before they were read.

        Raises:
            BrokerError: the broker does not take the events.
        """
        await self._send(
            [
                Event(
                    time=self._clock(),
                    service=self._service,
                    kind="lost_records",
                    severity="WARNING",
                    message=f"{count} records of {partition.topic} [{partition.partition}] were dropped unread",
                    details={
                        "topic": partition.topic,
                        "partition": str(partition.partition),
                        "records": str(count),
                    },
                )
                for partition, count in lost.items()
            ]
        )

    async def _send(self, records: list[Record]) -> None:
        try:
            await asyncio.gather(
                *(
                    self._producer.send_and_wait(
                        TOPIC_OF[type(record)], value=self._codec.encode(record), key=key_of(record)
                    )
                    for record in records
                )
            )
        except KafkaError as error:
            raise BrokerError(f"cannot write {len(records)} records to dlq or ops.events: {error}") from error
