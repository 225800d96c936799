"""Trades that an earlier life of the collector has published, read back from the end of ``md.trades``.

Venues repeat trades to whoever subscribes. After a restart, ``kill -9`` included, those that are on the topic already
must not be published again, and the hole between them and the first new one is a loss to be told of.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Collection, Mapping
from typing import Final

from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.errors import KafkaError
from aiokafka.structs import ConsumerRecord

from alphapulse import kafka, logs, topics
from alphapulse.config import KafkaSettings, PublisherSettings
from alphapulse.errors import BrokerError, RecordRefused
from producers.protocol import InstrumentState
from schemas.codec import Codec
from schemas.records import Trade

READ_SECONDS: Final = 30.0
"""For all partitions together; usually a fraction of a second."""


class KnownTrades:
    """Ids of published trades by symbol, to be given to each instrument's stream once."""

    def __init__(self, ids: Mapping[str, list[int]]) -> None:
        self._ids = dict(ids)

    def seed(self, instruments: Mapping[str, InstrumentState]) -> None:
        """Tell the streams of ``instruments`` what is published, unless they or their forerunners were told."""
        for symbol, state in instruments.items():
            ids = self._ids.pop(symbol, None)
            if ids:
                state.trades.seed(ids)

    def __len__(self) -> int:
        return sum(map(len, self._ids.values()))


async def read_back(
    settings: KafkaSettings,
    publisher: PublisherSettings,
    partitions: Collection[int],
    venue: str,
    codec: Codec,
    client_id: str,
) -> KnownTrades:
    """Return the ids of the venue's trades at the end of ``md.trades``, as far back as ``publisher`` says.

    Raises:
        BrokerError: the broker cannot be reached, or does not give them.
    """
    if not publisher.dedupe_records or not publisher.dedupe_seconds:
        return KnownTrades({})
    since_ms = time.time() * 1000 - publisher.dedupe_seconds * 1000
    prefix = f"{venue}|".encode()
    ids: dict[str, list[int]] = {}
    reader = kafka.consumer(settings, group_id=None, client_id=f"{client_id}-known")
    async with kafka.running(reader, settings):
        try:
            async with asyncio.timeout(READ_SECONDS):
                ends = [TopicPartition(topics.TRADES, number) for number in partitions]
                async for message in _tail(reader, ends, publisher.dedupe_records):
                    if message.key is not None and message.key.startswith(prefix) and message.timestamp >= since_ms:
                        _note(message.value, codec, ids)
        except (TimeoutError, KafkaError) as error:
            raise BrokerError(f"cannot read back the end of {topics.TRADES}: {error!r}") from error
    return KnownTrades(ids)


async def _tail(
    reader: AIOKafkaConsumer, partitions: list[TopicPartition], most: int
) -> AsyncIterator[ConsumerRecord[bytes, bytes]]:
    """Yield the last ``most`` records of each partition, up to its present end."""
    begins, ends = await reader.beginning_offsets(partitions), await reader.end_offsets(partitions)
    left = {partition: end for partition, end in ends.items() if end > begins[partition]}
    reader.assign(list(left))
    for partition, end in left.items():
        reader.seek(partition, max(begins[partition], end - most))
    while left:
        for messages in (await reader.getmany(timeout_ms=100)).values():
            for message in messages:
                yield message
        for partition in list(left):
            if await reader.position(partition) >= left[partition]:
                del left[partition]


def _note(value: bytes, codec: Codec, ids: dict[str, list[int]]) -> None:
    try:
        record = codec.decode(value)
    except RecordRefused as error:
        logs.get("producers").warning("a record of md.trades cannot be read back", reason=str(error))
        return
    if isinstance(record, Trade) and record.trade_id.isdecimal():
        ids.setdefault(record.symbol, []).append(int(record.trade_id))
