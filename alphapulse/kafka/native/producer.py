"""Producer on librdkafka for an event loop: send without waiting, flush as a barrier.

librdkafka batches, compresses and sends in its own threads. Acknowledgements are queued until polled, and matter only
at a barrier: so no thread wakes the loop for each of them; the loop polls while a caller waits. All callbacks run in
the loop.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from functools import partial
from typing import Any, Final, Protocol

from aiokafka.errors import KafkaError, KafkaTimeoutError, ProducerClosed
from confluent_kafka import KafkaError as Fault
from confluent_kafka import KafkaException, Producer

from alphapulse.kafka.native.configuration import LOGGER
from alphapulse.kafka.native.connecting import Reach, connect, made
from alphapulse.kafka.native.errors import fault_of, translate

FIRST_LOOK_SECONDS: Final = 0.001
LAST_LOOK_SECONDS: Final = 0.016
"""Poll intervals for acknowledgements: they double from the first to the last."""
STOP_SECONDS: Final = 10.0
"""Time for the last records to be acknowledged at the end."""
ANY_PARTITION: Final = -1
"""librdkafka's number for: chosen by the key."""

Settle = Callable[["Fault | None", Any], None]
"""librdkafka's callback for a record."""


class Delivered(Protocol):
    """Callback for each record, in the order of the acknowledgements."""

    def __call__(self, topic: str, partition: int, offset: int, error: KafkaError | None) -> None:
        """The record is at ``offset`` of the partition, or could not be delivered because of ``error``."""


Told = Callable[[KafkaError | None, float], None]
"""Callback for one record: the error, if any, and the seconds from its sending to the poll that found its result."""

Placed = Callable[[KafkaError | None, int, int, float], None]
"""The same with the record's partition and offset before the seconds."""


