"""Reader of ``md.l2``: from the processors' checkpoints on, only the partitions and only while they are wanted.

A whole book exists nowhere but in memory and in the checkpoints of the processors (``state.processors``, partition n
for partition n of ``md.l2``). So a partition's books are taken from there, then the records after the position saved
with them are applied; some records before it are read, too, for the history. When nobody has wanted a book for
``LINGER_SECONDS``, reading ends and the books are forgotten: without subscribers the topic costs nothing.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from typing import Any, Final

from aiokafka import TopicPartition
from aiokafka.partitioner import murmur2

from alphapulse import logs, metrics, topics
from alphapulse.config import KafkaSettings
from alphapulse.errors import RecordRefused
from alphapulse.kafka import LossWatch, NativeConsumer, native_consumer, running, tail
from gateway.v2.l2_books import Instrument, L2Books
from schemas.checkpoints import (
    MANIFEST_KEY,
    BookState,
    InstrumentEnvelope,
    Manifest,
    Unreadable,
    unpack,
)
from schemas.codec import Codec
from schemas.records import L2Update

LINGER_SECONDS: Final = 60.0
HISTORY_RECORDS: Final = 5_000
"""Records of a partition read before the position of its checkpoint, for the history."""
WITHOUT_CHECKPOINT: Final = 20_000
"""Records read from the end of a partition without a checkpoint: a book in it begins with its next snapshot."""
RETRY_SECONDS: Final = 5.0
ADD_SECONDS: Final = 30.0
"""Reading begins anew when partitions could not be added within this: a broker that does not answer is a failure."""
POLL_MS: Final = 200
BATCH_RECORDS: Final = 500


def partition_of(instrument: Instrument, partitions: int = topics.PARTITIONS) -> int:
    """Return the partition of ``md.l2`` that holds an instrument's records."""
    return int(murmur2("|".join(instrument).encode()) & 0x7FFFFFFF) % partitions


def keep_newest(newest: dict[bytes, bytes], records: Iterable[Any]) -> None:
    """Take records of a partition of the state topic, in order; a record without a value deletes its key."""
    for record in records:
        if record.key is None:
            continue
        if record.value is None:
            newest.pop(record.key, None)
        else:
            newest[record.key] = record.value


def books_of(records: Mapping[bytes, bytes]) -> tuple[dict[Instrument, BookState], int | None]:
    """Return the books in the newest records of a partition of the state topic, by key, and where to read on.

    The position is an offset of ``md.l2``; None: there is no checkpoint. It is far enough back for every book.

    Raises:
        Unreadable: the manifest is of another version.
    """
    if (value := records.get(MANIFEST_KEY)) is None:
        return {}, None
    manifest = unpack(Manifest, value)
    position = manifest.positions.get(topics.L2)
    books: dict[Instrument, BookState] = {}
    for key, kept in records.items():
        if b"|" not in key:  # the manifest, or a symbol's record
            continue
        try:
            record = unpack(InstrumentEnvelope, kept)
        except Unreadable:
            continue  # its book begins with its next snapshot
        total = sum(record.positions.values())
        expected = manifest.keys.get(key.decode(errors="replace"), 0)
        if total == expected:
            confirmed = manifest.confirmed.get(key.decode(errors="replace"), 0)
            record.book.received_time = max(record.book.received_time, confirmed)
        elif total < expected and position is not None:
            position = min(position, record.positions.get(topics.L2, 0))
        books[record.venue, record.symbol] = record.book
    return books, position


