"""Word of what could not be read or was lost: dead letters to ``dlq``, events to ``ops.events``."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence

from aiokafka import AIOKafkaProducer, TopicPartition
from aiokafka.errors import KafkaError

from alphapulse.errors import AlphaPulseError, BrokerError
from schemas.codec import Codec
from schemas.records import TOPIC_OF, DeadLetter, Event, key_of
from schemas.refusals import Consumed, count, dead_letter, lost_records


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
        letters = [dead_letter(record, error, service=self._service, time=self._clock()) for record, error in refused]
        for letter in letters:
            count(letter)
        await self._send(letters)

    async def lost(self, lost: Mapping[TopicPartition, range]) -> None:
        """Tell ``ops.events`` of offsets that the broker dropped before they were read.

        A warning only: the gateway is a view, and what comes next brings it up to date.

        Raises:
            BrokerError: the broker does not take the events.
        """
        await self._send(
            [
                lost_records(
                    partition.topic,
                    partition.partition,
                    offsets,
                    service=self._service,
                    time=self._clock(),
                    severity="WARNING",
                )
                for partition, offsets in lost.items()
            ]
        )

    async def _send(self, records: Sequence[DeadLetter | Event]) -> None:
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
