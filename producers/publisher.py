"""Records to the broker: ordered per key, bounded in flight, every acknowledgement accounted for.

Records are gathered into one open batch per partition. A partition has at most one batch on its way; meanwhile the
next one fills, so that batches grow with the load and an idle stream waits no longer than the linger time. Nothing is
dropped: at the bound the caller waits, and a batch the broker refuses ends the publisher with an error.
"""

from __future__ import annotations

import asyncio
from collections import Counter, deque
from collections.abc import Iterator
from typing import Any, Protocol

from aiokafka.errors import KafkaError
from aiokafka.partitioner import DefaultPartitioner

from alphapulse import metrics, topics
from alphapulse.config import PublisherSettings
from alphapulse.errors import BrokerError
from schemas.codec import Codec
from schemas.records import TOPIC_OF, Record, key_of

WRITTEN = (topics.L2, topics.TRADES, topics.QUOTES, topics.CANDLES, topics.EVENTS, topics.DEAD_LETTERS)
"""The topics that collectors write to."""


class Producer(Protocol):
    """What the publisher uses of aiokafka's producer; idempotent, so that no batch is doubled or overtaken."""

    async def partitions_for(self, topic: str) -> set[int]:
        """Return the partitions of ``topic``."""

    def create_batch(self) -> Any:
        """Return an empty batch."""

    async def send_batch(self, batch: Any, topic: str, *, partition: int) -> asyncio.Future[Any]:
        """Hand a batch over; the future is its acknowledgement."""


class _Batch:
    """Records of one partition that go together; ``first_frame`` is the lowest frame number among them."""

    __slots__ = ("builder", "bytes", "count", "first_frame", "opened")

    def __init__(self, builder: Any, first_frame: int, opened: float) -> None:
        self.builder = builder
        self.first_frame = first_frame
        self.opened = opened
        self.count = 0
        self.bytes = 0


class _Lane:
    """One partition's batches: one on its way, full ones that wait, one that fills."""

    __slots__ = ("filling", "full", "partition", "sending", "topic")

    def __init__(self, topic: str, partition: int) -> None:
        self.topic = topic
        self.partition = partition
        self.sending: _Batch | None = None
        self.full: deque[_Batch] = deque()
        self.filling: _Batch | None = None

    def unacknowledged(self) -> Iterator[_Batch]:
        """Yield all batches that are not acknowledged."""
        if self.sending is not None:
            yield self.sending
        yield from self.full
        if self.filling is not None:
            yield self.filling


