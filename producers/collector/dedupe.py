"""Deduplication of trades across restarts: ids read back from the end of ``md.trades``.

Venues repeat recent trades to new subscribers. After a restart, ``kill -9`` included, trades already on the topic must
not be published again, and a gap between them and the first new one must be reported.

The topic is read backwards, one span of each partition at a time, and no further than needed: a killed collector is
back only when this is done, however long the topic is.
"""

from __future__ import annotations

import asyncio
import time
from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Final

from aiokafka import TopicPartition
from aiokafka.partitioner import DefaultPartitioner
from aiokafka.structs import ConsumerRecord

from alphapulse import logs, topics
from alphapulse.config import KafkaSettings, PublisherSettings
from alphapulse.errors import BrokerError, RecordRefused
from alphapulse.instruments import is_pattern
from alphapulse.kafka.tail import TailReader, last, tail_reader
from producers.feed.instruments import InstrumentState
from schemas.codec import Codec
from schemas.records import Trade

READ_SECONDS: Final = 30.0
"""Timeout for all partitions together; usually a fraction of a second."""
REPEATED: Final = 50
"""Trades per instrument that suffice: no venue repeats more (Kraken repeats this many). Where ids are consecutive the
last one tells which are repeated; the others tell which arrived out of order."""
_SPAN: Final = 64
_WIDER: Final = 4
"""Records of a partition in the first span, and the factor by which each further span grows."""


class KnownTrades:
    """Ids of published trades by symbol; each instrument's stream receives them once."""

    def __init__(self, ids: Mapping[str, list[int]]) -> None:
        self._ids = dict(ids)

    def seed(self, instruments: Mapping[str, InstrumentState]) -> None:
        """Give the streams of ``instruments`` the published ids, unless they or their predecessors have them."""
        for symbol, state in instruments.items():
            ids = self._ids.pop(symbol, None)
            if ids:
                state.trades.seed(ids)

    def take(self, symbol: str) -> list[int]:
        """Return, and forget, the published ids of ``symbol``."""
        return self._ids.pop(symbol, [])

    def __len__(self) -> int:
        return sum(map(len, self._ids.values()))


async def read_back(
    settings: KafkaSettings,
    publisher: PublisherSettings,
    partitions: Collection[int],
    venue: str,
    symbols: Collection[str],
    codec: Codec,
    client_id: str,
) -> KnownTrades:
    """Return the ids of the venue's last trades on ``md.trades``.

    It reads back as far as ``publisher`` says, but stops in a partition once ``REPEATED`` trades of each of its
    ``symbols`` are found. With patterns among ``symbols`` it cannot stop early: the symbols are not known.

    Raises:
        BrokerError: the broker cannot be reached or does not return the records.
    """
    if not publisher.dedupe_records or not publisher.dedupe_seconds:
        return KnownTrades({})
    since_ms = time.time() * 1000 - publisher.dedupe_seconds * 1000
    wanted = _by_partition(venue, symbols, sorted(partitions))
    ends = [TopicPartition(topics.TRADES, number) for number in partitions]
    async with tail_reader(settings, ends, client_id=f"{client_id}-known") as reader:
        try:
            async with asyncio.timeout(READ_SECONDS):
                tails = [
                    _Tail(partition, last(held, publisher.dedupe_records), wanted)
                    for partition, held in (await reader.held(ends)).items()
                    if held
                ]
                await _read(reader, tails, f"{venue}|".encode(), since_ms, codec)
        except TimeoutError as error:
            raise BrokerError(f"cannot read back the end of {topics.TRADES}: {error!r}") from error
    return KnownTrades({symbol: ids for tail in tails for symbol, ids in tail.ids.items()})


def _by_partition(venue: str, symbols: Iterable[str], partitions: list[int]) -> dict[int, list[str]] | None:
    """Return the symbols of each partition; None if patterns leave the symbols unknown."""
    found: dict[int, list[str]] = defaultdict(list)
    choose = DefaultPartitioner()
    for symbol in symbols:
        if is_pattern(symbol):
            return None
        found[choose(f"{venue}|{symbol}".encode(), partitions, partitions)].append(symbol)
    return found


class _Tail:
    """End of a partition.

    Attributes:
        span: the offsets being read; those above have been read.
        oldest_ms: the time of its first record.
        ids: of trades, by symbol, in the topic's order.
    """

    def __init__(self, partition: TopicPartition, whole: range, wanted: Mapping[int, list[str]] | None) -> None:
        self.partition = partition
        self.span = range(whole.stop, whole.stop)
        self._whole = whole
        self.oldest_ms = 0.0
        self.ids: dict[str, list[int]] = {}
        self._wanted = wanted.get(partition.partition, []) if wanted is not None else None
        self._values: dict[str, list[bytes]] = {}

    def go_back(self, records: int) -> range:
        """Begin the span before the one that was read, and return it."""
        self.span = last(range(self._whole.start, self.span.start), records)
        self.oldest_ms = 0.0
        return self.span

    def take(self, messages: Iterable[ConsumerRecord[bytes, bytes]], prefix: bytes, since_ms: float) -> None:
        """Take records of the span."""
        for message in messages:
            self.oldest_ms = self.oldest_ms or message.timestamp
            if message.key is not None and message.key.startswith(prefix) and message.timestamp >= since_ms:
                symbol = message.key[len(prefix) :].decode("utf-8", "replace")
                if len(self.ids.get(symbol, ())) < REPEATED:
                    self._values.setdefault(symbol, []).append(message.value)

    def note(self, codec: Codec) -> None:
        """Put the span's trades before those already known."""
        for symbol, values in self._values.items():
            self.ids[symbol] = [*_ids(values, codec), *self.ids.get(symbol, ())]
        self._values.clear()

    def enough(self, since_ms: float) -> bool:
        """Whether it need not be read further back."""
        if self.span.start == self._whole.start or self.oldest_ms < since_ms:
            return True
        return self._wanted is not None and all(len(self.ids.get(symbol, ())) >= REPEATED for symbol in self._wanted)


async def _read(reader: TailReader, tails: Sequence[_Tail], prefix: bytes, since_ms: float, codec: Codec) -> None:
    by_partition = {tail.partition: tail for tail in tails}

    def take(partition: TopicPartition, messages: Sequence[ConsumerRecord[bytes, bytes]]) -> None:
        by_partition[partition].take(messages, prefix, since_ms)

    records = _SPAN
    while tails:
        await reader.read({tail.partition: tail.go_back(records) for tail in tails}, take)
        for tail in tails:
            tail.note(codec)
        tails = [tail for tail in tails if not tail.enough(since_ms)]
        records *= _WIDER


def _ids(values: Iterable[bytes], codec: Codec) -> list[int]:
    found: list[int] = []
    for value in values:
        try:
            record = codec.decode(value)
        except RecordRefused as error:
            logs.get("producers").warning("undecodable record in md.trades ignored", reason=str(error))
            continue
        if isinstance(record, Trade) and record.trade_id.isdecimal():
            found.append(int(record.trade_id))
    return found
