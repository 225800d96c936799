"""Publisher of the processors: ordered, bounded output to the broker.

Records are queued without waiting, in the order of the input. :meth:`Outputs.flush` is the barrier: once it returns,
the broker has acknowledged everything queued before, so that an input may be committed, or a checkpoint written, that
depends on it.
"""

from __future__ import annotations

import asyncio
from collections import Counter, deque
from typing import Final

from aiokafka.errors import KafkaError

from alphapulse.errors import BrokerError
from alphapulse.kafka import NativeProducer
from alphapulse.kafka.native.producer import Placed
from alphapulse.tracing import Headers
from schemas.codec import Codec
from schemas.records import TOPIC_OF, Record, key_of

MAX_WAITING = 5_000
"""Maximum records in flight before :meth:`Outputs.ebb` waits."""

FLUSH_SECONDS = 30.0
"""Timeout for a broker that acknowledges nothing."""

LOOK_SECONDS: Final = 0.25
"""Interval of checks for acknowledgements without a waiting caller; failures would go unnoticed otherwise."""
EBB_SECONDS: Final = 0.001


class Outputs:
    """Publishes records; run :meth:`run` concurrently.

    Attributes:
        published: records acknowledged, by topic.
        ends: (topic, partition) → one past the newest offset acknowledged.
    """

    def __init__(self, codec: Codec) -> None:
        self._codec = codec
        # Queue while there is no producer yet, and while it has no room.
        self._waiting: deque[tuple[str, bytes, bytes, int | None, Headers | None, Placed | None]] = deque()
        self._producer: NativeProducer | None = None
        self._failure: BaseException | None = None
        self.published: Counter[str] = Counter()
        self.ends: dict[tuple[str, int], int] = {}

    def put(self, record: Record, headers: Headers | None = None, placed: Placed | None = None) -> None:
        """Publish ``record`` on its topic, with ``headers``; ``placed`` is called with its place or its failure.

        Raises:
            RecordRefused: it does not fit its schema.
        """
        self._waiting.append(
            (TOPIC_OF[type(record)], key_of(record), self._codec.encode(record), None, headers, placed)
        )
        self._send()

    def put_raw(self, topic: str, key: bytes, value: bytes, partition: int | None = None) -> None:
        """Publish bytes on ``topic``; without ``partition`` the key chooses it."""
        self._waiting.append((topic, key, value, partition, None, None))
        self._send()

    @property
    def unacknowledged(self) -> int:
        """Records queued and not acknowledged, as of the last check."""
        return len(self._waiting) + (len(self._producer) if self._producer is not None else 0)

    async def ebb(self) -> None:
        """Wait until there is room.

        Raises:
            BrokerError: a record could not be delivered.
        """
        while self._failure is None and self.unacknowledged > MAX_WAITING:
            self._look()
            if self.unacknowledged > MAX_WAITING:
                await asyncio.sleep(EBB_SECONDS)
        self._check()

    async def flush(self) -> None:
        """Wait until everything queued so far is acknowledged.

        Raises:
            BrokerError: a record could not be delivered, or the broker acknowledges nothing.
        """
        try:
            async with asyncio.timeout(FLUSH_SECONDS):
                while self._waiting and self._failure is None:
                    self._look()
                    if self._waiting:
                        await asyncio.sleep(EBB_SECONDS)
                if self._producer is not None and self._failure is None:
                    await self._producer.flush()
        except TimeoutError:
            raise BrokerError(f"the broker acknowledged nothing for {FLUSH_SECONDS:g} s") from None
        self._check()

    async def run(self, producer: NativeProducer) -> None:
        """Publish queued records through ``producer``, until cancelled.

        Raises:
            BrokerError: a record could not be delivered; waiting callers get the same error.
        """
        producer.delivered = self._settled
        self._producer = producer
        while self._failure is None:
            self._look()
            await asyncio.sleep(LOOK_SECONDS)
        self._check()

    def _check(self) -> None:
        if self._failure is not None:
            raise BrokerError(f"cannot publish: {self._failure!r}") from self._failure

    def _look(self) -> None:
        """Check for acknowledgements, and send records that have room now."""
        if self._producer is not None:
            self._producer.poll()
            self._send()

    def _send(self) -> None:
        producer, waiting = self._producer, self._waiting
        if producer is None or self._failure is not None:
            return
        try:
            while waiting:
                topic, key, value, partition, headers, placed = waiting[0]
                if not producer.send(topic, value, key=key, partition=partition, headers=headers, placed=placed):
                    return
                waiting.popleft()
        except KafkaError as error:
            self._failure = error

    def _settled(self, topic: str, partition: int, offset: int, error: KafkaError | None) -> None:
        if error is None:
            self.published[topic] += 1
            self.ends[topic, partition] = max(offset + 1, self.ends.get((topic, partition), 0))
        elif self._failure is None:
            self._failure = error
