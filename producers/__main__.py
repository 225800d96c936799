"""``python -m producers VENUE``: collector of one venue, as a service."""

from __future__ import annotations

import argparse
import asyncio
import os
import sys
from pathlib import Path
from typing import Final

from aiokafka.errors import KafkaError

from alphapulse import kafka, output, service, topics
from alphapulse.config import PREFIX, Settings
from alphapulse.errors import BrokerError
from alphapulse.kafka.services import COLLECTOR
from producers.collector import rules
from producers.collector.collector import Collector
from producers.collector.dedupe import read_back
from producers.collector.publisher import CLIENT_LINGER_MS, Publisher
from producers.collector.reload import Follower
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
        partitions = await _partitions(client)
        published = await read_back(
            settings.kafka, settings.publisher, partitions, venue.name, configured.symbols, codec, running.name
        )
        collector = Collector(venue, configured, publisher, running.name, freshness=settings.freshness, known=published)
        running.report(collector.status)

        def connected(state: bool) -> None:
            running.ready = state

        following = None
        if folder is not None:
            following = collector.spawn(Follower(collector, settings, venue_name).follow(folder))
        try:
            await collector.run(running.stopping, connected)
        finally:
            if following is not None:
                following.cancel()
        try:
            async with asyncio.timeout(FLUSH_SECONDS):
                await publisher.flush()
        except TimeoutError as error:
            left = publisher.in_flight
            raise BrokerError(f"{left} records were not acknowledged within {FLUSH_SECONDS:g} s") from error


async def _partitions(client: kafka.NativeProducer) -> set[int]:
    try:
        return await client.partitions_for(topics.TRADES)
    except KafkaError as error:
        raise BrokerError(f"cannot list the partitions of {topics.TRADES}: {error}") from error


def main(arguments: list[str]) -> int:
    """Run the collector and return the exit code."""
    parser = argparse.ArgumentParser(prog="collector", description="Collect one venue.")
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
