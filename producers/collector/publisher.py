"""Kafka publisher of a collector: ordered per key, bounded in flight, every acknowledgement accounted for.

A record is handed to the client at once, or, while records come fast, together with those of the next two milliseconds
(``[publisher] linger_ms``), since waking the client costs more than a record. librdkafka batches, compresses and sends
in its own threads (DESIGN.md, "Decisions"). Acknowledgements do not wake the event loop: they are polled when further
records are published, when a caller asks or waits, four times a second, and soon after a traced record.
Nothing is dropped: at the bound the caller waits, and a record refused by the broker fails the publisher with an error.
"""

from __future__ import annotations

import asyncio
import math
import time
from collections import Counter, deque
from collections.abc import Iterable
from typing import Final, Protocol

from aiokafka.errors import KafkaError

from alphapulse import metrics, topics
from alphapulse.config import PublisherSettings
from alphapulse.errors import BrokerError
from alphapulse.kafka.native.producer import Placed, Told
from alphapulse.tracing import Headers, Tracer
from producers.collector.traces import CollectSpan, FrameSampler
from schemas.codec import Codec
from schemas.records import TOPIC_OF, Record, key_of

WRITTEN = (topics.L2, topics.TRADES, topics.QUOTES, topics.CANDLES, topics.EVENTS, topics.DEAD_LETTERS)
"""Topics that collectors write to."""

LOOK_SECONDS: Final = 0.25
"""Poll interval for acknowledgements, without another reason to poll."""
TRACED_SECONDS: Final = 0.005
"""Time from the sending of a traced record to a poll: its span ends when the acknowledgement is polled."""
WAIT_SECONDS: Final = 0.01
"""Poll interval while a caller waits for acknowledgements."""
CLIENT_LINGER_MS: Final = 0.1
"""librdkafka's own linger, of every record: lets what is handed over together become one batch."""
FAST_RECORDS: Final = 6
"""Records are gathered while so many come within ``[publisher] linger_ms``."""
RECORD_BYTES: Final = 768
"""Overhead per record in flight besides key and value, measured: librdkafka and its client 545, the rest up to 200."""


class Producer(Protocol):
    """Interface of :class:`alphapulse.kafka.NativeProducer` as used here; it preserves the order of each key."""

    def send(
        self,
        topic: str,
        value: bytes,
        *,
        key: bytes,
        told: Told,
        headers: Headers | None = None,
        placed: Placed | None = None,
    ) -> bool:
        """Enqueue a record; False if the queue is full."""

    def send_batch(self, topic: str, records: Iterable[tuple[bytes, bytes, Told]]) -> None:
        """Enqueue records with their keys, values and callbacks; a callback hears at once of a refused one."""

    def poll(self) -> None:
        """Deliver the acknowledgements and errors received since the last call."""


class _Share:
    """Batch: records of one topic published in one iteration of the event loop.

    Attributes:
        first: number of records published before the batch.
        count, open: number of records, and of those not acknowledged.
        bytes: their size.
        seconds: longest time until an acknowledgement was polled.
        whole: whether the iteration is over, so that the batch is complete.
    """

    __slots__ = ("_publisher", "bytes", "count", "first", "open", "seconds", "topic", "whole")

    def __init__(self, publisher: Publisher, topic: str, first: int) -> None:
        self._publisher = publisher
        self.topic = topic
        self.first = first
        self.count = self.open = self.bytes = 0
        self.seconds = 0.0
        self.whole = False

    def told(self, error: KafkaError | None, seconds: float) -> None:
        """Handle the delivery report of one record (called by the producer)."""
        if error is not None:
            self._publisher.refused(self.topic, self.open, error)
            return
        self.open -= 1
        self.seconds = max(self.seconds, seconds)
        if self.whole and not self.open:
            self._publisher.settled(self)


