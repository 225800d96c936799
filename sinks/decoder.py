"""Messages to Arrow rows; undecodable messages go to ``dlq`` before the offset after them is committed."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from typing import Final

from aiokafka import TopicPartition

from alphapulse.errors import RecordRefused
from schemas.codec import Codec
from schemas.definitions import definitions
from schemas.records import Record
from schemas.refusal_sender import RefusalSender
from sinks.buffer import Message
from sinks.columns import batch
from sinks.contract import BatchChunk

_CLASS_OF: Final[dict[str, type[Record]]] = {found.topic: found.record for found in definitions()}

SLICE_RECORDS: Final = 2_000
"""Records decoded at once: blocks the event loop for about 20 ms."""


class RecordDecoder:
    """Converts messages to rows; refused messages go to ``dlq``.

    Args:
        codec: decodes.
        refusals: sends the dead letters; the caller must wait for their acknowledgement before a commit.
    """

    def __init__(self, codec: Codec, refusals: RefusalSender) -> None:
        self._codec = codec
        self.refusals = refusals

    async def chunks(self, messages: Mapping[TopicPartition, Sequence[Message]]) -> list[BatchChunk]:
        """Return the rows of ``messages``, without refused ones: one chunk per partition that has any.

        The partitions of a topic are decoded into one Arrow batch and sliced: a batch takes about 200 µs however few
            its rows,
        so ten partitions with a handful of records each would take ten times that.

        Args:
            messages: by partition, in offset order.

        Raises:
            BrokerError: the broker refuses dead letters.
            SchemaError: the schema registry cannot be reached.
        """
        topics: dict[str, list[TopicPartition]] = {}
        for key in messages:
            topics.setdefault(key.topic, []).append(key)
        found: list[BatchChunk] = []
        for topic, keys in topics.items():
            found += await self._chunks_of_topic(_CLASS_OF[topic], {key: messages[key] for key in keys})
        return found

    async def _chunks_of_topic(
        self, kind: type[Record], messages: Mapping[TopicPartition, Sequence[Message]]
    ) -> list[BatchChunk]:
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
                    await self.refusals.refuse(message, error)
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
                chunks.append(BatchChunk(key, kind, rows.slice(start, end - start)))
            start = end
        return chunks
