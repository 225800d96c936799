"""Loads into topics: every consumer sees every record once, however often the load was killed and repeated.

Each record has a header ``alphapulse-load`` with the source's id and its number in the load. Records of a partition are
appended in the order in which they are sent, without a hole: a producer of librdkafka that never gives up. So what a
killed load has left is a beginning, in each partition. The next one finds its end by reading the partitions back from
where they ended before the load (:mod:`sinks.load.ledger`), and goes on behind it. Only one load is at work at a time
(:mod:`sinks.load.lock`). No transactions: their aborted records would be seen by consumers that read uncommitted ones,
and brokers without them would be excluded.

A load that is done is not repeated as long as the broker has its records.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Sequence
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any, Final

import pyarrow as pa
from aiokafka import TopicPartition
from aiokafka.errors import KafkaError
from aiokafka.partitioner import murmur2
from aiokafka.structs import ConsumerRecord

from alphapulse import topics
from alphapulse.config import Settings
from alphapulse.errors import BrokerError, ServiceError
from alphapulse.kafka import LagReader, NativeProducer, incarnation, native_producer, running
from alphapulse.kafka.admin import create_topics
from alphapulse.kafka.tail import last, tail_reader
from schemas.codec import Codec
from schemas.records import L2Update, Record, Trade
from schemas.remote import registry
from sinks.columns import columns
from sinks.load.contract import Written
from sinks.load.ledger import CLIENT, Entry, Ledger
from sinks.load.lock import LoadLock
from sinks.load.pacing import Pacing
from sinks.load.unit import Survey

HEADER: Final = "alphapulse-load"
SLICE: Final = 2_000
"""Records sent at once: the event loop, which keeps the lock, waits for some 20 ms."""
NOTED_SECONDS: Final = 5.0
LIVE_RECORDS: Final = 500
LIVE_SECONDS: Final = 60.0
"""An instrument with so young a record of somebody else among the last ones of its partition is published now."""
_KINDS: Final[dict[str, type[Record]]] = {topics.TRADES: Trade, topics.L2: L2Update}


class TopicTarget:
    """Topics as a :class:`sinks.load.contract.Target`.

    Args:
        settings: broker and registry.
        tell: told what is waited for.
    """

    def __init__(self, settings: Settings, tell: Callable[[str], None]) -> None:
        self._settings = settings
        self._tell = tell
        self._codec = Codec(registry(settings.registry))
        self._stack = AsyncExitStack()
        self._ledger = Ledger(settings, "")
        self._lock: LoadLock
        self._writer: NativeProducer
        self._lag: LagReader
        self._pacing: Pacing
        self._entry = Entry("", "")
        self._load = ""
        self._number = 0
        self._partitions = 0
        self._noted = 0.0
        self._waiting: dict[int, int] = {}
        self._fault: KafkaError | None = None

    async def open(self) -> None:
        """Connect, and wait until no other load is at work."""
        kafka = self._settings.kafka
        self._codec.prepare()
        await create_topics(kafka, self._settings.topics.replication, [topics.LOADS_STATE])
        self._ledger = Ledger(self._settings, await incarnation(kafka))
        self._lock = await self._stack.enter_async_context(LoadLock(kafka, self._tell))
        # It waits as long as it takes: a record that is given up would leave a hole.
        self._writer = native_producer(kafka, client_id=CLIENT, give_up=False)
        await self._stack.enter_async_context(running(self._writer, kafka))
        self._writer.delivered = self._delivered

    async def begin(self, path: Path, survey: Survey) -> Written | None:
        """Find out what is there."""
        topic, self._load, self._number = survey.format.topic, survey.id, 0
        self._waiting = {}
        try:
            self._partitions = len(await self._writer.partitions_for(topic))
        except KafkaError as error:
            raise BrokerError(f"topic {topic} cannot be used: {error}; `alphapulse topics create` makes it") from error
        self._pacing = Pacing(self._settings, topic, self._tell)
        self._lag = await self._stack.enter_async_context(self._pacing.reader())
        keys = {one.key.encode() for one in survey.named}
        places = [TopicPartition(topic, number) for number in sorted({self._partition(key) for key in keys})]
        entry = await self._ledger.read(self._load)
        async with tail_reader(self._settings.kafka, places, client_id=CLIENT) as reader:
            held = {place.partition: span for place, span in (await reader.held(places)).items()}
            if entry is not None and entry.state == "done":
                if any(held[number].start < end for number, end in entry.ends.items() if number in held):
                    return Written(0, entry.records)
                entry = None  # the broker has dropped them
            if entry is None:
                await self._refuse_live(reader, places, held, keys)
                entry = Entry(str(path), topic, starts={number: span.stop for number, span in held.items()})
                await self._ledger.write(self._load, entry)
            else:
                spans = {
                    place: range(
                        max(entry.starts[place.partition], held[place.partition].start), held[place.partition].stop
                    )
                    for place in places
                }
                await reader.read(spans, lambda place, records: self._found(entry, place, records))
        self._entry, self._noted = entry, time.monotonic()
        return None

    async def write(self, rows: pa.RecordBatch) -> Written:
        """Send the records that are not there."""
        written = Written()
        kind = _KINDS[self._entry.topic]
        for start in range(0, rows.num_rows, SLICE):
            sent = size = 0
            for record in records_of(kind, rows.slice(start, SLICE)):
                number, self._number = self._number, self._number + 1
                key = f"{record.venue}|{record.symbol}".encode()  # type: ignore[union-attr]
                partition = self._partition(key)
                if number <= self._entry.numbers.get(partition, -1):
                    written.present += 1
                    continue
                value = self._codec.encode(record)
                await self._send(value, key, partition, number)
                self._waiting[partition] = number
                sent, size = sent + 1, size + len(value)
            await self._flush()
            await self._lock.check()
            written.stored += sent
            if sent:
                self._pacing.sent(sent, size)
                await self._pacing.wait(self._lag)
        return written

    async def _send(self, value: bytes, key: bytes, partition: int, number: int) -> None:
        headers = [(HEADER, f"{self._load}:{number}".encode())]
        try:
            while not self._writer.send(self._entry.topic, value, key=key, partition=partition, headers=headers):
                self._writer.poll()
                await asyncio.sleep(0.001)
        except KafkaError as error:
            raise BrokerError(f"record {number} of the load cannot be sent to {self._entry.topic}: {error}") from error

    async def _flush(self) -> None:
        """Wait for acknowledgements, and note them from time to time."""
        await self._writer.flush()
        if self._fault is not None:
            raise BrokerError(f"the broker refuses a record for {self._entry.topic}: {self._fault}") from self._fault
        self._entry.numbers |= self._waiting
        self._waiting = {}
        if time.monotonic() - self._noted > NOTED_SECONDS:
            await self._ledger.write(self._load, self._entry)
            self._noted = time.monotonic()

    async def end(self) -> Written:
        """Note that all is there."""
        await self._flush()
        places = [TopicPartition(self._entry.topic, number) for number in self._entry.starts]
        async with tail_reader(self._settings.kafka, places, client_id=CLIENT) as reader:
            held = await reader.held(places)
        self._entry.ends = {place.partition: span.stop for place, span in held.items()}
        self._entry.state, self._entry.records = "done", self._number
        await self._ledger.write(self._load, self._entry)
        return Written()

    async def close(self) -> None:
        """Close the connections and give up the lock."""
        await self._stack.aclose()

    def _partition(self, key: bytes) -> int:
        """Return the partition of a key, as Kafka's Java client and our producers choose it."""
        return int((murmur2(key) & 0x7FFFFFFF) % self._partitions)

    def _delivered(self, topic: str, partition: int, offset: int, error: KafkaError | None) -> None:
        if error is not None and self._fault is None:
            self._fault = error

    def _found(self, entry: Entry, place: TopicPartition, records: Sequence[ConsumerRecord[bytes, bytes]]) -> None:
        for record in records:
            number = number_of(record, self._load)
            if number is not None:
                entry.numbers[place.partition] = max(entry.numbers.get(place.partition, -1), number)

    async def _refuse_live(
        self, reader: Any, places: Sequence[TopicPartition], held: dict[int, range], keys: set[bytes]
    ) -> None:
        """Refuse instruments that somebody publishes now: between two sources no book is whole.

        Raises:
            ServiceError: there is one.
        """
        young: set[bytes] = set()
        since = (time.time() - LIVE_SECONDS) * 1000

        def take(_: TopicPartition, records: Sequence[ConsumerRecord[bytes, bytes]]) -> None:
            for record in records:
                loaded = any(name == HEADER for name, _ in record.headers)
                if record.key in keys and record.timestamp >= since and not loaded:
                    young.add(record.key)

        await reader.read({place: last(held[place.partition], LIVE_RECORDS) for place in places}, take)
        if young:
            names = ", ".join(sorted(key.decode() for key in young))
            raise ServiceError(
                f"{names}: a collector publishes it now, and books and candles cannot be of two sources: load into "
                "tables, or under another name of the venue (--venue NAME)"
            )


def number_of(record: ConsumerRecord[bytes, bytes], load: str) -> int | None:
    """Return a record's number in a load; None: it is not of this load."""
    for name, value in record.headers:
        if name == HEADER and value.startswith(f"{load}:".encode()):
            return int(value.rpartition(b":")[2])
    return None


def records_of(kind: type[Record], rows: pa.RecordBatch) -> list[Record]:
    """Return rows as records; columns that records do not have are left out."""
    names = [column.name for column in columns(kind)]
    lists = []
    for name in names:
        column = rows.column(name)
        plain = column.cast(pa.int64()) if pa.types.is_timestamp(column.type) else column
        lists.append(plain.to_pylist())
    made = []
    for values in zip(*lists, strict=True):
        record = object.__new__(kind)
        record.__dict__ = dict(zip(names, values, strict=True))
        made.append(record)
    return made