class L2Reader:
    """Reads the partitions of the wanted books.

    Args:
        books: take the records.
        clock: nanoseconds since the Unix epoch.
        gather_ms: minimum time between two handovers of records to clients.
    """

    def __init__(
        self,
        settings: KafkaSettings,
        codec: Codec,
        books: L2Books,
        clock: Callable[[], int],
        *,
        client_id: str,
        gather_ms: float = 0.0,
    ) -> None:
        self._settings = settings
        self._codec = codec
        self._books = books
        self._clock = clock
        self._client_id = client_id
        self._gather_ms = gather_ms
        self._log = logs.get("gateway.l2")
        self._wanted = asyncio.Event()
        self._requested: set[int] = set()
        self._last_wanted = 0.0
        self._next: dict[TopicPartition, int] = {}
        self._ends: dict[TopicPartition, int] = {}
        self._loading: dict[TopicPartition, int] = {}
        self._losses = LossWatch()
        self._outcomes = {
            outcome: metrics.GATEWAY_RECORDS.labels(topic=topics.L2, outcome=outcome)
            for outcome in ("taken", "seen", "refused")
        }
        books.on_wanted = self._want

    def _want(self, instrument: Instrument) -> None:
        self._requested.add(partition_of(instrument))
        self._last_wanted = time.monotonic()
        self._wanted.set()

    @property
    def lag(self) -> int:
        """Unread records of the partitions that are read, according to the last fetches; 0 while none is."""
        return sum(max(self._ends.get(partition, 0) - position, 0) for partition, position in tuple(self._next.items()))

    async def run(self) -> None:
        """Read whenever a book is wanted, until cancelled.

        Whatever fails is logged, counted and tried again later: the other channels need none of this.
        """
        while True:
            await self._wanted.wait()
            try:
                consumer = native_consumer(
                    self._settings, group_id=None, client_id=self._client_id, coalesce_ms=self._gather_ms
                )
                async with running(consumer, self._settings):
                    await self._read(consumer)
            except Exception:  # noqa: BLE001 the service goes on, and the log has the traceback
                self._log.exception("md.l2 not read", retry_seconds=RETRY_SECONDS)
                metrics.GATEWAY_L2_FAILURES.inc()
                self._forget()
                await asyncio.sleep(RETRY_SECONDS)
            else:
                self._forget()

    def _forget(self) -> None:
        self._next.clear()
        self._ends.clear()
        self._loading.clear()
        self._losses = LossWatch()
        self._books.unload()
        self._requested = {partition_of(instrument) for instrument in self._books.wanted}
        if self._requested:
            self._wanted.set()
        else:
            self._wanted.clear()

    async def _read(self, consumer: NativeConsumer) -> None:
        """Read until no book has been wanted for a while."""
        while True:
            if missing := self._requested - {partition.partition for partition in self._next}:
                async with asyncio.timeout(ADD_SECONDS):
                    await self._add(consumer, missing)
            if next(self._books.wanted, None) is not None:
                self._last_wanted = time.monotonic()
            elif time.monotonic() - self._last_wanted > LINGER_SECONDS:
                return
            batches = await consumer.getmany(timeout_ms=POLL_MS, max_records=BATCH_RECORDS)
            if batches:
                # A lost record shows in the sequence of its book, which the book's reader judges.
                await self._losses.check(consumer, batches)
                for partition, records in batches.items():
                    self._take(records)
                    self._next[partition] = records[-1].offset + 1
            for partition in self._next:
                self._ends[partition] = max(consumer.highwater(partition) or 0, self._ends[partition])
            self._look_what_is_loaded()

    async def _add(self, consumer: NativeConsumer, numbers: Collection[int]) -> None:
        """Begin to read partitions: the books from their checkpoints, then the records after them."""
        positions = await self._restore(numbers)
        added = [TopicPartition(topics.L2, number) for number in sorted(numbers)]
        consumer.assign([*self._next, *added])
        for partition, offset in self._next.items():
            consumer.seek(partition, offset)
        held = await tail.held_offsets(consumer, added)
        for partition in added:
            offsets = held[partition]
            position = positions.get(partition.partition)
            if position is None:
                first = tail.last(offsets, WITHOUT_CHECKPOINT).start
            else:
                first = min(max(position - HISTORY_RECORDS, offsets.start), offsets.stop)
            consumer.seek(partition, first)
            self._losses.expect(partition, first)
            self._next[partition] = first
            self._ends[partition] = self._loading[partition] = offsets.stop
        self._log.info("reading whole books", partitions=sorted(partition.partition for partition in self._next))

    async def _restore(self, numbers: Collection[int]) -> dict[int, int]:
        """Take the books of partitions from their checkpoints; return where to read on, by partition."""
        partitions = [TopicPartition(topics.PROCESSORS_STATE, number) for number in sorted(numbers)]
        newest: dict[int, dict[bytes, bytes]] = {number: {} for number in numbers}

        def take(partition: TopicPartition, records: Sequence[Any]) -> None:
            keep_newest(newest[partition.partition], records)

        async with tail.tail_reader(self._settings, partitions, client_id=self._client_id) as reader:
            await reader.read(await reader.held(partitions), take)
        positions: dict[int, int] = {}
        for number, records in newest.items():
            try:
                found, position = books_of(records)
            except Unreadable as error:
                self._log.warning("checkpoint not read", partition=number, reason=str(error))
                continue
            if position is not None:
                positions[number] = position
                for (venue, symbol), state in found.items():
                    self._books.restore(venue, symbol, state)
        return positions

    def _take(self, records: Sequence[Any]) -> None:
        now = self._clock()
        taken = seen = refused = 0
        for consumed in records:
            value: bytes = consumed.value or b""
            try:
                update = self._codec.decode_as(L2Update, value)
            except RecordRefused:
                refused += 1  # the processors send the dead letter; the book shows a gap
                continue
            if self._books.apply(update, value, now):
                taken += 1
            else:
                seen += 1
        for outcome, count in (("taken", taken), ("seen", seen), ("refused", refused)):
            self._outcomes[outcome].inc(count)

    def _look_what_is_loaded(self) -> None:
        """Publish the books of partitions that have been read to the end that they had."""
        done = {partition.partition for partition, end in self._loading.items() if self._next[partition] >= end}
        if done:
            self._loading = {each: end for each, end in self._loading.items() if each.partition not in done}
        read = {partition.partition for partition in self._next} - {each.partition for each in self._loading}
        self._books.loaded(lambda instrument: partition_of(instrument) in read, self._clock())
