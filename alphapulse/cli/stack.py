"""Embedded stack: its processes, their configuration, and the order in which they stop."""

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
"""Timeout for the broker's start; a real one needs about five seconds, more on a busy machine."""

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
    """Order in which parts stop: that of the data flow, so that the next part reads what each publishes at its end.

    The gateway publishes too (dead letters, losses), so it stops before the sinks.
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
"""Timeout for the restart of a part killed while stopping: its group may first wait for the dead member."""


class Stack:
    """Starts the parts of an embedded stack under a supervisor, and stops them in the order of the data flow.

    ``settings`` is passed to every part; the broker's address is added once known.
    """

    def __init__(self, supervisor: Supervisor, settings: Settings) -> None:
        self.supervisor = supervisor
        self.settings = settings

    async def start_broker(self, kind: BrokerKind = "embedded") -> None:
        """Start the broker and wait for its address.

        A real one that dies is restarted at the same address with the same log; the log of an in-memory one is lost.
        """
        spec = ChildSpec(BROKER, BROKER_MODULES[kind], self.settings, restart=kind == "kafka", stage=Stage.BROKER)
        await self.supervisor.start(spec)
        # The ops port is announced first, the address when the broker has its topics.
        told = await self.supervisor.announcement(BROKER, "bootstrap", "incarnation", timeout=BROKER_SECONDS)
        settings_for = kafka_cluster.client_settings if kind == "kafka" else broker.client_settings
        kafka = settings_for(self.settings.kafka, bootstrap=told["bootstrap"], incarnation=told["incarnation"])
        self.settings = self.settings.model_copy(update={"kafka": kafka})

    async def start_services(self, *names: str) -> None:
        """Start the named services (keys of :data:`MODULES`) without waiting until they are ready."""
        for name in names:
            module, *arguments = MODULES[name]
            grace = GRACE_SECONDS + (self.settings.processors.drain_seconds if name == PROCESSORS else 0.0)
            spec = ChildSpec(name, module, self.settings, tuple(arguments), stage=STAGES[name], grace_seconds=grace)
            await self.supervisor.start(spec)

    async def start_venues(self, name: str, module: str, arguments: tuple[str, ...]) -> None:
        """Start the simulated or replayed exchanges; they stop after the collectors."""
        spec = ChildSpec(name, module, self.settings, arguments, restart=False, stage=Stage.PROCESSORS)
        await self.supervisor.start(spec)

    async def start_collector(self, name: str, venue: str, feed: VenueSettings, *, lasting: bool = False) -> None:
        """Start a collector for ``feed`` as service ``name``.

        ``lasting``: runs for an unknown time, so it is restarted quickly and always.
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
        """Return a lag reader for processors and sinks (a context manager)."""
        settings = self.settings
        groups = {
            settings.processors.group: (topics.L2, topics.TRADES, topics.DEPTH),
            settings.clickhouse.group: settings.clickhouse.topics,
            settings.parquet.group: settings.parquet.topics,
        }
        return LagReader(settings.kafka, groups)

    async def status(self, name: str) -> dict[str, Any]:
        """Return a service's ``/status``; empty while it does not answer."""
        status: dict[str, Any] = await self.supervisor.ask(name, "GET", "/status", default={})
        return status

    # --- the end ---

    def ledger(self, begin: Groups) -> Ledger:
        """Return a ledger that begins at the given offsets."""
        settings = self.settings
        sinks = {CLICKHOUSE: settings.clickhouse.group, PARQUET: settings.parquet.group}
        return Ledger(sinks, (PROCESSORS, settings.processors.group), begin)

    async def finish(
        self, tell: Callable[[str], None], ledger: Ledger | None = None, lag: LagReader | None = None
    ) -> None:
        """Stop all but the broker, stage by stage; readers read what is left.

        A reader that was killed or cut short meanwhile, or has left records unread, is restarted once to read the rest.

        Args:
            tell: receives progress messages.
            ledger, lag: determine what was left.
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
                tell(f"{spec.name} is restarted once to read {rest}")
                await self.supervisor.start(spec)
            names = [spec.name for spec in again]
            # If it does not become ready, the account shows what it left and how it ended.
            with contextlib.suppress(ServiceError):
                await self.supervisor.wait_ready(*names, timeout=RESTART_SECONDS)
            if names:
                await self.supervisor.stop(*names)

        tell("stopping the collectors")
        await self.supervisor.stop_stage(Stage.COLLECTORS)
        tell("stopping the processors: reading what is left")
        await finish_stage(Stage.PROCESSORS)
        tell("stopping the sinks: storing what is left")
        await finish_stage(Stage.SINKS)

    @staticmethod
    async def _left(ledger: Ledger | None, lag: LagReader | None) -> Mapping[str, Mapping[str, int]]:
        """Return service → what it has left; empty if unknown."""
        if ledger is None or lag is None:
            return {}
        try:
            return ledger.unread(await lag.read())
        except BrokerError:
            return {}

    async def account(self, ledger: Ledger, lag: LagReader) -> Account:
        """Return the account of all records, once all but the broker have ended."""
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
        except (FileNotFoundError, ValueError):  # it was killed; the file is not of its last process
            return {}
        return told if isinstance(told, dict) else {}
