"""Messages to Arrow rows; what cannot be decoded goes to ``dlq``, before the offset behind it is committed."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping, Sequence
from typing import Any, Final

from aiokafka import AIOKafkaProducer, TopicPartition
from aiokafka.errors import KafkaError

from alphapulse import logs
from alphapulse.errors import BrokerError, RecordRefused
from schemas.codec import Codec
from schemas.definitions import definitions
from schemas.records import TOPIC_OF, DeadLetter, Event, Record, key_of
from schemas.refusals import count, dead_letter, lost_records
from sinks.buffer import Message
from sinks.columns import batch
from sinks.contract import Chunk

_CLASS_OF: Final[dict[str, type[Record]]] = {found.topic: found.record for found in definitions()}

SLICE_RECORDS: Final = 2_000
"""Decoded in one go: about 20 ms during which the event loop does nothing else."""

_UNACKNOWLEDGED: Final = 500


class RecordDecoder:
    """Turns consumed messages into rows; what it refuses goes to ``dlq``.

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

    async def chunks(self, messages: Mapping[TopicPartition, Sequence[Message]]) -> list[Chunk]:
        """Return the rows of ``messages``, without those that were refused: one chunk for a partition that has any.

        The partitions of a topic are decoded into one Arrow batch, of which each gets its slice: a batch takes some
        200 µs however few its rows, ten partitions of a handful of records would take ten times that.

        Args:
            messages: by partition, in the order of their offsets.

        Raises:
            BrokerError: the broker does not take dead letters.
            SchemaError: the schema registry cannot be reached.
        """
        topics: dict[str, list[TopicPartition]] = {}
        for key in messages:
            topics.setdefault(key.topic, []).append(key)
        found: list[Chunk] = []
        for topic, keys in topics.items():
            found += await self._chunks_of_topic(_CLASS_OF[topic], {key: messages[key] for key in keys})
        return found

    async def _chunks_of_topic(
        self, kind: type[Record], messages: Mapping[TopicPartition, Sequence[Message]]
    ) -> list[Chunk]:
        """Decode record by record."""
        decode = self._codec.decode_as
        records: list[Record] = []
        partitions: list[int] = []
        offsets: list[int] = []
        ends: dict[TopicPartition, int] = {}
        left = SLICE_RECORDS
        for key, of_partition in messages.items():
            for message in of_partition:
                try:
                    records.append(decode(kind, message.value if message.value is not None else b""))
                except RecordRefused as error:
                    await self._refuse(message, error)
                else:
                    offsets.append(message.offset)
                left -= 1
                if not left:
                    left = SLICE_RECORDS
                    await asyncio.sleep(0)
            partitions += [key.partition] * (len(records) - len(partitions))
            ends[key] = len(records)
        if not records:
            return []
        rows = batch(kind, records, partitions, offsets)
        chunks, start = [], 0
        for key, end in ends.items():
            if end > start:
                chunks.append(Chunk(key, kind, rows.slice(start, end - start)))
            start = end
        return chunks

    async def acknowledged(self) -> None:
        """Wait until the broker has all dead letters and events sent until now.

        Raises:
            BrokerError: it does not take them.
        """
        waiting = list(self._unacknowledged)
        if not waiting:
            return
        await asyncio.wait(waiting)
        try:
            for sent in waiting:
                sent.result()
        except KafkaError as error:
            raise BrokerError(f"the broker does not take dead letters of {self._service}: {error}") from error
        # They stay in the list until then: whoever asks meanwhile has to wait for them, too.
        self._unacknowledged = [sent for sent in self._unacknowledged if not sent.done()]

    async def lost(self, partition: TopicPartition, offsets: range) -> None:
        """Tell ``ops.events`` of ``offsets`` that the broker dropped before they were read."""
        await self._send(
            lost_records(partition.topic, partition.partition, offsets, service=self._service, time=time.time_ns())
        )

    async def _refuse(self, message: Message, error: RecordRefused) -> None:
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
