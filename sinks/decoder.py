"""Messages to Arrow rows; undecodable messages go to ``dlq`` before the offset after them is committed.

Many messages of a topic are decoded together into columns (:mod:`schemas.columnar`), a few one by one: joining and
reading them costs some hundred microseconds, however few they are. If there is anything wrong with any of many, they
are halved until there are few, so that exactly the bad ones are refused, with the codec's reason.
"""

from __future__ import annotations

import asyncio
from bisect import bisect_right
from collections.abc import Iterator, Mapping, Sequence
from itertools import accumulate, pairwise
from operator import attrgetter
from typing import Final

import numpy as np
import pyarrow as pa
from aiokafka import TopicPartition

from alphapulse.errors import RecordRefused
from schemas.codec import Codec
from schemas.columnar import ColumnDecoder
from schemas.definitions import definitions
from schemas.records import Record
from schemas.refusal_sender import RefusalSender
from sinks.buffer import Message
from sinks.columns import PARTITION, batch, schema
from sinks.contract import BatchChunk

_CLASS_OF: Final[dict[str, type[Record]]] = {found.topic: found.record for found in definitions()}

COLUMNAR_RECORDS: Final = 64
"""Fewer records are decoded one by one (``tests/benchmarks/bench_columnar.py``)."""
SLICE_RECORDS: Final = 2_000
"""Records decoded one by one at once: blocks the event loop for about 20 ms."""
COLUMNAR_SLICE_RECORDS: Final = 10_000
COLUMNAR_SLICE_BYTES: Final = 2**20
"""Bounds of what is decoded into columns at once: blocks the event loop for about 10 ms, and fits the processor's
cache."""


class RecordDecoder:
    """Converts messages to rows; refused messages go to ``dlq``.

    Args:
        codec: decodes.
        refusals: sends the dead letters; the caller must wait for their acknowledgement before a commit.
    """

    def __init__(self, codec: Codec, refusals: RefusalSender) -> None:
        self._codec = codec
        self._columnar: dict[type[Record], ColumnDecoder] = {}
        self.refusals = refusals

    async def chunks(self, messages: Mapping[TopicPartition, Sequence[Message]]) -> list[BatchChunk]:
        """Return the rows of ``messages``, without refused ones: chunks of one partition each, in offset order.

        The partitions of a topic are decoded into one Arrow batch and sliced: a batch takes about 200 µs however few
        its rows, so ten partitions with a handful of records each would take ten times that.

        Args:
            messages: by partition, in offset order.

        Raises:
            BrokerError: the broker refuses dead letters.
            SchemaError: the schema registry cannot be reached.
        """
        topics: dict[str, list[Message]] = {}
        for key, of_partition in messages.items():
            topics.setdefault(key.topic, []).extend(of_partition)
        found: list[BatchChunk] = []
        for topic, of_topic in topics.items():
            kind = _CLASS_OF[topic]
            for part in _slices(of_topic):
                for rows in await self._rows(kind, part):
                    found += _by_partition(topic, kind, rows)
        return found

    async def _rows(self, kind: type[Record], messages: Sequence[Message]) -> list[pa.RecordBatch]:
        if len(messages) < COLUMNAR_RECORDS:
            return await self._one_by_one(kind, messages)
        rows = self._together(kind, messages)
        await asyncio.sleep(0)
        if rows is not None:
            return [rows]
        middle = len(messages) // 2
        return [*await self._rows(kind, messages[:middle]), *await self._rows(kind, messages[middle:])]

    def _together(self, kind: type[Record], messages: Sequence[Message]) -> pa.RecordBatch | None:
        """Decode into columns; None if any of the messages needs to be looked at on its own."""
        columnar = self._columnar.get(kind)
        if columnar is None:
            columnar = self._columnar[kind] = ColumnDecoder(self._codec, kind, schema(kind))
        columns = columnar.decode([message.value or b"" for message in messages])
        if columns is None:
            return None
        partitions = np.fromiter(map(attrgetter("partition"), messages), np.int32, len(messages))
        offsets = np.fromiter(map(attrgetter("offset"), messages), np.int64, len(messages))
        return pa.RecordBatch.from_arrays([*columns, pa.array(partitions), pa.array(offsets)], schema=schema(kind))

    async def _one_by_one(self, kind: type[Record], messages: Sequence[Message]) -> list[pa.RecordBatch]:
        """Decode record by record, and refuse what is none; one batch, or nothing."""
        decode = self._codec.decode_as
        records: list[Record] = []
        kept: list[Message] = []
        for number, message in enumerate(messages, start=1):
            try:
                records.append(decode(kind, message.value if message.value is not None else b""))
            except RecordRefused as error:
                await self.refusals.refuse(message, error)
            else:
                kept.append(message)
            if number % SLICE_RECORDS == 0:
                await asyncio.sleep(0)
        if not records:
            return []
        return [batch(kind, records, [m.partition for m in kept], [m.offset for m in kept])]


def _slices(messages: Sequence[Message]) -> Iterator[Sequence[Message]]:
    """Cut messages at :data:`COLUMNAR_SLICE_RECORDS` and :data:`COLUMNAR_SLICE_BYTES`."""
    ends = list(accumulate([len(message.value or b"") for message in messages]))
    start = before = 0
    while start < len(messages):
        fitting = bisect_right(ends, before + COLUMNAR_SLICE_BYTES)
        end = max(min(fitting, start + COLUMNAR_SLICE_RECORDS), start + 1)
        yield messages[start:end]
        start, before = end, ends[end - 1]


def _by_partition(topic: str, kind: type[Record], rows: pa.RecordBatch) -> Iterator[BatchChunk]:
    partitions = rows.column(PARTITION).to_numpy()
    cuts = np.flatnonzero(np.diff(partitions)) + 1
    for start, end in pairwise([0, *cuts.tolist(), rows.num_rows]):
        yield BatchChunk(TopicPartition(topic, int(partitions[start])), kind, rows.slice(start, end - start))
