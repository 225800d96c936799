"""Records that cannot be decoded: kept in ``dlq``, acknowledged before the offset behind them is committed."""

from __future__ import annotations

import asyncio
import time
from typing import Any, Final

from aiokafka import AIOKafkaProducer, TopicPartition
from aiokafka.errors import KafkaError
from aiokafka.structs import ConsumerRecord

from alphapulse import logs
from alphapulse.errors import BrokerError, RecordRefused
from schemas.codec import Codec
from schemas.definitions import definitions
from schemas.records import TOPIC_OF, DeadLetter, Event, Record, key_of
from schemas.refusals import count, dead_letter, lost_records

_CLASS_OF: Final[dict[str, type[Record]]] = {found.topic: found.record for found in definitions()}

_UNACKNOWLEDGED: Final = 500


class Reader:
    """Turns consumed messages into records; what it refuses goes to ``dlq``.

    Args:
        codec: decodes.
        producer: started; takes dead letters and events.
        service: the name they carry.

    Attributes:
        refused: how many messages went to ``dlq``.
    """

    def __init__(self, codec: Codec, producer: AIOKafkaProducer, service: str) -> None:
        self._codec = codec
        self._producer = producer
        self._service = service
        self._log = logs.get(service)
        self._unacknowledged: list[asyncio.Future[Any]] = []
        self.refused = 0

    def kind(self, topic: str) -> type[Record]:
        """Return the record class of a topic."""
        return _CLASS_OF[topic]

    async def read(self, messages: list[ConsumerRecord[bytes, bytes]]) -> tuple[list[int], list[Record]]:
        """Return offsets and records of ``messages`` (of one topic), without those that were refused.

        Raises:
            SchemaError: the schema registry cannot be reached.
        """
        kind = _CLASS_OF[messages[0].topic]
        decode = self._codec.decode_as
        offsets: list[int] = []
        records: list[Record] = []
        for message in messages:
            try:
                records.append(decode(kind, message.value if message.value is not None else b""))
            except RecordRefused as error:
                await self._refuse(message, error)
            else:
                offsets.append(message.offset)
        return offsets, records

    async def acknowledged(self) -> None:
        """Wait until the broker has all dead letters and events.

        Raises:
            BrokerError: it does not take them.
        """
        waiting, self._unacknowledged = self._unacknowledged, []
        try:
            await asyncio.gather(*waiting)
        except KafkaError as error:
            raise BrokerError(f"the broker does not take dead letters of {self._service}: {error}") from error

    async def lost(self, partition: TopicPartition, offsets: range) -> None:
        """Tell ``ops.events`` of ``offsets`` that the broker dropped before they were read."""
        await self._send(
            lost_records(partition.topic, partition.partition, offsets, service=self._service, time=time.time_ns())
        )

    async def _refuse(self, message: ConsumerRecord[bytes, bytes], error: RecordRefused) -> None:
        self.refused += 1
        letter = dead_letter(message, error, service=self._service, time=time.time_ns())
        count(letter)
        self._log.warning(
            "record refused, kept in dlq",
            topic=message.topic,
            partition=message.partition,
            offset=message.offset,
            reason=letter.reason,
        )
        await self._send(letter)

    async def _send(self, record: DeadLetter | Event) -> None:
        topic = TOPIC_OF[type(record)]
        try:
            sent = await self._producer.send(topic, self._codec.encode(record), key=key_of(record))
        except KafkaError as error:
            raise BrokerError(f"the broker does not take records for {topic}: {error}") from error
        self._unacknowledged.append(sent)
        if len(self._unacknowledged) >= _UNACKNOWLEDGED:
            await self.acknowledged()
