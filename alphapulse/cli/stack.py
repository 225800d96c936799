"""The embedded stack: which processes it has and how they are told of one another."""

from __future__ import annotations

from typing import Any, Final, Literal

from alphapulse import topics
from alphapulse.config import Settings, VenueSettings
from alphapulse.embedded import broker, kafka_cluster
from alphapulse.kafka.lag import LagReader
from alphapulse.supervisor import ChildSpec, Supervisor

BROKER_SECONDS = 60.0
"""How long the broker may take to start; a real one needs some five seconds, more on a busy machine."""

BROKER = "broker"
PROCESSORS = "processors"
CLICKHOUSE = "sink-clickhouse"
PARQUET = "sink-parquet"
GATEWAY = "gateway"

BrokerKind = Literal["embedded", "kafka"]

BROKER_MODULES: Final[dict[BrokerKind, str]] = {
    "embedded": "alphapulse.embedded.broker",
    "kafka": "alphapulse.embedded.kafka_broker",
}

MODULES: dict[str, tuple[str, ...]] = {
    PROCESSORS: ("stream_processors",),
    CLICKHOUSE: ("sinks", "clickhouse"),
    PARQUET: ("sinks", "parquet"),
    GATEWAY: ("gateway",),
}


class Stack:
    """Starts the parts of an embedded stack under a supervisor.

    ``settings`` is what every part gets; the broker's address is added once it is known.
    """

    def __init__(self, supervisor: Supervisor, settings: Settings) -> None:
        self.supervisor = supervisor
        self.settings = settings

    async def start_broker(self, kind: BrokerKind = "embedded") -> None:
        """Start the broker and wait for its address.

        A real one that dies comes back at the same address with the same log, so it is started again; the log of an
        in-memory one is gone.
        """
        spec = ChildSpec(BROKER, BROKER_MODULES[kind], self.settings, restart=kind == "kafka")
        await self.supervisor.start(spec)
        # The ops port is announced first, the address when the broker has its topics.
        told = await self.supervisor.announcement(BROKER, "bootstrap", "incarnation", timeout=BROKER_SECONDS)
        settings_for = kafka_cluster.client_settings if kind == "kafka" else broker.client_settings
        kafka = settings_for(self.settings.kafka, bootstrap=told["bootstrap"], incarnation=told["incarnation"])
        self.settings = self.settings.model_copy(update={"kafka": kafka})

    async def start_services(self, *names: str) -> None:
        """Start the services named (keys of :data:`MODULES`) without waiting until they are ready."""
        for name in names:
            module, *arguments = MODULES[name]
            await self.supervisor.start(ChildSpec(name, module, self.settings, tuple(arguments)))

    async def start_collector(self, name: str, venue: str, feed: VenueSettings, *, lasting: bool = False) -> None:
        """Start a collector as service ``name`` for the feed given.

        ``lasting``: for an unknown time, so that it has to come back soon, and whatever befalls it.
        """
        settings = self.settings.model_copy(update={"venues": {venue: feed}})
        arguments = (venue, "--name", name)
        await self.supervisor.start(ChildSpec(name, "producers", settings, arguments, spare=lasting, patient=lasting))

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
