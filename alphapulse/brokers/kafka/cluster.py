"""Local Apache Kafka cluster of one node or three, in a persistent folder.

Unlike the embedded broker it keeps its data when it ends, serves many processes, and with three nodes survives the
death of one. ``tests/integration/kafka`` tests what both have in common.
"""

from __future__ import annotations

import asyncio
import contextlib
import shutil
import signal
import time
from pathlib import Path
from typing import IO, Final, Self

from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.errors import KafkaError

from alphapulse.brokers.kafka import plan as kafka_plan
from alphapulse.brokers.kafka.install import Installation
from alphapulse.brokers.kafka.node import KafkaNode, Properties
from alphapulse.brokers.kafka.plan import HOST, ClusterPlan, is_free
from alphapulse.claim import claim
from alphapulse.config import KafkaSettings
from alphapulse.errors import BrokerError
from alphapulse.kafka import connection, running

READY_SECONDS: Final = 60.0
"""Timeout for a node's start; it takes two seconds on an idle machine."""

STOP_SECONDS: Final = 10.0
"""Timeout for the nodes' stop (the last of three waits five seconds for the others, in vain); then they are killed,
which costs a check of the newest segments but no records."""

_RELEASE_SECONDS: Final = 5.0
"""Time for the kernel to free the ports of a killed process."""

_POLL_SECONDS: Final = 0.05


