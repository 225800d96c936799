"""The embedded stack: which processes it has, how they are told of one another, and in which order they stop."""

from __future__ import annotations

import contextlib
import json
from collections import Counter
from collections.abc import Callable, Mapping
from enum import IntEnum
from typing import Any, Final, Literal

from alphapulse import topics
from alphapulse.brokers.kafka import cluster as kafka_cluster
from alphapulse.brokers.memory import broker
from alphapulse.cli.ledger import Account, Groups, Ledger
from alphapulse.config import Settings, VenueSettings
from alphapulse.errors import BrokerError, ServiceError
from alphapulse.kafka.lag import LagReader
from alphapulse.service import GRACE_SECONDS, last_status_path
from alphapulse.supervisor.supervisor import ChildSpec, Supervisor

BROKER_SECONDS = 60.0
"""How long the broker may take to start; a real one needs some five seconds, more on a busy machine."""

BROKER = "broker"
PROCESSORS = "processors"
CLICKHOUSE = "sink-clickhouse"
PARQUET = "sink-parquet"
GATEWAY = "gateway"

BrokerKind = Literal["embedded", "kafka"]

BROKER_MODULES: Final[dict[BrokerKind, str]] = {
    "embedded": "alphapulse.brokers.memory.broker",
    "kafka": "alphapulse.brokers.kafka.service",
}

MODULES: dict[str, tuple[str, ...]] = {
    PROCESSORS: ("stream_processors",),
    CLICKHOUSE: ("sinks", "clickhouse"),
    PARQUET: ("sinks", "parquet"),
    GATEWAY: ("gateway",),
}

SINKS: Final = (CLICKHOUSE, PARQUET)


class Stage(IntEnum):
    """When a part stops: the data's order, so that what each publishes at its end is still read by the next.

    The gateway publishes too (dead letters, losses), so it goes before the sinks.
    """

    COLLECTORS = 1
    PROCESSORS = 2
    SINKS = 3
    BROKER = 4


STAGES: Final[dict[str, Stage]] = {
    PROCESSORS: Stage.PROCESSORS,
    GATEWAY: Stage.PROCESSORS,
    CLICKHOUSE: Stage.SINKS,
    PARQUET: Stage.SINKS,
}

RESTART_SECONDS: Final = 30.0
"""For a part that was killed while it stopped to be ready once more: a group may wait for its dead member first."""


class Stack:
    """Starts the parts of an embedded stack under a supervisor, and stops them in the order of the data.

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
        spec = ChildSpec(BROKER, BROKER_MODULES[kind], self.settings, restart=kind == "kafka", stage=Stage.BROKER)
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
            grace = GRACE_SECONDS + (self.settings.processors.drain_seconds if name == PROCESSORS else 0.0)
            spec = ChildSpec(name, module, self.settings, tuple(arguments), stage=STAGES[name], grace_seconds=grace)
            await self.supervisor.start(spec)

    async def start_venues(self, name: str, module: str, arguments: tuple[str, ...]) -> None:
        """Start what stands in for exchanges; it ends once the collectors have."""
        spec = ChildSpec(name, module, self.settings, arguments, restart=False, stage=Stage.PROCESSORS)
        await self.supervisor.start(spec)

    async def start_collector(self, name: str, venue: str, feed: VenueSettings, *, lasting: bool = False) -> None:
        """Start a collector as service ``name`` for the feed given.

        ``lasting``: for an unknown time, so that it has to come back soon, and whatever befalls it.
        """
        settings = self.settings.model_copy(update={"venues": {venue: feed}})
        spec = ChildSpec(
            name,
            "producers",
            settings,
            (venue, "--name", name),
            spare=lasting,
            patient=lasting,
            stage=Stage.COLLECTORS,
        )
        await self.supervisor.start(spec)

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

    # --- the end ---

    def ledger(self, begin: Groups) -> Ledger:
        """Return a ledger that begins at the offsets given."""
        settings = self.settings
        sinks = {CLICKHOUSE: settings.clickhouse.group, PARQUET: settings.parquet.group}
        return Ledger(sinks, (PROCESSORS, settings.processors.group), begin)

    async def finish(
        self, tell: Callable[[str], None], ledger: Ledger | None = None, lag: LagReader | None = None
    ) -> None:
        """Stop all but the broker, each stage when those before have ended; readers read what is left.

        A reader that was killed in the midst of that, was cut short or has left anything is started once more, to
        read the rest.

        Args:
            tell: told what goes on.
            ledger, lag: tell what was left.
        """

        async def finish_stage(stage: Stage) -> None:
            await self.supervisor.stop_stage(stage)
            left = await self._left(ledger, lag)
            again = [
                child.spec
                for name, child in self.supervisor.children.items()
                if child.spec.stage == stage and child.spec.restart and (name in left or (child.exit_code or 0) < 0)
            ]
            for spec in again:
                rest = f"{sum(left[spec.name].values()):,} records" if spec.name in left else "the rest"
                tell(f"{spec.name} is started once more, to read {rest}")
                await self.supervisor.start(spec)
            names = [spec.name for spec in again]
            # If it does not come back the account tells what it has left, and how it ended.
            with contextlib.suppress(ServiceError):
                await self.supervisor.wait_ready(*names, timeout=RESTART_SECONDS)
            if names:
                await self.supervisor.stop(*names)

        tell("stopping the collectors")
        await self.supervisor.stop_stage(Stage.COLLECTORS)
        tell("the processors read what is left")
        await finish_stage(Stage.PROCESSORS)
        tell("the sinks store what is left")
        await finish_stage(Stage.SINKS)

    @staticmethod
    async def _left(ledger: Ledger | None, lag: LagReader | None) -> Mapping[str, Mapping[str, int]]:
        """Return service → what it has left; nothing if that cannot be known."""
        if ledger is None or lag is None:
            return {}
        try:
            return ledger.unread(await lag.read())
        except BrokerError:
            return {}

    async def account(self, ledger: Ledger, lag: LagReader) -> Account:
        """Return what became of all records, when all but the broker have ended."""
        names = [name for name, child in self.supervisor.children.items() if child.spec.stage < Stage.BROKER]
        endings = {name: self.supervisor.ending(name) for name in names}
        try:
            groups = await lag.read()
        except BrokerError as error:
            return Account(endings={name: reason for name, reason in endings.items() if reason}, unknown=str(error))
        acknowledged: Counter[str] = Counter()
        for name in names:
            acknowledged.update(self._last_status(name).get("published", {}))
        return ledger.close(
            groups,
            acknowledged=acknowledged,
            dropped={name: int(self._last_status(name).get("lost", 0)) for name in SINKS},
            endings=endings,
        )

    def _last_status(self, name: str) -> dict[str, Any]:
        try:
            told = json.loads(last_status_path(self.settings, name).read_text(encoding="utf-8"))
        except (FileNotFoundError, ValueError):  # it was killed; what is left is not its own
            return {}
        return told if isinstance(told, dict) else {}
