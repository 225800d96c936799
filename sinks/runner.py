"""Common part of the sink services: clients, metrics, ``POST /flush``."""

from __future__ import annotations

import asyncio
import gc
from collections.abc import Mapping
from functools import partial
from typing import Final

from aiohttp import web
from aiokafka import AIOKafkaConsumer

from alphapulse import metrics, output
from alphapulse.config import ClickHouseSettings, ParquetSettings
from alphapulse.kafka import consumer, producer, running
from alphapulse.service import Service
from schemas.definitions import definitions
from schemas.refusal_sender import RefusalSender
from schemas.waiting import prepared_codec
from sinks.columns import batch
from sinks.consumer import SinkConsumer
from sinks.contract import SinkTarget
from sinks.decoder import RecordDecoder

FLUSH_SECONDS: Final = 60.0

FETCH_MIN_BYTES: Final = 256 * 1024
"""The broker answers a fetch at this size, or after :func:`fetch_wait_ms`. A fetch over the partitions of all topics
costs about 2 ms however little it brings; each further record costs some microseconds."""
FETCH_WAIT_MS: Final = 500

_GARBAGE_THRESHOLDS: Final = (200_000, 20, 20)
"""Decoded records must not trigger the cycle collector; they have no cycles and are freed by reference counts."""


def tame_collector() -> None:
    """Run Python's cycle collector rarely, and never on objects from the start-up: it takes half of the time."""
    gc.freeze()
    gc.set_threshold(*_GARBAGE_THRESHOLDS)


def fetch_wait_ms(batch_seconds: float) -> int:
    """Return how long the broker may hold back a small fetch response: half of a batch's interval."""
    return max(min(int(batch_seconds * 500), FETCH_WAIT_MS), 1)


async def consume(service: Service, target: SinkTarget, settings: ClickHouseSettings | ParquetSettings) -> None:
    """Feed an open target with the topics of ``settings`` until the service is asked to stop, then to their ends.

    Raises:
        AlphaPulseError: broker, registry or target cannot be used.
    """
    # The first conversion may import what pyarrow knows: up to a second that would count against the group's session
    # timeout.
    for found in definitions():
        await asyncio.to_thread(batch, found.record, [], 0, [])
    service.reads_certificates_once = False  # aiokafka uses certificates as they are
    codec = await prepared_codec(service)
    kafka = service.settings.kafka
    async with (
        running(producer(kafka, client_id=service.name), kafka) as publisher,
        running(_reader(service, settings), kafka) as source,
    ):
        decoder = RecordDecoder(codec, RefusalSender(service.name, publisher, codec))
        sink = SinkConsumer(source, target, decoder, service.name, tracer=service.tracer, group=settings.group)

        def assigned(owner: bool) -> None:
            service.ready = owner

        async def flush(_: web.Request) -> web.Response:
            try:
                await asyncio.wait_for(sink.flush(), FLUSH_SECONDS)
            except TimeoutError:
                return web.Response(status=504, text=f"not written and committed within {FLUSH_SECONDS:g} s")
            return web.json_response(sink.status())

        for topic in settings.topics:
            metrics.LAG.labels(settings.group, topic).set_function(partial(sink.lag_of, topic))
        metrics.SINK_UNWRITTEN_AGE.set_function(lambda: sink.unwritten_seconds)
        sink.assigned = assigned
        service.report(sink.status)
        service.route("POST", "/flush", flush)
        await sink.run(settings.topics, service.stopping, drain_seconds=settings.drain_seconds)
    if sink.unread:
        text = unread_text(sink.unread)
        service.log.warning(text, unread=dict(sink.unread))
        output.tell(f"{service.name}: {text}")


def _reader(service: Service, settings: ClickHouseSettings | ParquetSettings) -> AIOKafkaConsumer:
    return consumer(
        service.settings.kafka,
        group_id=settings.group,
        client_id=service.name,
        fetch_min_bytes=FETCH_MIN_BYTES,
        fetch_max_wait_ms=fetch_wait_ms(settings.batch_seconds),
    )


def unread_text(unread: Mapping[str, int]) -> str:
    """Return a message on the unread records of a stopping sink, by topic."""
    topics = ", ".join(f"{topic} {count:,}" for topic, count in sorted(unread.items()))
    return f"stopped with {sum(unread.values()):,} records unread: {topics}"
