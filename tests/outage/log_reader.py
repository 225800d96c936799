"""Reads along what is published, and notes when each record came."""

from __future__ import annotations

import asyncio
import time
from collections import defaultdict
from typing import Self

from aiokafka import AIOKafkaConsumer, TopicPartition

from alphapulse import kafka, topics
from alphapulse.config import KafkaSettings
from tests.fixtures.background import Background

WATCHED = (topics.L2, topics.TRADES, topics.EVENTS)


class LogReader(Background):
    """An async context manager that reads from the log's beginning.

    It goes on by itself when the broker comes back, as every consumer of ours must.

    Attributes:
        arrived: by topic and key: (time of arrival, ns since the epoch; record as bytes), in order.
    """

    def __init__(self, settings: KafkaSettings) -> None:
        super().__init__()
        self.arrived: defaultdict[tuple[str, str], list[tuple[int, bytes]]] = defaultdict(list)
        self._settings = settings
        self._started = asyncio.Event()

    async def __aenter__(self) -> Self:
        await super().__aenter__()
        assert self._work is not None
        started = asyncio.create_task(self._started.wait())
        await asyncio.wait({self._work, started}, return_when=asyncio.FIRST_COMPLETED)
        started.cancel()
        self.check()
        return self

    async def _run(self) -> None:
        consumer: AIOKafkaConsumer = kafka.consumer(self._settings, group_id=None, client_id="outage-reader")
        async with kafka.running(consumer, self._settings):
            consumer.assign([TopicPartition(topic, n) for topic in WATCHED for n in range(topics.PARTITIONS)])
            await consumer.seek_to_beginning()
            self._started.set()
            while True:
                batches = await consumer.getmany(timeout_ms=100)
                now = time.time_ns()
                for partition, messages in batches.items():
                    for message in messages:
                        self.arrived[partition.topic, message.key.decode()].append((now, message.value))
