"""Records to the broker: ordered per key, bounded in flight, every acknowledgement accounted for.

A record is handed to the client at once, which gathers, compresses and sends in threads of its own, outside of Python
(DESIGN.md, "Decisions"). Nobody waits for a single acknowledgement, so none
wakes the event loop: they are looked for when further records are published, when somebody asks or waits, and four
times a second. Nothing is dropped: at the bound the caller waits, and a record the broker refuses ends the publisher
with an error.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from typing import Final, Protocol

from aiokafka.errors import KafkaError

from alphapulse import metrics, topics
from alphapulse.config import PublisherSettings
from alphapulse.errors import BrokerError
from alphapulse.kafka.native.producer import Told
from schemas.codec import Codec
from schemas.records import TOPIC_OF, Record, key_of

WRITTEN = (topics.L2, topics.TRADES, topics.QUOTES, topics.CANDLES, topics.EVENTS, topics.DEAD_LETTERS)
"""The topics that collectors write to."""

LOOK_SECONDS: Final = 0.25
"""How often acknowledgements are looked for if nothing else is a reason to."""
WAIT_SECONDS: Final = 0.01
"""The same while somebody waits for them."""
RECORD_BYTES: Final = 768
"""What librdkafka, its client and we keep beside a record's key and value: some 545 and up to 200 bytes measured."""


class Producer(Protocol):
    """What the publisher uses of :class:`alphapulse.kafka.NativeProducer`; it keeps the order of each key."""

    def send(self, topic: str, value: bytes, *, key: bytes, told: Told) -> bool:
        """Take a record; False: there is no room for it."""

    def poll(self) -> None:
        """Tell of what has been acknowledged or refused since the last time."""


class _Share:
    """Records of one topic that were published in one turn of the event loop.

    Attributes:
        first: how many records were taken before the first of them.
        count, open: how many there are, and how many of them are not acknowledged.
        bytes: their size.
        seconds: the longest time that one of them took to be acknowledged.
        whole: whether the turn is over, so that no more come.
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
        """Take note of one record's fate (called by the producer)."""
        if error is not None:
            self._publisher.refused(self, error)
            return
        self.open -= 1
        self.seconds = max(self.seconds, seconds)
        if self.whole and not self.open:
            self._publisher.settled(self)


class Publisher:
    """Publishes the records of one collector.

    Args:
        producer: started; it never gives up a record.
        codec: encodes.
        settings: the bounds.
        venue: labels the metrics.

    Attributes:
        taken, acknowledged, published: records taken and acknowledged so far, and the latter by topic.
        in_flight, in_flight_bytes: records taken and not known to be acknowledged yet, and the memory that they take.
        patience: seconds at a bound after which the venue is better left alone.
    """

    def __init__(self, producer: Producer, codec: Codec, settings: PublisherSettings, venue: str) -> None:
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
        """Take ``record``. Never waits: :meth:`room` does, between frames.

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
        try:
            taken = self._producer.send(topic, value, key=key, told=share.told)
        except Exception as error:  # noqa: BLE001 whatever it was: the record is not on the broker
            self.refused(share, error)
        else:
            if not taken:
                self.refused(share, BufferError("the client has no room"))

    def look(self) -> None:
        """Look for acknowledgements."""
        self._producer.poll()
        self._in_flight_gauge.set(self.in_flight)
        self._in_flight_bytes_gauge.set(self.in_flight_bytes)
        self._look_again()

    def settled(self, share: _Share) -> None:
        """Take note that all records of ``share`` are acknowledged."""
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
        """Wait while as many records or bytes are in flight as may be.

        Raises:
            BrokerError: a record was refused.
        """
        while not self._room.is_set():
            await self._awaited(self._room)
        self._check()

    @property
    def full(self) -> bool:
        """Whether :meth:`room` would wait."""
        return not self._room.is_set() or self._failure is not None

    def confirmed(self) -> int:
        """Return n: the first n records taken are all acknowledged."""
        if not self._filling and self._failure is None:
            self.look()
        shares = (*self._filling.values(), *self._open)
        return min((share.first for share in shares), default=self.taken)

    async def flush(self) -> None:
        """Wait until everything taken is acknowledged.

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
        """Let what the next frames lead to have shares of its own, and see what has been acknowledged meanwhile."""
        for share in self._filling.values():
            share.whole = True
            if share.open:
                self._open[share] = None
            else:
                self.settled(share)
        self._filling.clear()
        self.look()

    def _look_again(self) -> None:
        """Look once more in a while, as long as anything is in flight."""
        if self._looking is None and self.in_flight and self._failure is None:
            delay = WAIT_SECONDS if self._waiting else LOOK_SECONDS
            self._looking = self._loop.call_later(delay, self._look_now)

    def _look_now(self) -> None:
        self._looking = None
        self.look()

    def refused(self, share: _Share, error: Exception) -> None:
        """Fail for good: records of ``share`` are not on the broker."""
        if self._failure is None:
            self._failure = BrokerError(f"{share.open} records to {share.topic} were refused: {error!r}")
            self._failure.__cause__ = error
        self.failed.set()
        self._room.set()
        self._idle.set()
