"""What the processors publish: an ordered, bounded way out to the broker.

Records are put in without waiting, in the order in which they follow from the input; one task sends them. What counts
is the barrier :meth:`Outputs.flush`: once it returns, all that was put in before is acknowledged by the broker, so an
input may be committed, or a checkpoint written, that claims it was published.
"""

from __future__ import annotations

import asyncio
from collections import Counter, deque
from functools import partial

from aiokafka import AIOKafkaProducer
from aiokafka.errors import KafkaError
from aiokafka.structs import RecordMetadata

from alphapulse.errors import BrokerError
from schemas.codec import Codec
from schemas.records import TOPIC_OF, Record, key_of

MAX_WAITING = 5_000
"""Records not yet handed to the client beyond which :meth:`Outputs.ebb` waits."""

FLUSH_SECONDS = 30.0
"""A broker that acknowledges nothing for so long is given up."""


class Outputs:
    """Publishes records; run :meth:`run` beside it.

    Attributes:
        published: records acknowledged, by topic.
        ends: (topic, partition) → one past the newest offset acknowledged.
    """

    def __init__(self, codec: Codec) -> None:
        self._codec = codec
        self._waiting: deque[tuple[str, bytes, bytes, int | None]] = deque()
        self._put = 0
        self._sent = 0
        self._progress = asyncio.Condition()
        self._wake = asyncio.Event()
        self._producer: AIOKafkaProducer | None = None
        self._failure: BaseException | None = None
        self.published: Counter[str] = Counter()
        self.ends: dict[tuple[str, int], int] = {}

    def put(self, record: Record) -> None:
        """Publish ``record`` on its topic.

        Raises:
            RecordRefused: it does not fit its schema.
        """
        self.put_raw(TOPIC_OF[type(record)], key_of(record), self._codec.encode(record))

    def put_raw(self, topic: str, key: bytes, value: bytes, partition: int | None = None) -> None:
        """Publish bytes on ``topic``; without ``partition`` the key chooses it."""
        self._waiting.append((topic, key, value, partition))
        self._put += 1
        self._wake.set()

    async def ebb(self) -> None:
        """Wait until there is room for more.

        Raises:
            BrokerError: a record could not be delivered.
        """
        if len(self._waiting) > MAX_WAITING:
            await self._reached(self._put - MAX_WAITING)
        self._check()

    async def flush(self) -> None:
        """Wait until all that has been put in so far is acknowledged.

        Raises:
            BrokerError: a record could not be delivered, or the broker acknowledges nothing.
        """
        if self._put == 0:
            return
        try:
            async with asyncio.timeout(FLUSH_SECONDS):
                await self._reached(self._put)
                if self._producer is not None:
                    await self._producer.flush()
        except TimeoutError:
            raise BrokerError(f"the broker acknowledged nothing for {FLUSH_SECONDS:g} s") from None
        self._check()

    async def _reached(self, count: int) -> None:
        """Wait until ``count`` records have been handed to the client, or sending failed."""
        async with self._progress:
            await self._progress.wait_for(lambda: self._sent >= count or self._failure is not None)

    def _check(self) -> None:
        if self._failure is not None:
            raise BrokerError(f"cannot publish: {self._failure!r}") from self._failure

    async def run(self, producer: AIOKafkaProducer) -> None:
        """Send what is put in, until cancelled.

        Raises:
            BrokerError: a record could not be delivered; whoever waits gets the same.
        """
        self._producer = producer
        waiting = self._waiting
        while True:
            await self._wake.wait()
            self._wake.clear()
            try:
                while waiting:
                    topic, key, value, partition = waiting.popleft()
                    future = await producer.send(topic, value, key=key, partition=partition)
                    future.add_done_callback(partial(self._settled, topic))
                    self._sent += 1
            except KafkaError as error:
                self._failure = error
            async with self._progress:
                self._progress.notify_all()
            self._check()

    def _settled(self, topic: str, future: asyncio.Future[RecordMetadata]) -> None:
        if future.cancelled():
            return
        if (error := future.exception()) is None:
            self.published[topic] += 1
            told = future.result()
            self.ends[topic, told.partition] = max(told.offset + 1, self.ends.get((topic, told.partition), 0))
        elif self._failure is None:
            self._failure = error
            # Wakes the sender, which tells everybody.
            self._wake.set()