class KafkaCluster:
    """Local nodes; an async context manager that starts them, waits until they are ready, and stops them.

    Use it from the main thread: nodes end with the thread that started them.

    Args:
        folder: holds all data; one cluster per folder, one process at a time.
        installation: see :func:`alphapulse.brokers.kafka.install.install`.
        nodes: 1 or 3; fixed when the folder is created.
        first_port: client port of node 1, the other nodes use the following ports; 0: as before, at first free ones.
        properties: given a node's ``server.properties``, returns further ones or others: listeners, users, rights.

    Attributes:
        nodes: node 1 first; empty before :meth:`start`.
    """

    def __init__(
        self,
        folder: Path,
        installation: Installation,
        *,
        nodes: int = 1,
        first_port: int = 0,
        properties: Properties | None = None,
    ) -> None:
        self.folder = folder
        self.nodes: tuple[KafkaNode, ...] = ()
        self._installation = installation
        self._size = nodes
        self._first_port = first_port
        self._properties = properties
        self._plan: ClusterPlan | None = None
        self._lock: IO[str] | None = None

    @property
    def plan(self) -> ClusterPlan:
        """Cluster id and ports.

        Raises:
            BrokerError: the cluster was never started.
        """
        if self._plan is None:
            raise BrokerError("kafka broker: the cluster was not started")
        return self._plan

    @property
    def bootstrap(self) -> str:
        """``host:port`` of every node, for clients."""
        return self.plan.bootstrap

    @property
    def incarnation(self) -> str:
        """Cluster id: identifies the log as long as the folder is kept."""
        return self.plan.cluster_id

    def settings(self, base: KafkaSettings | None = None) -> KafkaSettings:
        """Return ``base`` (the defaults) with this cluster's address; see :func:`client_settings`."""
        return client_settings(
            base if base is not None else KafkaSettings(), bootstrap=self.bootstrap, incarnation=self.incarnation
        )

    async def __aenter__(self) -> Self:
        try:
            await self.start()
            await self.wait_ready()
        except BaseException:
            await self.stop()
            raise
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.stop()

    async def start(self) -> None:
        """Start all nodes, without waiting until they are ready.

        Raises:
            BrokerError: the folder holds a cluster of another size, or a port is in use.
            ServiceError: the folder cannot be written, or another process uses it.
        """
        if self._lock is not None:
            raise BrokerError(f"kafka broker: already running at {self.bootstrap}")
        self._lock = claim(self.folder)
        try:
            self._plan = self._kept_plan()
            self.nodes = tuple(self._node(number) for number in range(1, self._size + 1))
            await asyncio.gather(*(asyncio.to_thread(node.prepare) for node in self.nodes))
            for node in self.nodes:
                await self.start_node(node)
        except BaseException:
            await self.stop()
            raise

    def _node(self, number: int) -> KafkaNode:
        return KafkaNode(
            number, self.folder / f"node-{number}", self.plan, self._installation, properties=self._properties
        )

    def _kept_plan(self) -> ClusterPlan:
        file = self.folder / "cluster.json"
        kept = kafka_plan.load(file)
        if kept is not None and len(kept.ports) != self._size:
            raise BrokerError(
                f"kafka broker: --nodes: {self.folder} holds a cluster of {len(kept.ports)}, found {self._size}; "
                "choose another folder, or delete the cluster with --clean"
            )
        if kept is not None and self._first_port in (0, kept.ports[0].clients):
            return kept
        plan = kafka_plan.new_plan(self._size, self._first_port)
        if kept is not None:  # the same log, at another address
            plan = ClusterPlan(kept.cluster_id, plan.ports)
        try:
            kafka_plan.save(plan, file)
        except OSError as error:
            raise BrokerError(f"kafka broker: cannot write {file}: {error.strerror or error}") from error
        return plan

    async def start_node(self, node: KafkaNode) -> None:
        """Start or restart one node.

        Raises:
            BrokerError: it is running, or one of its ports is in use.
        """
        deadline = time.monotonic() + _RELEASE_SECONDS
        for port in (node.ports.clients, node.ports.controller):
            while node.pid is None and not is_free(port):
                if time.monotonic() > deadline:
                    raise BrokerError(
                        f"kafka broker: port {port} of node {node.number} is in use by another process; "
                        f"stop that process, or choose other ports with --port"
                    )
                await asyncio.sleep(_POLL_SECONDS)
        node.start()

    async def wait_ready(self) -> None:
        """Wait until every started node serves clients and groups and knows all the others.

        Raises:
            BrokerError: a node ended, or it takes longer than :data:`READY_SECONDS`.
        """
        deadline = time.monotonic() + READY_SECONDS
        for node in self.nodes:
            while not await _listens(node.ports.clients):
                self._check(node, deadline)
                await asyncio.sleep(_POLL_SECONDS)
        for node in self.nodes:
            while await self._brokers_known_to(node) < len(self.nodes):
                self._check(node, deadline)
                await asyncio.sleep(_POLL_SECONDS)

    async def _brokers_known_to(self, node: KafkaNode) -> int:
        settings = self.settings().model_copy(update={"bootstrap": f"{HOST}:{node.ports.clients}"})
        try:
            async with running(AIOKafkaAdminClient(**connection(settings)), settings) as admin:
                # The first request for a group's coordinator creates the topic of commits, and is refused.
                await admin.find_coordinator("alphapulse")
                return len((await admin.describe_cluster())["brokers"])
        except (BrokerError, KafkaError):  # not yet; _check() detects its death
            return 0

    def _check(self, node: KafkaNode, deadline: float) -> None:
        if node.pid is None:
            raise BrokerError(f"kafka broker: node {node.number} ended (exit code {node.exit_code}):\n{node.reason()}")
        if time.monotonic() > deadline:
            raise BrokerError(
                f"kafka broker: node {node.number} was not ready in {READY_SECONDS:g} s; see {node.log}\n"
                + node.reason()
            )

    async def stop(self) -> None:
        """Stop all nodes within :data:`STOP_SECONDS`; their data stays in the folder."""
        for node in self.nodes:
            node.send(signal.SIGTERM)
        deadline = time.monotonic() + STOP_SECONDS
        while any(node.pid is not None for node in self.nodes) and time.monotonic() < deadline:  # noqa: ASYNC110
            await asyncio.sleep(_POLL_SECONDS)
        for node in self.nodes:
            node.kill()
            node.keep_classes()
        if self._lock is not None:
            self._lock.close()
            self._lock = None


def clean(folder: Path) -> None:
    """Delete the cluster in ``folder`` with all its data.

    Raises:
        ServiceError: it is in use by a process.
        BrokerError: it cannot be removed.
    """
    if not folder.exists():
        return
    with claim(folder):
        try:
            shutil.rmtree(folder)
        except OSError as error:
            raise BrokerError(f"kafka broker: cannot remove {folder}: {error.strerror or error}") from error


def client_settings(base: KafkaSettings, *, bootstrap: str, incarnation: str) -> KafkaSettings:
    """Return ``base`` with the address of a local cluster, which has neither passwords nor encryption."""
    return base.model_copy(
        update={"bootstrap": bootstrap, "incarnation": incarnation, "security_protocol": "PLAINTEXT"}
    )


async def _listens(port: int) -> bool:
    try:
        _, writer = await asyncio.open_connection(HOST, port)
    except OSError:
        return False
    writer.close()
    with contextlib.suppress(OSError):
        await writer.wait_closed()
    return True
