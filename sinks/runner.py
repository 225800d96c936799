"""What both sinks' services have in common: clients, checks of the topics, figures, ``POST /flush``."""

from __future__ import annotations

import asyncio
import gc
from collections.abc import Sequence
from typing import Final

from aiohttp import web

from alphapulse.errors import ConfigError
from alphapulse.kafka import consumer, producer, running
from alphapulse.service import Service
from alphapulse.topics import DEAD_LETTERS, EVENTS
from schemas.definitions import definitions
from schemas.waiting import prepared_codec
from sinks.columns import batch
from sinks.consumer import SinkConsumer
from sinks.contract import Target
from sinks.refusals import Reader

WRITTEN: Final = (EVENTS, DEAD_LETTERS)
"""The topics that sinks write to."""

FLUSH_SECONDS: Final = 60.0

_GARBAGE_THRESHOLDS: Final = (200_000, 20, 20)
"""A slice of decoded records must not trigger the cycle collector; they have no cycles and die by reference count."""


def tame_collector() -> None:
    """Let Python's cycle collector look rarely, and never at what the start has made: it takes half of the time."""
    gc.freeze()
    gc.set_threshold(*_GARBAGE_THRESHOLDS)


def check_topics(section: str, topics: Sequence[str]) -> None:
    """Refuse topics that hold no records of ours.

    Raises:
        ConfigError: naming each.
    """
    known = {found.topic for found in definitions()}
    faults = [
        f"configuration: key {section}.topics: no such topic: {name!r:.80}" for name in topics if name not in known
    ]
    if not topics:
        faults.append(f"configuration: key {section}.topics: is empty")
    if faults:
        raise ConfigError(faults)


async def consume(service: Service, target: Target, *, group: str, topics: Sequence[str]) -> None:
    """Feed an open target with ``topics`` until the service is asked to stop.

    Raises:
        AlphaPulseError: broker, registry or target cannot be used any more.
    """
    # The first conversion imports pandas, if it is there: a second that would count against the group's session.
    for found in definitions():
        await asyncio.to_thread(batch, found.record, [], 0, [])
    codec = await prepared_codec(service)
    kafka = service.settings.kafka
    async with (
        running(producer(kafka, client_id=service.name), kafka) as publisher,
        running(consumer(kafka, group_id=group, client_id=service.name), kafka) as source,
    ):
        reader = Reader(codec, publisher, service.name)
        sink = SinkConsumer(source, target, reader, service.name)

        def assigned(owner: bool) -> None:
            service.ready = owner

        async def flush(_: web.Request) -> web.Response:
            try:
                await asyncio.wait_for(sink.flush(), FLUSH_SECONDS)
            except TimeoutError:
                return web.Response(status=504, text=f"not written and committed within {FLUSH_SECONDS:g} s")
            return web.json_response(sink.status())

        sink.assigned = assigned
        service.report(sink.status)
        service.route("POST", "/flush", flush)
        await sink.run(topics, service.stopping)
