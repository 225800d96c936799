"""The gateway's life: everything put together, begun in order, ended in order."""

from __future__ import annotations

import asyncio
import time
from contextlib import AsyncExitStack
from typing import Final

from alphapulse.config import Settings
from alphapulse.instruments import is_pattern
from alphapulse.kafka import native_consumer, producer, running
from alphapulse.service import Service
from gateway.answers import ServiceHealth
from gateway.app import create_app
from gateway.consumer import TAIL, Reader, partitions_of
from gateway.fanout import Hub
from gateway.health import HealthMonitor
from gateway.refusals import Refusals
from gateway.server import GatewayServer, listen, url
from gateway.state import MarketState
from schemas.codec import Codec
from schemas.remote import registry

NAME: Final = "gateway"
CHECK_SECONDS: Final = 1.0
GOODBYE_SECONDS: Final = 2.0
"""How long clients have to answer the close frame before the server cuts them off."""


async def main(service: Service) -> None:
    """Serve until the service is asked to stop.

    Raises:
        ServiceError: the address cannot be used.
        SchemaError: the schema registry cannot be reached.
        BrokerError: the broker cannot be reached, or a topic is missing.
    """
    settings = service.settings
    async with AsyncExitStack() as stack:
        # The address first: it is the likeliest thing to be wrong and the quickest to be told.
        listening = stack.enter_context(listen(settings.gateway))
        address = url(listening)
        codec = Codec(registry(settings.registry))
        await asyncio.to_thread(codec.prepare)
        state = MarketState(_expected(settings))
        hub = Hub(state, queue_bytes=settings.gateway.queue_bytes)
        sender = await stack.enter_async_context(running(producer(settings.kafka, client_id=NAME), settings.kafka))
        records = await stack.enter_async_context(
            running(native_consumer(settings.kafka, group_id=None, client_id=NAME, coalesce_ms=2.0), settings.kafka)
        )
        reader = Reader(records, codec, hub, Refusals(service.name, sender, codec, time.time_ns))
        await reader.begin(await partitions_of(settings.kafka, TAIL.keys()))

        def own_health() -> tuple[ServiceHealth, int]:
            if service.ready:
                return ServiceHealth(status="ok"), reader.lag
            return ServiceHealth(status="degraded", message="reads what was on the topics at its start"), reader.lag

        health = HealthMonitor(settings, service.name, own_health)
        stack.push_async_callback(health.close)
        service.report(
            lambda: {
                "url": address,
                "clients": len(hub.sessions),
                "subscriptions": sum(session.subscriptions for session in hub.sessions),
                "lag": reader.lag,
            }
        )
        server = GatewayServer(create_app(settings.gateway, state, hub, health))
        serving = asyncio.create_task(server.serve(sockets=[listening]))
        service.announce(url=address, port=listening.getsockname()[1])
        service.log.info("serving", url=address)
        try:
            await _work(service, reader, hub, serving)
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


async def _work(service: Service, reader: Reader, hub: Hub, serving: asyncio.Task[None]) -> None:
    """Read records until the service is asked to stop; end early if the server or the reader fails."""
    checking = asyncio.create_task(_check(hub))
    reading = asyncio.create_task(_read(service, reader))
    await asyncio.wait({reading, checking, serving}, return_when=asyncio.FIRST_COMPLETED)
    service.stopping.set()
    checking.cancel()
    # The reader ends by itself, after what it has begun: a dead letter is not left half sent.
    for outcome in await asyncio.gather(reading, checking, return_exceptions=True):
        if isinstance(outcome, Exception):
            raise outcome


async def _read(service: Service, reader: Reader) -> None:
    while not service.stopping.is_set():
        await reader.step()
        if not service.ready and reader.caught_up:
            service.ready = True


async def _check(hub: Hub) -> None:
    while True:
        await asyncio.sleep(CHECK_SECONDS)
        hub.check(time.time_ns())
