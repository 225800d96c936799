"""``python -m producers VENUE``: collector of one venue, as a service."""

from __future__ import annotations

import asyncio
import os
import sys
from pathlib import Path
from typing import Final

from aiokafka.errors import KafkaError

from alphapulse import kafka, output, service, topics
from alphapulse.arguments import CommandParser
from alphapulse.config import PREFIX, Settings
from alphapulse.errors import BrokerError
from alphapulse.kafka.services import COLLECTOR
from producers.collector import rules
from producers.collector.collector import Collector
from producers.collector.dedupe import KnownTrades, read_back
from producers.collector.holder import Holder
from producers.collector.publisher import CLIENT_LINGER_MS, Publisher
from producers.collector.record_gate import RecordGate
from producers.collector.reload import Follower
from producers.collector.succession import Succession, desk_of
from producers.registry import load
from schemas.waiting import prepared_codec

FLUSH_SECONDS: Final = 3.0
"""Timeout for the last records; with the client's own time to stop it stays within the service's grace period."""


async def collect(running: service.Service, venue_name: str, folder: Path | None = None) -> None:
    """Collect ``venue_name`` until the service stops, following the configuration in ``folder``.

    Raises:
        SchemaError: the schema registry refuses a schema.
        BrokerError: the broker refuses the connection or records.
    """
    settings: Settings = running.settings
    venue = load(venue_name)
    configured = settings.venues[venue_name]
    codec = await prepared_codec(running)
    await kafka.reachable(running, COLLECTOR)
    client = kafka.native_producer(settings.kafka, client_id=running.name, linger_ms=CLIENT_LINGER_MS, give_up=False)
    async with kafka.running(client, settings.kafka):
        publisher = Publisher(client, codec, settings.publisher, venue.name, running.tracer)
        gate = RecordGate(publisher)
        partitions = await _partitions(client, topics.TRADES)

        async def published() -> KnownTrades:
            symbols = configured.symbols
            return await read_back(
                settings.kafka, settings.publisher, partitions, venue.name, symbols, codec, running.name
            )

        desk = desk_of(venue.name, running.name, await _partitions(client, topics.COLLECTORS_STATE))
        holder = Holder(settings.data_dir, running.name)
        succession = Succession(client, settings.kafka, settings.handover, desk, holder, gate, published, running.log)
        running.grace_seconds = service.GRACE_SECONDS + settings.handover.wait_s
        try:
            await succession.begin(running.stopping)
            if venue.connections_limit is not None:
                running.waiting = succession.told
                await succession.turn(running.stopping)
                running.waiting = ""
            # A process that stands by learns from its predecessor what is published, when its turn has come; until then
            # it would take the trades between this reading and its connection for missing.
            known = await published() if succession.publishes else KnownTrades({})
            collector = Collector(venue, configured, gate, running.name, freshness=settings.freshness, known=known)
            await _collect(running, collector, succession, folder)
            await _flush(publisher)
            await succession.end()
        finally:
            await succession.close()


async def _collect(running: service.Service, collector: Collector, succession: Succession, folder: Path | None) -> None:
    running.report(lambda: {**collector.status(), "succession": succession.status()})

    def connected(state: bool) -> None:
        running.waiting = succession.told
        running.ready = state and not running.waiting

    following = None
    if folder is not None:
        following = collector.spawn(Follower(collector, running.settings, collector.venue).follow(folder))
    leave = asyncio.Event()
    succeeding = collector.spawn(succession.run(collector, running.stopping, leave))
    try:
        await collector.run(leave, connected)
    finally:
        succeeding.cancel()
        if following is not None:
            following.cancel()


async def _flush(publisher: Publisher) -> None:
    try:
        async with asyncio.timeout(FLUSH_SECONDS):
            await publisher.flush()
    except TimeoutError as error:
        left = publisher.in_flight
        raise BrokerError(f"{left} records were not acknowledged within {FLUSH_SECONDS:g} s") from error


async def _partitions(client: kafka.NativeProducer, topic: str) -> set[int]:
    try:
        return await client.partitions_for(topic)
    except KafkaError as error:
        raise BrokerError(f"cannot list the partitions of {topic}: {error}") from error


def main(arguments: list[str]) -> int:
    """Run the collector and return the exit code."""
    parser = CommandParser(prog="collector", description="Collect one venue.")
    parser.add_argument("venue", help="name of the venue: a folder in producers/venues")
    parser.add_argument("--name", help="service name; default: collector-VENUE")
    parser.add_argument("--config", type=Path, help="folder with services.toml and exchanges.toml")
    given = parser.parse_args(arguments)
    named = os.environ.get(f"{PREFIX}CONFIG")
    folder: Path | None = given.config or (Path(named) if named else None)

    async def run(running: service.Service) -> None:
        await collect(running, given.venue, folder)

    def configuration(_: Path | None) -> Settings:
        settings = rules.load(folder, own={given.venue})
        rules.selected(settings, [given.venue], folder)
        return settings

    return service.run(given.name or f"collector-{given.venue}", run, load=configuration)


if __name__ == "__main__":
    output.finish(lambda: main(sys.argv[1:]))