class NativeProducer:
    """Kafka producer on librdkafka; see the module's documentation.

    Args:
        properties: for librdkafka, from :func:`alphapulse.kafka.native.configuration.producer`.
        request_timeout_ms: timeout for the connection at start.

    Attributes:
        delivered: called for each acknowledgement when the loop polls.
    """

    def __init__(self, properties: dict[str, Any], *, request_timeout_ms: int) -> None:
        self._properties = properties
        self._timeout = request_timeout_ms / 1000
        self._producer: Producer | None = None
        self._closed = False
        self._window = _Window(self)
        self._windows: deque[_Window] = deque([self._window])
        self.delivered: Delivered = _forget

    async def start(self) -> None:
        """Connect.

        Raises:
            KafkaError: no broker can be reached, or the settings are refused.
        """
        reach = Reach()
        try:
            producer = self._producer = await made(Producer, self._properties | {"error_cb": reach}, LOGGER)
        except KafkaException as error:
            raise translate(fault_of(error)) from error

        async def attempt(seconds: float) -> None:
            try:
                await asyncio.to_thread(producer.list_topics, timeout=seconds)
            finally:
                producer.poll(0)

        await connect(attempt, reach, self._properties["bootstrap.servers"], self._timeout)

    async def stop(self) -> None:
        """Deliver the remaining records.

        Raises:
            KafkaTimeoutError: not everything was acknowledged within ``STOP_SECONDS``.
        """
        if self._closed:
            return
        self._closed = True
        producer = self._producer
        if producer is None:
            return
        try:
            async with asyncio.timeout(STOP_SECONDS):
                await self._delivered(self._windows[-1])
        except TimeoutError:
            left = len(self)
            raise KafkaTimeoutError(f"{left} records were not acknowledged within {STOP_SECONDS:g} s") from None
        finally:
            self._producer = None
            # Nothing is left, or it was given up: closing would wait for it.
            producer.purge()
            producer.poll(0)
            producer.close()

    def __len__(self) -> int:
        """Return the number of records not acknowledged as of the last poll."""
        return sum(window.open for window in self._windows)

    async def partitions_for(self, topic: str) -> set[int]:
        """Return the partitions of ``topic``.

        Raises:
            KafkaError: the broker does not return them.
        """
        if self._producer is None:
            raise ProducerClosed
        try:
            found = (await asyncio.to_thread(self._producer.list_topics, topic, self._timeout)).topics[topic]
        except KafkaException as error:
            raise translate(fault_of(error)) from error
        if found.error is not None:
            raise translate(found.error)
        return set(found.partitions)

    def send(
        self,
        topic: str,
        value: bytes,
        *,
        key: bytes | None = None,
        partition: int | None = None,
        told: Told | None = None,
        headers: Sequence[tuple[str, bytes]] | None = None,
        placed: Placed | None = None,
    ) -> bool:
        """Queue a record; return False if librdkafka has no room.

        Args:
            topic, value, key: of the record.
            partition: None: chosen by the key, as Kafka's Java client does.
            told: called with this record's result instead of ``delivered``.
            headers: of the record; None: none.
            placed: called with this record's place and result, too.

        Raises:
            MessageSizeTooLargeError: the record exceeds the broker's limit.
            ProducerClosed: the producer was not started, or is stopped.
        """
        if self._producer is None or self._closed:
            raise ProducerClosed
        window = self._window
        settle = window.settle if told is None else partial(window.settle_one, told)
        if placed is not None:
            settle = partial(_settle_placed, placed, settle)
        try:
            if headers is not None:
                where = ANY_PARTITION if partition is None else partition
                self._producer.produce(
                    topic, value=value, key=key, partition=where, headers=list(headers), on_delivery=settle
                )
            elif partition is None:
                self._producer.produce(topic, value=value, key=key, on_delivery=settle)
            else:
                self._producer.produce(topic, value=value, key=key, partition=partition, on_delivery=settle)
        except BufferError:
            return False
        except KafkaException as error:
            raise translate(fault_of(error)) from error
        window.open += 1
        return True

    def send_batch(self, topic: str, records: Iterable[tuple[bytes, bytes, Told]]) -> None:
        """Queue records of one topic, each with its key, value and callback; half the cost of as many sends.

        A record that is not accepted is reported to its callback at once; those after it are queued all the same.

        Raises:
            ProducerClosed: the producer was not started, or is stopped.
        """
        if self._producer is None or self._closed:
            raise ProducerClosed
        window = self._window
        settle_one = window.settle_one
        batch: list[dict[str, Any]] = [
            {"key": key, "value": value, "callback": partial(settle_one, told)} for key, value, told in records
        ]
        queued = self._producer.produce_batch(topic, batch)
        window.open += len(batch)
        if queued < len(batch):
            for message in batch:
                if (fault := message.get("_error")) is not None:
                    window.refuse(message["callback"].args[0], fault)

    def poll(self) -> None:
        """Poll for acknowledgements."""
        if self._producer is not None:
            self._producer.poll(0)

    async def flush(self) -> None:
        """Wait until all records sent before are acknowledged, or have failed; see ``delivered``."""
        window = self._window
        if window.open or len(self._windows) > 1:  # records sent from now on are not waited for
            self._window = _Window(self)
            self._windows.append(self._window)
        await self._delivered(window)

    async def _delivered(self, window: _Window) -> None:
        pause = FIRST_LOOK_SECONDS
        while True:
            self.poll()
            while len(self._windows) > 1 and not self._windows[0].open:
                self._windows.popleft()
            if not any(one.open for one in self._up_to(window)):
                return
            await asyncio.sleep(pause)
            pause = min(pause * 2, LAST_LOOK_SECONDS)

    def _up_to(self, window: _Window) -> list[_Window]:
        found: list[_Window] = []
        for one in self._windows:
            found.append(one)
            if one is window:
                return found
        return []  # delivered and removed


class _Window:
    """Records sent between two barriers.

    Attributes:
        open: number of records not acknowledged.
    """

    __slots__ = ("_producer", "open")

    def __init__(self, producer: NativeProducer) -> None:
        self._producer = producer
        self.open = 0

    def settle(self, fault: Fault | None, message: Any) -> None:
        """Count an acknowledgement or a failure (called by librdkafka within a poll)."""
        self.open -= 1
        error = None if fault is None else translate(fault)
        self._producer.delivered(message.topic(), message.partition(), message.offset(), error)

    def settle_one(self, told: Told, fault: Fault | None, message: Any) -> None:
        """Report an acknowledgement or a failure to ``told`` (called by librdkafka within a poll)."""
        self.open -= 1
        told(None if fault is None else translate(fault), message.latency() or 0.0)

    def refuse(self, told: Told, fault: Fault) -> None:
        """Report to ``told`` that its record was not queued."""
        self.open -= 1
        told(translate(fault), 0.0)


def _settle_placed(placed: Placed, settle: Settle, fault: Fault | None, message: Any) -> None:
    """Report a result to ``placed``, then as without it (called by librdkafka within a poll)."""
    error = None if fault is None else translate(fault)
    placed(error, message.partition(), message.offset(), message.latency() or 0.0)
    settle(fault, message)


def _forget(topic: str, partition: int, offset: int, error: KafkaError | None) -> None:
    """Ignore the result."""