class Publisher:
    """Publishes the records of one collector.

    Args:
        producer: started; its own linger time should be 0.
        codec: encodes.
        settings: the bounds.
        venue: labels the metrics.

    Attributes:
        acknowledged, published: records acknowledged so far, and by topic.
        in_flight, in_flight_bytes: records taken and not acknowledged yet, and their size.
        patience: seconds at a bound after which the venue is better left alone.
    """

    def __init__(self, producer: Producer, codec: Codec, settings: PublisherSettings, venue: str) -> None:
        self._producer = producer
        self._codec = codec
        self._bound = settings.max_in_flight
        self._bound_bytes = settings.max_in_flight_bytes
        self.patience = settings.broker_patience_s
        self._linger = settings.linger_ms / 1000
        self._venue = venue
        self._loop = asyncio.get_running_loop()
        self._partitioner = DefaultPartitioner()
        self._partitions: dict[str, list[int]] = {}
        self._lanes: dict[tuple[str, int], _Lane] = {}
        self._lane_of: dict[tuple[str, bytes], _Lane] = {}
        self._lingering: asyncio.TimerHandle | None = None
        self._tasks: set[asyncio.Task[None]] = set()
        self._room = asyncio.Event()
        self._room.set()
        self._idle = asyncio.Event()
        self._idle.set()
        self._failure: BrokerError | None = None
        self.failed = asyncio.Event()
        self.acknowledged = 0
        self.published: Counter[str] = Counter()
        self.in_flight = 0
        self.in_flight_bytes = 0
        self._in_flight_gauge = metrics.IN_FLIGHT.labels(venue)
        self._in_flight_bytes_gauge = metrics.IN_FLIGHT_BYTES.labels(venue)
        self._seconds = metrics.PUBLISH_SECONDS.labels(venue)

    async def start(self) -> None:
        """Learn the topics' partitions.

        Raises:
            BrokerError: the broker does not tell them.
        """
        for topic in WRITTEN:
            try:
                found = await self._producer.partitions_for(topic)
            except KafkaError as error:
                raise BrokerError(f"cannot learn the partitions of {topic}: {error}") from error
            self._partitions[topic] = sorted(found)

    def publish(self, record: Record, frame: int) -> None:
        """Take ``record``, which frame number ``frame`` led to. Never waits: :meth:`room` does, between frames.

        Raises:
            RecordRefused: the record does not fit its schema.
            BrokerError: an earlier batch was refused.
        """
        self._check()
        topic = TOPIC_OF[type(record)]
        key = key_of(record)
        lane = self._lane_of.get((topic, key)) or self._lane(topic, key)
        value = self._codec.encode(record)
        batch = lane.filling
        if batch is None or batch.builder.append(timestamp=None, key=key, value=value) is None:
            if batch is not None:
                lane.full.append(batch)
            batch = lane.filling = _Batch(self._producer.create_batch(), frame, self._loop.time())
            batch.builder.append(timestamp=None, key=key, value=value)
            self._schedule(lane)
        elif frame < batch.first_frame:
            batch.first_frame = frame
        size = len(key) + len(value)
        batch.count += 1
        batch.bytes += size
        self.in_flight += 1
        self.in_flight_bytes += size
        self._idle.clear()
        if self.in_flight >= self._bound or self.in_flight_bytes >= self._bound_bytes:
            self._room.clear()

    async def room(self) -> None:
        """Wait while as many records or bytes are in flight as may be.

        Raises:
            BrokerError: a batch was refused.
        """
        while not self._room.is_set():
            await self._room.wait()
        self._check()

    @property
    def full(self) -> bool:
        """Whether :meth:`room` would wait."""
        return not self._room.is_set() or self._failure is not None

    def done(self, handled: int) -> int:
        """Return the last frame number up to which every record is acknowledged, ``handled`` frames being handled."""
        open_ones = (batch for lane in self._lanes.values() for batch in lane.unacknowledged())
        return min((batch.first_frame - 1 for batch in open_ones), default=handled)

    async def flush(self) -> None:
        """Wait until everything taken is acknowledged.

        Raises:
            BrokerError: a batch was refused.
        """
        self._send_all()
        await self._idle.wait()
        self._check()

    def _check(self) -> None:
        if self._failure is not None:
            raise self._failure

    def _lane(self, topic: str, key: bytes) -> _Lane:
        partitions = self._partitions[topic]
        partition = self._partitioner(key, partitions, partitions)
        lane = self._lanes.get((topic, partition))
        if lane is None:
            lane = self._lanes[topic, partition] = _Lane(topic, partition)
        self._lane_of[topic, key] = lane
        return lane

    def _schedule(self, lane: _Lane) -> None:
        if lane.sending is not None:
            return  # its acknowledgement sends the next
        if lane.full:
            self._send_next(lane)
        elif self._lingering is None:
            self._lingering = self._loop.call_later(self._linger, self._send_all)

    def _send_all(self) -> None:
        if self._lingering is not None:
            self._lingering.cancel()
            self._lingering = None
        for lane in self._lanes.values():
            self._send_next(lane)

    def _send_next(self, lane: _Lane) -> None:
        if lane.sending is not None or self._failure is not None:
            return
        if lane.full:
            lane.sending = lane.full.popleft()
        elif lane.filling is not None:
            lane.sending, lane.filling = lane.filling, None
        else:
            return
        task = self._loop.create_task(self._send(lane, lane.sending))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _send(self, lane: _Lane, batch: _Batch) -> None:
        # Closed, it does not linger in the client.
        batch.builder.close()
        try:
            await (await self._producer.send_batch(batch.builder, lane.topic, partition=lane.partition))
        except Exception as error:  # noqa: BLE001 whatever it was: these records are not on the broker
            self._fail(f"{batch.count} records to {lane.topic}-{lane.partition} were refused: {error!r}", error)
            return
        lane.sending = None
        self.acknowledged += batch.count
        self.published[lane.topic] += batch.count
        self.in_flight -= batch.count
        self.in_flight_bytes -= batch.bytes
        metrics.RECORDS.labels(self._venue, lane.topic).inc(batch.count)
        self._in_flight_gauge.set(self.in_flight)
        self._in_flight_bytes_gauge.set(self.in_flight_bytes)
        self._seconds.observe(self._loop.time() - batch.opened)
        self._send_next(lane)
        if self.in_flight < self._bound and self.in_flight_bytes < self._bound_bytes:
            self._room.set()
        if not self.in_flight:
            self._idle.set()

    def _fail(self, message: str, cause: Exception) -> None:
        if self._failure is None:
            self._failure = BrokerError(message)
            self._failure.__cause__ = cause
        self.failed.set()
        self._room.set()
        self._idle.set()
