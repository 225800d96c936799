"""Gateway service: creates all parts, starts and stops them in order."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine, Iterable
from contextlib import AsyncExitStack
from functools import partial
from pathlib import Path
from typing import Any, Final, Protocol

from alphapulse import metrics, topics
from alphapulse.clock import Clock
from alphapulse.config import Settings, folder_of
from alphapulse.instruments import is_pattern
from alphapulse.kafka import native_consumer, producer, reachable, running
from alphapulse.kafka import services as kafka_services
from alphapulse.service import Service
from gateway.access.background import GateKeeper
from gateway.access.events import publishing
from gateway.app import create_app
from gateway.consumer import TAIL, Reader, partitions_of
from gateway.event_sender import EventSender
from gateway.fanout import Hub
from gateway.health.hops import Hops
from gateway.health.incidents import Incidents
from gateway.health.monitor import HealthMonitor, ReadingProgress
from gateway.rest.symbol_editor import SymbolEditor
from gateway.server import GatewayServer, listen, url
from gateway.state import MarketState
from gateway.tables import tables_of
from gateway.v2.l2_reader import L2Reader
from gateway.v2.service_poll import ServicePoll
from gateway.v2.streams import Streams
from schemas.refusal_sender import RefusalSender
from schemas.waiting import prepared_codec

NAME: Final = "gateway"
CHECK_SECONDS: Final = 1.0
UNWATCHED_GATHER_MS: Final = 50.0
"""Minimum time between two handovers of records while no client is connected: what REST answers is that much older."""
GOODBYE_SECONDS: Final = 2.0
"""Time for clients to answer the close frame before the server closes the connection."""


async def main(service: Service, folder: Path | None = None) -> None:
    """Serve until the service is asked to stop.

    Args:
        service: this one.
        folder: of its configuration files, which REST may change; None: ``$ALPHAPULSE_CONFIG``, else none.

    Raises:
        ServiceError: the address cannot be used.
        SchemaError: the schema registry refuses a schema.
        BrokerError: the broker refuses access.
    """
    settings = service.settings
    async with AsyncExitStack() as stack:
        # The address first: the most likely error, and the fastest to report.
        listening = stack.enter_context(listen(settings.gateway))
        address = url(listening)
        codec = await prepared_codec(service)
        await reachable(service, kafka_services.gateway(settings))
        clock = Clock()
        state = MarketState(_expected(settings), max_book_age=settings.freshness.max_book_age_ms * 1_000_000)
        own = settings.gateway
        spread = (round(own.reconnect_least_s * 1000), round(own.reconnect_most_s * 1000))
        hub = Hub(state, queue_bytes=own.queue_bytes, clock=clock, reconnect_ms=spread)
        streams = Streams(hub, state, codec)
        sender = await stack.enter_async_context(running(producer(settings.kafka, client_id=NAME), settings.kafka))
        records = await stack.enter_async_context(
            running(
                native_consumer(settings.kafka, group_id=None, client_id=NAME, coalesce_ms=settings.gateway.gather_ms),
                settings.kafka,
            )
        )
        events = EventSender(sender, codec)
        refusals = RefusalSender(service.name, sender, codec, clock)
        hops, incidents = Hops(), Incidents()
        reader = Reader(records, codec, hub, refusals, service.tracer, hops=hops, incidents=incidents)
        audit = await stack.enter_async_context(publishing(events))
        keeper = GateKeeper(settings, service.name, clock, audit.publish)
        await reader.begin(await partitions_of(settings.kafka, TAIL.keys()))
        for topic in TAIL:
            metrics.LAG.labels(NAME, topic).set_function(partial(reader.lag_of, topic))
        health = HealthMonitor(
            settings, service.name, state, hub, lambda: ReadingProgress(reader.positions, reader.ends())
        )
        health.hops, health.incidents = hops, incidents
        stack.push_async_callback(health.close)
        service.report(
            lambda: {
                "url": address,
                "clients": len(hub.sessions),
                "subscriptions": sum(session.subscriptions for session in hub.sessions),
                "lag": reader.lag,
            }
        )
        tables = tables_of(settings)
        stack.push_async_callback(tables.close)
        editor = SymbolEditor(folder_of(folder), events.publish, clock, service=service.name)
        l2 = L2Reader(settings.kafka, codec, streams.l2, hub.clock, client_id=NAME, gather_ms=own.gather_ms)
        metrics.LAG.labels(NAME, topics.L2).set_function(lambda: l2.lag)
        services = ServicePoll(streams, health)
        server = GatewayServer(
            create_app(settings, state, hub, health, tables, editor, gate=keeper.gate, streams=streams)
        )
        serving = asyncio.create_task(server.serve(sockets=[listening]))
        service.announce(url=address, port=listening.getsockname()[1])
        service.log.info("serving", url=address)
        try:
            background = (health.watch(), keeper.watch(), l2.run(), services.run())
            await _work(service, PacedReader(reader, records, hub, settings.gateway.gather_ms), background, serving)
        finally:
            hub.shut_down()
            await hub.emptied(GOODBYE_SECONDS)
            await server.stop(serving)


def _expected(settings: Settings) -> dict[str, tuple[str, ...]]:
    return {
        name: tuple(symbol for symbol in venue.symbols if not is_pattern(symbol))
        for name, venue in settings.venues.items()
        if venue.enabled
    }


class Steps(Protocol):
    """Interface of :class:`gateway.consumer.Reader`."""

    async def step(self) -> int:
        """Read what there is, and return the number of records."""
        ...


class Gathering(Protocol):
    """Interface of :class:`alphapulse.kafka.NativeConsumer`."""

    def coalesce(self, milliseconds: float) -> None:
        """Set the minimum time between two handovers of records."""
        ...


class PacedReader:
    """The reader of the topics, with more records to a step while no client waits for them.

    Args:
        reader: of the topics.
        consumer: the reader's.
        hub: has the clients.
        gather_ms: minimum time between two handovers of records while there are any.
    """

    def __init__(self, reader: Steps, consumer: Gathering, hub: Hub, gather_ms: float) -> None:
        self._reader = reader
        self._consumer = consumer
        self._gather_ms = gather_ms
        self.hub = hub

    async def step(self) -> None:
        """Read what there is."""
        await self._reader.step()
        unwatched = self.hub.live and not self.hub.sessions
        self._consumer.coalesce(max(self._gather_ms, UNWATCHED_GATHER_MS) if unwatched else self._gather_ms)


async def _work(
    service: Service,
    reader: PacedReader,
    background: Iterable[Coroutine[Any, Any, None]],
    serving: asyncio.Task[None],
) -> None:
    """Read records until the service is asked to stop; end early if the server, the reader or a task fails."""
    tasks = [asyncio.create_task(each) for each in (_check(reader.hub), *background)]
    reading = asyncio.create_task(_read(service, reader))
    await asyncio.wait({reading, *tasks, serving}, return_when=asyncio.FIRST_COMPLETED)
    service.stopping.set()
    for task in tasks:
        task.cancel()
    # The reader ends by itself after its current step, so that no dead letter is half sent.
    for outcome in await asyncio.gather(reading, *tasks, return_exceptions=True):
        if isinstance(outcome, Exception):
            raise outcome


async def _read(service: Service, reader: PacedReader) -> None:
    while not service.stopping.is_set():
        await reader.step()
        if reader.hub.live and not service.ready:
            service.ready = True
            service.log.info("live")


async def _check(hub: Hub) -> None:
    while True:
        await asyncio.sleep(CHECK_SECONDS)
        hub.check()