class Publisher:
    """Publisher of one collector's records.

    Args:
        producer: started; it retries without limit.
        codec: encodes records.
        settings: the bounds.
        venue: label of the metrics.
        tracer: None: tracing is off.

    Attributes:
        taken, acknowledged, published: records accepted and acknowledged so far; ``published`` by topic.
        in_flight, in_flight_bytes: records accepted and not acknowledged, and the memory they occupy.
        patience: seconds at a bound after which the venue connection should be closed.
    """

    def __init__(
        self,
        producer: Producer,
        codec: Codec,
        settings: PublisherSettings,
        venue: str,
        tracer: Tracer | None = None,
    ) -> None:
        self._sampler = FrameSampler(tracer) if tracer is not None else None
        self._producer = producer
        self._codec = codec
        self._bound = settings.max_in_flight
        self._bound_bytes = settings.max_in_flight_bytes
        self.patience = settings.broker_patience_s
        self._venue = venue
        self._loop = asyncio.get_running_loop()
        self._filling: dict[str, _Share] = {}
        self._open: dict[_Share, None] = {}
        self._looking: asyncio.TimerHandle | None = None
        self._linger = settings.linger_ms / 1000
        # By topic: key, value and callback of the records that are sent later.
        self._gathered: dict[str, list[tuple[bytes, bytes, Told]]] = {}
        # Times of the last records, the oldest first.
        self._times: deque[float] = deque((-math.inf,) * FAST_RECORDS, FAST_RECORDS)
        self._waiting = 0
        self._room = asyncio.Event()
        self._room.set()
        self._idle = asyncio.Event()
        self._idle.set()
        self._failure: BrokerError | None = None
        self.failed = asyncio.Event()
        self.taken = self.acknowledged = 0
        self.published: Counter[str] = Counter()
        self.in_flight = 0
        self.in_flight_bytes = 0
        self._in_flight_gauge = metrics.IN_FLIGHT.labels(venue)
        self._in_flight_bytes_gauge = metrics.IN_FLIGHT_BYTES.labels(venue)
        self._seconds = metrics.PUBLISH_SECONDS.labels(venue)

    def publish(self, record: Record) -> None:
        """Accept ``record``. Never waits: call :meth:`room` between frames.

        Raises:
            RecordRefused: the record does not fit its schema.
            BrokerError: an earlier record was refused.
        """
        self._check()
        topic = TOPIC_OF[type(record)]
        key = key_of(record)
        value = self._codec.encode(record)
        share = self._filling.get(topic)
        if share is None:
            if not self._filling:
                self._loop.call_soon(self._end_turn)
            share = self._filling[topic] = _Share(self, topic, self.taken)
        size = len(key) + len(value) + RECORD_BYTES
        share.count += 1
        share.open += 1
        self.taken += 1
        share.bytes += size
        self.in_flight += 1
        self.in_flight_bytes += size
        self._idle.clear()
        if self.in_flight >= self._bound or self.in_flight_bytes >= self._bound_bytes:
            self._room.clear()
        span = self._sampler.begin(topic, record) if self._sampler is not None else None
        now, times = time.monotonic(), self._times
        fast = now - times[0] < self._linger
        times.append(now)
        if span is not None:
            self._send_gathered()  # the order of a key
            self._send_traced(topic, value, key, share, span)
        elif fast or self._gathered:
            if not self._gathered:
                self._loop.call_later(self._linger, self._send_gathered)
            gathered = self._gathered.get(topic)
            if gathered is None:
                gathered = self._gathered[topic] = []
            gathered.append((key, value, share.told))
        else:
            try:
                if not self._producer.send(topic, value, key=key, told=share.told):
                    self.refused(topic, share.open, BufferError("the client's queue is full"))
            except Exception as error:  # noqa: BLE001 any error means that the record is not on the broker
                self.refused(topic, share.open, error)

    def _send_traced(self, topic: str, value: bytes, key: bytes, share: _Share, span: CollectSpan) -> None:
        try:
            headers, placed = span.sending(), span.placed
            self._loop.call_later(TRACED_SECONDS, self.look)
            if not self._producer.send(topic, value, key=key, told=share.told, headers=headers, placed=placed):
                self.refused(topic, share.open, BufferError("the client's queue is full"))
        except Exception as error:  # noqa: BLE001 any error means that the record is not on the broker
            self.refused(topic, share.open, error)

    def _send_gathered(self) -> None:
        gathered, self._gathered = self._gathered, {}
        for topic, records in gathered.items():
            if self._failure is not None:
                return
            try:
                self._producer.send_batch(topic, records)
            except Exception as error:  # noqa: BLE001 any error means that the records are not on the broker
                self.refused(topic, len(records), error)

    def look(self) -> None:
        """Poll for acknowledgements."""
        self._producer.poll()
        self._in_flight_gauge.set(self.in_flight)
        self._in_flight_bytes_gauge.set(self.in_flight_bytes)
        self._look_again()

    def settled(self, share: _Share) -> None:
        """Handle that all records of ``share`` are acknowledged."""
        self._open.pop(share, None)
        self.acknowledged += share.count
        self.published[share.topic] += share.count
        self.in_flight -= share.count
        self.in_flight_bytes -= share.bytes
        if self.in_flight < self._bound and self.in_flight_bytes < self._bound_bytes:
            self._room.set()
        if not self.in_flight:
            self._idle.set()
        metrics.RECORDS.labels(self._venue, share.topic).inc(share.count)
        self._seconds.observe(share.seconds)

    async def room(self) -> None:
        """Wait while the bound of records or bytes in flight is reached.

        Raises:
            BrokerError: a record was refused.
        """
        while not self._room.is_set():
            await self._awaited(self._room)
        self._check()

    @property
    def full(self) -> bool:
        """Whether a bound is reached, so that :meth:`room` would wait."""
        return not self._room.is_set() or self._failure is not None

    def confirmed(self) -> int:
        """Return n such that the first n records are all acknowledged."""
        if not self._filling and self._failure is None:
            self.look()
        shares = (*self._filling.values(), *self._open)
        return min((share.first for share in shares), default=self.taken)

    async def flush(self) -> None:
        """Wait until all accepted records are acknowledged.

        Raises:
            BrokerError: a record was refused.
        """
        if not self._idle.is_set():
            await self._awaited(self._idle)
        self._check()

    async def _awaited(self, event: asyncio.Event) -> None:
        self._waiting += 1
        if self._looking is not None:
            self._looking.cancel()
            self._looking = None
        self._look_again()
        try:
            await event.wait()
        finally:
            self._waiting -= 1

    def _check(self) -> None:
        if self._failure is not None:
            raise self._failure

    def _end_turn(self) -> None:
        """Close the batches of this iteration and poll for acknowledgements."""
        for share in self._filling.values():
            share.whole = True
            if share.open:
                self._open[share] = None
            else:
                self.settled(share)
        self._filling.clear()
        self.look()

    def _look_again(self) -> None:
        """Schedule the next poll while anything is in flight."""
        if self._looking is None and self.in_flight and self._failure is None:
            delay = WAIT_SECONDS if self._waiting else LOOK_SECONDS
            self._looking = self._loop.call_later(delay, self._look_now)

    def _look_now(self) -> None:
        self._looking = None
        self.look()

    def refused(self, topic: str, count: int, error: Exception) -> None:
        """Fail permanently: up to ``count`` records are not on the broker."""
        if self._failure is None:
            self._failure = BrokerError(f"the broker did not accept {count} records to {topic}: {error!r}")
            self._failure.__cause__ = error
        self.failed.set()
        self._room.set()
        self._idle.set()
