"""The embedded stack: which processes it has and how they are told of one another."""

from __future__ import annotations

import fcntl
import os
from pathlib import Path
from typing import IO, Any

from alphapulse import topics
from alphapulse.config import Settings, VenueSettings
from alphapulse.embedded.broker import client_settings
from alphapulse.errors import ServiceError
from alphapulse.kafka.lag import LagReader
from alphapulse.supervisor import ChildSpec, Supervisor

BROKER = "broker"
PROCESSORS = "processors"
CLICKHOUSE = "sink-clickhouse"
PARQUET = "sink-parquet"
GATEWAY = "gateway"

MODULES: dict[str, tuple[str, ...]] = {
    PROCESSORS: ("stream_processors",),
    CLICKHOUSE: ("sinks", "clickhouse"),
    PARQUET: ("sinks", "parquet"),
    GATEWAY: ("gateway",),
}


def claim(data_dir: Path) -> IO[str]:
    """Make ``data_dir`` ours until the returned file is closed.

    Raises:
        ServiceError: it cannot be written, or a running stack holds it.
    """
    try:
        data_dir.mkdir(parents=True, exist_ok=True)
        lock = (data_dir / ".lock").open("a+")
    except OSError as error:
        raise ServiceError(f"data directory {data_dir} is not writable: {error.strerror or error}") from error
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        lock.seek(0)
        holder = lock.read().strip() or "another process"
        lock.close()
        raise ServiceError(f"data directory {data_dir} is in use by {holder}") from error
    lock.truncate(0)
    lock.write(f"process {os.getpid()}")
    lock.flush()
    return lock


class Stack:
    """Starts the parts of an embedded stack under a supervisor.

    ``settings`` is what every part gets; the broker's address is added once it is known.
    """

    def __init__(self, supervisor: Supervisor, settings: Settings) -> None:
        self.supervisor = supervisor
        self.settings = settings

    async def start_broker(self) -> None:
        """Start the in-memory broker and wait for its address."""
        spec = ChildSpec(BROKER, "alphapulse.embedded.broker", self.settings, restart=False)
        await self.supervisor.start(spec)
        # The ops port is announced first, the address when the broker has its topics.
        told = await self.supervisor.announcement(BROKER, "bootstrap", "incarnation")
        kafka = client_settings(self.settings.kafka, bootstrap=told["bootstrap"], incarnation=told["incarnation"])
        self.settings = self.settings.model_copy(update={"kafka": kafka})

    async def start_services(self, *names: str) -> None:
        """Start the services named (keys of :data:`MODULES`) without waiting until they are ready."""
        for name in names:
            module, *arguments = MODULES[name]
            await self.supervisor.start(ChildSpec(name, module, self.settings, tuple(arguments)))

    async def start_collector(self, name: str, venue: str, feed: VenueSettings) -> None:
        """Start a collector as service ``name`` for the feed given."""
        settings = self.settings.model_copy(update={"venues": {venue: feed}})
        await self.supervisor.start(ChildSpec(name, "producers", settings, (venue, "--name", name)))

    def lag_reader(self) -> LagReader:
        """Return a reader of how far processors and sinks are behind (a context manager)."""
        settings = self.settings
        groups = {
            settings.processors.group: (topics.L2, topics.TRADES, topics.DEPTH),
            settings.clickhouse.group: settings.clickhouse.topics,
            settings.parquet.group: settings.parquet.topics,
        }
        return LagReader(settings.kafka, groups)

    async def status(self, name: str) -> dict[str, Any]:
        """Return a service's ``/status``, empty while it does not answer."""
        status: dict[str, Any] = await self.supervisor.ask(name, "GET", "/status", default={})
        return status
